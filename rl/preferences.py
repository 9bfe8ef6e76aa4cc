"""The table of preferences that alignment learns from: one list of pictures per query, and which of them are preferred
to which. This module owns and documents its format.

A Parquet file; its metadata holds `kind` beholder-preferences, `format` 2 and `origin` (JSON). Columns:

    query     string            what the student is given: the query as it was typed
    reference string            what the reference is given in its place, where that is the part of the query that must
                                be kept ("forest" of "moody forest"); empty: the query. Format 1 has no such column
    pictures  list<string>      sha256 (hex) of L different pictures
    better, worse  list<int32>  pairs: pictures[better[p]] is preferred to pictures[worse[p]]
    chains    list<list<int32>> total orders within the list, best first; none where there are only pairs
    levels    list<float>       higher is better, equal is tied; empty where only pairs are known
    provenance  string          JSON: how this list came about (rewrite, scores, votes)

Every list is an order: no picture stands above itself, by any way round.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.tables.terms import refuse_training
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import publish

from .grids import check_order, prefer_of

KIND, FORMAT = "beholder-preferences", 2
SCHEMA: Any = pa.schema(
    [
        ("query", pa.string()),
        ("reference", pa.string()),
        ("pictures", pa.list_(pa.string())),
        ("better", pa.list_(pa.int32())),
        ("worse", pa.list_(pa.int32())),
        ("chains", pa.list_(pa.list_(pa.int32()))),
        ("levels", pa.list_(pa.float32())),
        ("provenance", pa.string()),
    ]
)
ROWS = 1024  # lists in a row group
AGAIN = "Make it again with `beholder align preferences`."


@dataclass(frozen=True)
class PreferenceList:
    """The preferences of one query. Raises BeholderError for a list that is no order, or names a picture twice."""

    query: str
    pictures: tuple[str, ...]  # sha256, L of them
    better: tuple[int, ...] = ()
    worse: tuple[int, ...] = ()
    chains: tuple[tuple[int, ...], ...] = ()
    levels: tuple[float, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""

    def __post_init__(self) -> None:
        what, size = f"the list of {self.query!r}", len(self.pictures)
        if not self.query.strip():
            raise BeholderError("a list without a query", "words")
        if self.reference and not self.reference.strip():
            raise BeholderError(f"{what} has a reference without words", "words, or nothing for the query itself")
        if len(set(self.pictures)) != size:
            raise BeholderError(f"{what} names a picture twice", "different pictures")
        if len(self.better) != len(self.worse) or (self.levels and len(self.levels) != size):
            found = f"{len(self.better)} better, {len(self.worse)} worse, {len(self.levels)} levels of {size} pictures"
            raise BeholderError(f"{what} has {found}", "pairs, and a level for each picture or none")
        places = [*self.better, *self.worse, *(place for chain in self.chains for place in chain)]
        if places and not 0 <= min(places) <= max(places) < size:
            raise BeholderError(f"{what} names place {max(places)}", f"0 to {size - 1}")
        if not np.isfinite(np.asarray(self.levels, np.float64)).all():
            raise BeholderError(f"{what} has levels that are not numbers", "a number for each picture")
        check_order(self.prefer(), what)

    def prefer(self) -> NDArray[np.bool_]:
        """bool (L, L): whether picture i is preferred to picture j."""
        return prefer_of(self.better, self.worse, len(self.pictures))

    def to_row(self) -> dict[str, Any]:
        return {**asdict(self), "provenance": json.dumps(dict(self.provenance), sort_keys=True)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "PreferenceList":
        return cls(
            query=row["query"],
            pictures=tuple(row["pictures"]),
            better=tuple(row["better"]),
            worse=tuple(row["worse"]),
            chains=tuple(tuple(chain) for chain in row["chains"]),
            levels=tuple(row["levels"]),
            reference=row["reference"] or "",
            provenance=json.loads(row["provenance"]),
        )


@dataclass(frozen=True)
class Preferences:
    """Lists, and where they come from: what made them, its settings, and the encoder whose index held the pictures."""

    lists: tuple[PreferenceList, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def sha256s(self) -> set[str]:
        return {picture for one in self.lists for picture in one.pictures}


def write_preferences(path: Path, lists: Iterable[PreferenceList], origin: Mapping[str, Any]) -> int:
    """The number of lists written. Atomic; the same lists give the same bytes."""
    told = {"kind": KIND, "format": str(FORMAT), "origin": json.dumps(dict(origin), sort_keys=True)}
    schema, count = SCHEMA.with_metadata(told), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for some in _batched(lists):
            writer.write_table(pa.Table.from_pylist([one.to_row() for one in some], schema=schema))
            count += len(some)
    publish(temporary, path)
    return count


def read_preferences(path: Path) -> Preferences:
    """Raises FormatError for a file that is damaged, of another kind or of a newer format, and names the first list
    that is no order; BeholderError for lists of a table that is for evaluation only."""
    if not path.is_file():
        raise BeholderError(f"{path} is not there", "a table of preferences", AGAIN)
    try:
        table = pq.read_table(path)
        told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read ({str(error).splitlines()[0]})", "Parquet", AGAIN) from error
    if told.get("kind") != KIND:
        raise FormatError(f"{path} is {told.get('kind', 'a table of something else')}", KIND, AGAIN)
    if int(told["format"]) > FORMAT:
        raise FormatError(f"{path} is format {told['format']}", f"{FORMAT} or older", "Update Beholder.")
    if told["format"] == "1" and "reference" not in table.column_names:
        table = table.add_column(1, SCHEMA.field("reference"), pa.array([""] * len(table), pa.string()))
    if not table.schema.equals(SCHEMA, check_metadata=False):
        raise FormatError(f"{path} has columns {table.column_names}", f"{SCHEMA.names}", AGAIN)
    lists = []
    for number, row in enumerate(table.to_pylist(), 1):
        try:
            lists.append(PreferenceList.from_row(row))
        except (BeholderError, TypeError, ValueError) as error:
            raise FormatError(f"{path}, list {number}: {error}", "", AGAIN) from error
    origin = json.loads(told["origin"])
    refuse_training(Path(str(origin.get("made", ""))))  # by its name: the table itself may be elsewhere
    return Preferences(tuple(lists), origin)


def refuse_evaluation(lists: Sequence[PreferenceList], evaluation: set[str]) -> None:
    """Raises BeholderError where a list holds a picture of a recorded evaluation set (sha256)."""
    found = [one.query for one in lists if evaluation.intersection(one.pictures)]
    if found:
        raise BeholderError(
            f"{len(found)} lists hold pictures that are kept for evaluation (first: {found[0]!r})",
            "training pictures only",
            "Build the index of training pictures.",
        )


def _batched(lists: Iterable[PreferenceList]) -> Iterator[list[PreferenceList]]:
    some: list[PreferenceList] = []
    for one in lists:
        some.append(one)
        if len(some) == ROWS:
            yield some
            some = []
    if some:
        yield some
