"""The items of a segment: a Parquet file, mapped at once and read when first asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexes.errors import FormatError

from .shards import ITEM_COLUMNS


class ItemsFile:
    """The items of a segment, mapped at once and read when first asked for; kept then, unless `keep` is
    false: then only the row groups asked for are read, each time."""

    def __init__(self, path: Path, keep: bool) -> None:
        self.path, self.keep = path, keep
        try:
            self._mapped = pa.memory_map(str(path), "r")
        except OSError as error:
            raise self._unreadable(error) from error
        self._table: Any = None

    def table(self) -> Any:
        """All items, in the order of the rows."""
        if self._table is not None:
            return self._table
        table = self._read(None)
        if self.keep:
            self._table = table  # two threads at once read it twice and keep one: no lock needed
        return table

    def at(self, positions: NDArray[np.int64]) -> Any:
        """The items at positions (n,), in that order."""
        if self.keep or self._table is not None:
            return self.table().take(pa.array(positions))
        try:
            metadata = pq.ParquetFile(self._mapped).metadata
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        starts = np.cumsum([0, *(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups))])
        owners = np.searchsorted(starts, positions, side="right") - 1
        groups = np.unique(owners)
        shift = np.concatenate([[0], np.cumsum((starts[1:] - starts[:-1])[groups])])
        places = positions - starts[owners] + shift[np.searchsorted(groups, owners)]
        return self._read(groups.tolist()).take(pa.array(places))

    def _read(self, groups: list[int] | None) -> Any:
        try:
            file = pq.ParquetFile(self._mapped)
            table = file.read() if groups is None else file.read_row_groups(groups)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        if table.column_names[: len(ITEM_COLUMNS)] != ITEM_COLUMNS.names:
            raise FormatError(f"{self.path} has columns {table.column_names}", f"{ITEM_COLUMNS.names} first")
        return table

    def _unreadable(self, error: Exception) -> FormatError:
        return FormatError(f"{self.path} cannot be read ({error})", "a table of items", "Make the folder again.")
