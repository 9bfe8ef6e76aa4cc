"""Rows of tables that hold pictures: which column, what is carried beside it, and the picture of a row."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexes.errors import BeholderError

from .archives import CAPTIONS, MOST_BYTES, Columns, Picture, absolute, carried, column_name, inside
from .images import SUFFIXES

BYTES_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "picture", "photo", "bytes", "image_bytes")
PATH_COLUMNS = (
    "path",
    "file",
    "file_name",
    "filename",
    "image_path",
    "filepath",
    "file_path",
    "image",
    "img",
    "picture",
)


def picture_column(schema: Any, where: str) -> str:
    """The column that holds pictures: bytes before paths, known names before the first that would do.

    Raises BeholderError naming the columns where there is none.
    """
    holds = [field.name for field in schema if is_bytes(field.type)]
    for name in (*BYTES_COLUMNS, *holds):
        if name in holds:
            return str(name)
    strings = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    for name in PATH_COLUMNS:
        if name in strings:
            return str(name)
    found = f"{where} has columns {', '.join(schema.names)}"
    raise BeholderError(found, f"bytes of pictures, or paths named {', '.join(PATH_COLUMNS[:4])}", "Rename the column.")


def is_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {field.name for field in kind}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_carried(schema: Any, name: str) -> bool:
    kind = schema.field(name).type
    return not is_bytes(kind) and bool(column_name(name))


def carried_columns(schema: Any, picture: str, labels: Mapping[str, list[str]]) -> Columns:
    """The columns beside pictures and captions, with their types here."""
    found = {}
    for field in schema:
        if field.name == picture or not is_carried(schema, field.name):
            continue
        if field.name in CAPTIONS:
            if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
                found["captions"] = "string"
        else:
            found[column_name(field.name)] = "string" if field.name in labels else _type(field.type)
    return found


def _type(kind: Any) -> str:
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return "int64"
    return "double" if pa.types.is_floating(kind) else "string"


def picture_of(
    name: str, value: Any, values: Mapping[str, Any], labels: Mapping[str, list[str]], folder: Path, root: Path
) -> Picture:
    """The picture of a row: `value` is bytes, {bytes, path} or a path, which is relative to `folder`."""
    plain = {
        key: labels[key][entry] if key in labels and isinstance(entry, int) and 0 <= entry < len(labels[key]) else entry
        for key, entry in values.items()
    }
    kept = carried(plain)
    if isinstance(value, Mapping):
        value = value["bytes"] if value["bytes"] is not None else value["path"]
    if isinstance(value, bytes):
        if len(value) > MOST_BYTES:
            return Picture(name, reason=f"{len(value):,} bytes, more than {MOST_BYTES:,}", carried=kept)
        return Picture(name, content=value, carried=kept)
    if not value:
        return Picture(name, reason="no picture in this row", carried=kept)
    if str(value).startswith(("http://", "https://")):
        return Picture(name, reason="a web address: only files on disk are read", carried=kept)
    path = folder / str(value)
    if path.suffix.lower() not in SUFFIXES:
        return Picture(name, reason=f"the path {value} has no picture's suffix", carried=kept)
    if not inside(path, root):
        return Picture(name, reason=f"the path {value} leads out of {root}", carried=kept)
    return Picture(name, absolute(path), carried=kept)


def has_picture(value: Any) -> bool:
    return value is not None and bool(value["bytes"] is not None or value["path"])


def carried_sources(schema: Any, picture: str) -> list[str]:
    """The table's own names of the columns to read beside the picture's."""
    return [name for name in schema.names if name != picture and is_carried(schema, name)]


def folders_of(values: list[Any], folder: Path) -> list[Path]:
    """The folders that rows point to instead of holding bytes; relative paths start at `folder`."""
    found = [value.get("path") if isinstance(value, Mapping) else value for value in values if not _holds(value)]
    return sorted({(folder / str(path)).resolve().parent for path in found if path})


def _holds(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, Mapping) and value.get("bytes") is not None)
