"""Scores inside an INDEX: the record that the manifest keeps of a scorer, and the file of its scores by id.

`scores/<name>-<sha12>.parquet` holds `id int64, score float32, percentile float32` of every scored picture, ids
rising. Percentiles of pictures that the index was built of are their own; those of added ones follow from the frozen
table in the record. The file's name follows from its content, so a file that an open reader names is never changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexes.errors import FormatError

from .beauty import Step
from .manifest import FileRecord, publish, record_file, sha256_bytes
from .percentiles import Quantiles
from .scores import FOLDER, check_name, column_name, file_name
from .shards import file_record

SCHEMA: Any = pa.schema([("id", pa.int64()), ("score", pa.float32()), ("percentile", pa.float32())])


@dataclass(frozen=True)
class ScoreRecord:
    """One scorer of an INDEX. A manifest holds those that are in the index's dimensions in the order of those."""

    name: str
    fingerprint: str
    card: dict[str, Any]
    file: FileRecord
    count: int  # pictures with a score, removed ones included until `compact`
    in_index: bool  # whether beauty weights are searched with it; else it serves filters and sorting
    default: bool  # whether a beauty weight without a name means it
    percentiles: Quantiles  # frozen when the index was built or compacted
    drift: float = 0.0  # percentile points between the frozen percentiles and those of the pictures now
    steps: dict[int, Step] = field(default_factory=dict)  # search parameters per beauty weight; {}: none measured

    @property
    def lower_is_better(self) -> bool:
        return self.card.get("higher_is_better") is False

    @property
    def column(self) -> str:
        """Its name in SQL."""
        return column_name(self.name)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ScoreRecord":
        """Raises KeyError, TypeError, ValueError or BeholderError for content that is none."""
        check_name(content["name"])
        if not isinstance(content["card"], dict) or not isinstance(content["fingerprint"], str):
            raise TypeError(f"scorer {content['name']} without a card or fingerprint")
        parts = {
            "file": file_record(content["file"]),
            "percentiles": Quantiles.from_dict(content["percentiles"]),
            "steps": {int(b): Step.from_dict(step) for b, step in content["steps"].items()},
            "drift": float(content["drift"]),
        }
        return cls(**{**content, **parts})


@dataclass(frozen=True)
class ScoreValues:
    """Scores of pictures: ids (n,) rising, scores (n,) float32 and percentiles (n,), kept on disk as float32."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    percentiles: NDArray[Any]  # float64 when they were just computed

    def at(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """(scores float32, percentiles) in the shape of ids, in any order; NaN where there is none."""
        if not len(self.ids):
            return np.full(np.shape(ids), np.nan, np.float32), np.full(np.shape(ids), np.nan)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known, none = self.ids[places] == ids, np.float32(np.nan)
        return np.where(known, self.scores[places], none), np.where(known, self.percentiles[places], none)


def write_score_values(folder: Path, name: str, values: ScoreValues) -> FileRecord:
    """Writes the file of a scorer; the same values give the same name and bytes."""
    parts = values.ids, values.scores.astype(np.float32), values.percentiles.astype(np.float32)
    digest = sha256_bytes(b"".join(part.tobytes() for part in parts))[:12]
    path = f"{FOLDER}/{file_name(name)}-{digest}.parquet"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    temporary = (folder / path).with_name(f".{Path(path).name}.tmp")
    table = pa.table([pa.array(part) for part in parts], schema=SCHEMA)
    pq.write_table(table, str(temporary), compression="zstd", use_dictionary=False, row_group_size=1 << 20)
    publish(temporary, folder / path)
    return record_file(folder, path)


class ScoreFile:
    """The file of a scorer, opened at once (it may lose its name while it is in use) and read when first asked
    for."""

    def __init__(self, folder: Path, record: ScoreRecord) -> None:
        self.path, self.record = folder / record.file.path, record
        try:
            self._mapped = pa.memory_map(str(self.path), "r")
        except OSError as error:
            raise self._unreadable(error) from error
        self._values: ScoreValues | None = None

    def values(self) -> ScoreValues:
        """Raises FormatError for a file that is no such table, or holds another number of rows than recorded."""
        if self._values is None:
            self._values = self._read()  # two threads at once read it twice and keep one
        return self._values

    def _read(self) -> ScoreValues:
        try:
            table = pq.ParquetFile(self._mapped).read()
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        if not table.schema.equals(SCHEMA) or any(column.null_count for column in table.columns):
            raise FormatError(f"{self.path} holds {table.schema.names}", f"{SCHEMA.names}, no nulls", "Build it again.")
        values = ScoreValues(*(np.array(column.to_numpy()) for column in table.columns))
        if len(values.ids) != self.record.count or (np.diff(values.ids) <= 0).any():
            raise FormatError(f"{self.path} has {len(values.ids)} ids", f"{self.record.count}, rising")
        percentiles = values.percentiles
        if not np.isfinite(values.scores).all() or not ((percentiles >= 0) & (percentiles <= 1)).all():
            raise FormatError(f"{self.path} has scores or percentiles out of range", "finite ones, and 0 to 1")
        return values

    def _unreadable(self, error: Exception) -> FormatError:
        return FormatError(f"{self.path} cannot be read ({error})", "a table of scores", "Build the index again.")
