"""A file of vectors: Arrow IPC with `id int64` and `vector fixed_size_list<float16>[D]`, unit rows, read
zero-copy."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import BeholderError, FormatError
from .manifest import publish

Block = tuple[NDArray[np.int64], NDArray[Any]]  # ids (n,), vectors (n, D)

# A unit row rounded to float16 is off by at most 2^-11 = 4.9e-4 in length; twice that is room for a float32
# encoder's own rounding and still far from a row that somebody forgot to normalise.
UNIT_TOLERANCE = 1e-3


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
            batch = pa.record_batch(
                [pa.array(np.ascontiguousarray(ids, dtype=np.int64)), column], schema=schema
            )
            writer.write_batch(batch)
            rows += len(ids)
    publish(temporary, path)
    return rows


def vector_blocks(path: Path, dimension: int, rows: int) -> Iterator[Block]:
    """(ids (n,), vectors (n, D) float16) of at most `rows` rows, in file order: views of the memory-mapped
    file, valid for as long as they are held. Raises FormatError for a file that is cut, no Arrow, or of
    another width."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        if not reader.schema.equals(vector_schema(dimension)):
            raise FormatError(
                f"{path} holds {reader.schema}", f"ids and float16[{dimension}]", "Make the folder again."
            )
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            ids = batch.column(0).to_numpy(zero_copy_only=True)
            vectors = batch.column(1).values.to_numpy(zero_copy_only=True).reshape(len(ids), dimension)
            for start in range(0, len(ids), rows):
                yield ids[start : start + rows], vectors[start : start + rows]
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(
            f"{path} cannot be read ({error})", "a file of vectors", "Make the folder again."
        ) from error
