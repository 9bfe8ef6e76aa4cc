"""Texts that a critic said of an INDEX's pictures: `critiques.parquet` in its folder, columns for filters and pages.

A picture is known by the sha256 of its file, so the texts outlive `add`, `remove` and `compact`. One text for each
picture and each thing that was asked: a newer one takes the older one's place. The manifest does not name the file:
the index is whole without it, and nothing that is searched rests on it.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexes.errors import FormatError

from .locks import locked
from .manifest import publish

FILE = "critiques.parquet"
KIND = b"beholder-critiques 1"
CRITIQUE = "critique"


@dataclass(frozen=True)
class Critique:
    """What a critic (name, and the identity of its weights or server) answered to a question about a picture."""

    sha256: str
    asked: str  # critique, formal, emotion, or an aspect
    name: str
    critic: str
    question: str
    text: str


SCHEMA: Any = pa.schema([(one.name, pa.string()) for one in fields(Critique)])


def read_critiques(folder: Path) -> list[Critique]:
    """The texts of an INDEX; [] where it has none. Raises FormatError for a file that is cut or of another kind."""
    return [Critique(**row) for row in _rows(folder)]


def critiques_of(folder: Path, sha256: str) -> list[Critique]:
    """The texts of one picture. Raises as `read_critiques`."""
    return [Critique(**row) for row in _rows(folder, filters=[("sha256", "=", sha256)])]


def asked_of(folder: Path) -> list[str]:
    """What critics were asked of an INDEX's pictures, each once, by name; [] where it has no texts. Raises as
    `read_critiques`."""
    return sorted({row["asked"] for row in _rows(folder, columns=["asked"])})


def version_of(folder: Path) -> tuple[int, ...]:
    """Another one whenever the texts of an INDEX were written anew; () where it has none."""
    try:
        found = (folder / FILE).stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _rows(folder: Path, **read: Any) -> list[dict[str, Any]]:
    path = folder / FILE
    if not path.exists():
        return []
    try:
        table = pq.read_table(str(path), **read)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} cannot be read ({error})", "texts of critics", "Delete it; ask again.") from error
    names = read.get("columns", SCHEMA.names)
    wrong = (table.schema.metadata or {}).get(b"beholder") != KIND or table.schema.names != names
    if wrong or any(column.null_count or column.type != pa.string() for column in table.columns):
        raise FormatError(f"{path} is of another kind", KIND.decode(), "Delete it, or install a newer version.")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def write_critiques(folder: Path, new: Iterable[Critique]) -> None:
    """Adds texts, atomically; a text takes the place of the one before to the same question kind."""
    with locked(folder):
        kept = {(one.sha256, one.asked): one for one in (*read_critiques(folder), *new)}
        rows = [astuple(kept[key]) for key in sorted(kept)]
        columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(SCHEMA))]
        table = pa.table(columns, schema=SCHEMA.with_metadata({b"beholder": KIND}))
        temporary = folder / f".{FILE}.tmp"
        pq.write_table(table, str(temporary), compression="zstd")
        publish(temporary, folder / FILE)


def with_critiques(folder: Path, items: Any) -> Any:
    """Items (pyarrow table with sha256) with a column per thing asked: `critique`, `critique_formal`,
    `critique_light` ...; null where nothing was said. A column that is there already keeps its name, and stays."""
    by_asked: dict[str, dict[str, str]] = {}
    for one in read_critiques(folder):
        by_asked.setdefault(one.asked, {})[one.sha256] = one.text
    sha256s = items.column("sha256").to_pylist() if by_asked else []
    taken = {name.lower() for name in items.column_names}
    for asked in sorted(by_asked):
        column = column_of(asked)
        if column not in taken:
            texts = by_asked[asked]
            items = items.append_column(column, pa.array([texts.get(one) for one in sha256s], pa.string()))
    return items


def column_of(asked: str) -> str:
    """The column of what was asked."""
    return CRITIQUE if asked == CRITIQUE else f"{CRITIQUE}_{asked}"
