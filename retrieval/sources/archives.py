"""What a source hands to the decode workers, and what every kind of archive of pictures can do.

Columns that an archive carries are kept as int64, double, bool or string, with nested values as JSON: their types are
fixed when the first picture of an EMBEDDINGS folder is embedded, and a later value of another type is null and counted.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

Columns = dict[str, str]  # name -> "int64", "double", "bool" or "string"
# Ours describe the picture as it was read, and rows whose download failed have no picture.
OURS = frozenset(["width", "height", "bytes", "sha256", "status", "error_message"])
CAPTIONS = ("caption", "text", "txt", "title", "TEXT", "sentence", "captions")  # the first that is there
MOST_BYTES = 1 << 29  # of a picture's file within an archive: it is read whole


class Misfit(Exception):
    """A value that its column's type cannot hold."""


@dataclass(frozen=True)
class Picture:
    """A picture not read yet: `size` bytes at `offset` of the file `path` (-1: all of it), or its `content`, or the
    `reason` why there is none."""

    uri: str
    path: str = ""
    offset: int = 0
    size: int = -1
    content: bytes | None = None
    reason: str = ""
    carried: Mapping[str, Any] = field(default_factory=dict)  # "caption" and the values of columns, as found

    def named(self, uri: str) -> "Picture":
        return replace(self, uri=uri)


@dataclass
class Members:
    """What an archive holds: names of pictures in its order, (name, reason) of bad ones ("": the archive itself)."""

    names: list[str] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0  # rows that say themselves that they hold no picture


class Archive(Protocol):
    """A file or folder of pictures with what is known of them."""

    def members(self) -> Members:
        """Reads headers only, where the archive has such."""
        ...

    def columns(self) -> Columns:
        """What the pictures carry beside a caption."""
        ...

    def folders(self) -> list[Path]:
        """Folders outside of the archive that its pictures lie in."""
        ...

    def pictures(self, names: Sequence[str], root: Path) -> Iterator[Picture]:
        """One Picture for each of the names, which are in the archive's order; files they point to lie in root."""
        ...


def content_of(picture: Picture) -> bytes:
    """The bytes of a picture. Raises OSError where they cannot be read or are cut."""
    if picture.reason:
        raise OSError(0, picture.reason)
    if picture.content is not None:
        return picture.content
    with open(picture.path, "rb") as stream:
        stream.seek(picture.offset)
        content = stream.read(picture.size)
    if picture.size >= 0 and len(content) != picture.size:
        raise OSError(0, f"the archive ends after {len(content)} of its {picture.size} bytes")
    return content


def inside(path: Path, root: Path) -> bool:
    """Whether a file lies under root, `..` and links resolved."""
    return path.resolve().is_relative_to(root.resolve())


def column_name(name: str) -> str:
    """The column of items that a source's column becomes; "" for one that is not carried."""
    if name in OURS:
        return ""
    return f"source_{name}" if name in ("id", "uri", "caption") else name


def caption_of(values: Mapping[str, Any]) -> str | None:
    """The first column of CAPTIONS with text; of a list of captions the first."""
    for name in CAPTIONS:
        value = values.get(name)
        if isinstance(value, list | tuple) and value:
            value = value[0]
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def carried(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under the names of their columns, and the caption."""
    kept = {column_name(name): value for name, value in values.items() if name not in CAPTIONS}
    kept.pop("", None)
    captions = [values[name] for name in CAPTIONS if isinstance(values.get(name), list | tuple)]
    if captions:
        kept["captions"] = captions[0]
    return kept | {"caption": caption_of(values)}


def type_of(values: Sequence[Any]) -> str:
    """The narrowest column type that holds all the values; nulls fit any."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return "string"
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int64"
    return "double" if kinds <= {int, float} else "string"


def fitted(value: Any, kind: str) -> Any:
    """The value as the column's type takes it. Raises Misfit where it does not."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "string":
        if isinstance(value, str):
            return value
        if isinstance(value, date | datetime):
            return value.isoformat()
        if isinstance(value, bytes):
            raise Misfit(value[:16])
        return json.dumps(value, ensure_ascii=False, default=str)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "double" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind == "int64" and whole and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    raise Misfit(value)


def absolute(path: Path) -> str:
    return os.fspath(path.absolute())
