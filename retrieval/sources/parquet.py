"""Parquet files of pictures: a column of bytes (img2dataset), of {bytes, path} (Hugging Face), or of paths.

Rows are streamed a few at a time, page by page, so a row group of any size costs little memory.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexes.errors import FormatError

from .archives import Columns, Members, Picture
from .picture_rows import carried_columns, carried_sources, folders_of, has_picture, picture_column, picture_of

ROWS = 32  # per read: at 200 kB a picture some 6 MB
BUFFER = 1 << 20  # bytes read ahead per column


class ParquetArchive:
    """A Parquet file. Members are row numbers. Raises FormatError for a file that is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Memory-mapping would be quicker, but a file that shrinks meanwhile would kill the process.
            self.file = pq.ParquetFile(str(path), pre_buffer=False, buffer_size=BUFFER)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FormatError(f"{path} cannot be read ({error})", "a Parquet file", "Leave it out.") from error
        self.schema = self.file.schema_arrow
        self.column = picture_column(self.schema, str(path))
        self.labels = _labels(self.schema)

    def members(self) -> Members:
        nulls = self._nulls()
        return Members([str(row) for row in range(self.file.metadata.num_rows) if row not in nulls], [], len(nulls))

    def _nulls(self) -> set[int]:
        """Rows without a picture, as img2dataset keeps them of failed downloads; read only where there may be some."""
        metadata = self.file.metadata
        leaf = next(
            number
            for number in range(metadata.num_columns)
            if metadata.schema.column(number).path in (self.column, f"{self.column}.bytes")
        )
        counts = [metadata.row_group(group).column(leaf).statistics for group in range(metadata.num_row_groups)]
        suspects = [group for group, found in enumerate(counts) if found is None or found.null_count != 0]
        starts = _starts(metadata)
        nulls: set[int] = set()
        for group in suspects:
            row = starts[group]
            for batch in self.file.iter_batches(ROWS, row_groups=[group], columns=[self.column]):
                values = batch.column(0)
                if pa.types.is_struct(values.type):
                    nulls |= {row + at for at, value in enumerate(values.to_pylist()) if not has_picture(value)}
                elif values.null_count:
                    nulls |= {row + at for at, there in enumerate(values.is_valid().to_pylist()) if not there}
                row += len(batch)
        return nulls

    def columns(self) -> Columns:
        return carried_columns(self.schema, self.column, self.labels)

    def folders(self) -> list[Path]:
        """Where the paths of the first rows lead."""
        for batch in self.file.iter_batches(ROWS, columns=[self.column]):
            return folders_of(batch.column(0).to_pylist(), self.path.parent)
        return []

    def pictures(self, names: Sequence[str], root: Path) -> Iterator[Picture]:
        starts = _starts(self.file.metadata)
        wanted = [int(name) if name.isdecimal() else -1 for name in names]
        columns = [self.column, *carried_sources(self.schema, self.column)]
        at = 0
        for group, start in enumerate(starts[:-1]):
            if at == len(wanted) or not start <= wanted[at] < starts[group + 1]:
                continue
            row = start
            for batch in self.file.iter_batches(ROWS, row_groups=[group], columns=columns):
                while at < len(wanted) and row <= wanted[at] < row + len(batch):
                    values = {name: batch.column(name)[wanted[at] - row].as_py() for name in columns}
                    yield picture_of(names[at], values.pop(self.column), values, self.labels, self.path.parent, root)
                    at += 1
                row += len(batch)
                if at == len(wanted) or not row <= wanted[at] < starts[group + 1]:
                    break
        yield from (Picture(name, reason="is not in the file any more") for name in names[at:])


def _starts(metadata: Any) -> list[int]:
    """First row of each row group, and the number of rows."""
    starts = [0]
    for group in range(metadata.num_row_groups):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


def _labels(schema: Any) -> dict[str, list[str]]:
    """Names of the classes of Hugging Face's ClassLabel columns, which are stored as numbers."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: list(feature["names"])
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # no such metadata: numbers stay numbers
