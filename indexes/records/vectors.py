"""A file of vectors: Arrow IPC with `id int64` and `vector fixed_size_list<float16>[D]`, unit rows, read
zero-copy."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError

from .manifest import publish

Block = tuple[NDArray[np.int64], NDArray[Any]]  # ids (n,), vectors (n, D)

# A unit row rounded to float16 is off by at most 2^-11 = 4.9e-4 in length; twice that is room for a float32
# encoder's own rounding and still far from a row that somebody forgot to normalise.
UNIT_TOLERANCE = 1e-3
STEP = 4  # floats: Arrow begins each batch at a multiple of 8 bytes


def check_unit_rows(vectors: NDArray[Any], where: str) -> None:
    """Raises BeholderError unless each row (n, D) is finite and of length 1 within UNIT_TOLERANCE."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32))
    off = ~(np.abs(lengths - 1) <= UNIT_TOLERANCE)  # "not <=" is also true of NaN
    if off.any():
        row = int(np.argmax(off))
        raise BeholderError(
            f"{where}: row {row} has length {lengths[row]:.4g} ({int(off.sum())} such rows)",
            f"finite rows of length 1 within {UNIT_TOLERANCE}",
            "Divide each row by its length.",
        )


def vector_schema(dimension: int) -> Any:
    return pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float16(), dimension))])


def write_vectors(path: Path, dimension: int, blocks: Iterable[Block]) -> int:
    """The number of rows written. Atomic (temporary name, fsync, rename); one record batch per block; same
    blocks, same bytes. Vectors (n, D) of any float type are rounded to float16 and must then be unit rows."""
    schema, rows = vector_schema(dimension), 0
    temporary = path.with_name(f".{path.name}.tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for ids, vectors in blocks:
            if vectors.ndim != 2 or vectors.shape != (len(ids), dimension):
                raise BeholderError(f"vectors of shape {vectors.shape}", f"({len(ids)}, {dimension})")
            halves = np.ascontiguousarray(vectors, dtype=np.float16)
            check_unit_rows(halves, str(path))
            column = pa.FixedSizeListArray.from_arrays(pa.array(halves.reshape(-1)), dimension)
            batch = pa.record_batch([pa.array(np.ascontiguousarray(ids, dtype=np.int64)), column], schema=schema)
            writer.write_batch(batch)
            rows += len(ids)
    publish(temporary, path)
    return rows


class VectorFile:
    """A file of vectors, memory-mapped: ids (N,) int64 and rows of float16 by block or by position.

    The arrays given out are views of the mapping (except those of `rows_at`) and keep it open as long as they
    live. Raises FormatError for a file that is cut, is no Arrow file, or is of another width.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self.dimension = dimension
        self._batches: list[Block] = []
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
            if not reader.schema.equals(vector_schema(dimension)):
                found = f"{path} holds {', '.join(f'{f.name}: {f.type}' for f in reader.schema)}"
                raise FormatError(found, f"ids and float16[{dimension}]", "Make the folder again.")
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                ids = batch.column(0).to_numpy(zero_copy_only=True)
                values = batch.column(1).values.to_numpy(zero_copy_only=True)
                self._batches.append((ids, values.reshape(len(ids), dimension)))
        except (pa.ArrowException, OSError, ValueError) as error:
            found = f"{path} cannot be read ({error})"
            raise FormatError(found, "a file of vectors", "Make the folder again.") from error
        self._starts = np.cumsum([0, *(len(ids) for ids, _ in self._batches)])
        self._steps, self._firsts = _steps([vectors for _, vectors in self._batches], self._starts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def blocks(self, rows: int) -> Iterator[Block]:
        """(ids (n,), vectors (n, D) float16) of at most `rows` rows, in file order."""
        for ids, vectors in self._batches:
            for start in range(0, len(ids), rows):
                yield ids[start : start + rows], vectors[start : start + rows]

    def ids(self) -> NDArray[np.int64]:
        """All ids (N,) in file order, copied."""
        return np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in self._batches)])

    def rows_at(self, positions: NDArray[np.int64]) -> NDArray[np.float16]:
        """The vectors (n, D) at positions (n,) in [0, N), in any order, copied."""
        if len(self._batches) == 1:
            return np.asarray(self._batches[0][1][positions], np.float16)
        if self._steps is not None:
            owners = np.searchsorted(self._starts, positions, side="right") - 1
            found: NDArray[np.float16] = self._steps[self._firsts[owners] + positions * (self.dimension // STEP)]
            return found
        found = np.empty((len(positions), self.dimension), np.float16)
        owners = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(owners):
            mine = owners == number
            found[mine] = self._batches[number][1][positions[mine] - self._starts[number]]
        return found


def _steps(batches: list[NDArray[np.float16]], starts: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """All batches of one mapping as a single view, so that rows of many are taken at once: a row of it begins at each
    STEP floats, and row `position` of the file at firsts[batch] + position * D / STEP. (None, nothing) where the
    batches do not lie so."""
    held = [(vectors, start) for vectors, start in zip(batches, starts[:-1], strict=True) if len(vectors)]
    if len(held) < 2 or held[0][0].shape[1] % STEP:
        return None, np.empty(0, np.int64)
    width = held[0][0].shape[1]
    addresses = np.array([vectors.__array_interface__["data"][0] for vectors, _ in held], np.int64)
    lowest = int(np.argmin(addresses))
    apart, odd = np.divmod(addresses - addresses[lowest], 2 * STEP)
    if odd.any():
        return None, np.empty(0, np.int64)
    rows = int(max(first + (len(vectors) - 1) * width // STEP for first, (vectors, _) in zip(apart, held, strict=True)))
    view = np.lib.stride_tricks.as_strided(held[lowest][0], (rows + 1, width), (2 * STEP, 2), writeable=False)
    firsts = np.zeros(len(batches), np.int64)
    numbers = [number for number, vectors in enumerate(batches) if len(vectors)]
    firsts[numbers] = [first - start * (width // STEP) for first, (_, start) in zip(apart, held, strict=True)]
    return view, firsts
