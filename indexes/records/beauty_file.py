"""A segment's normal scores of beauty: Arrow IPC with `z fixed_size_list<float32>[S]`, one row per vector in the same
order, memory-mapped. The schema's metadata names the scorers, in the order of the columns."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.errors import FormatError

from .manifest import publish
from .percentiles import CLIP

SCORERS = b"scorers"
BLOCK = 1 << 20  # rows that are looked at at once


def write_normal_scores(path: Path, z: NDArray[np.float32], scorers: Sequence[str]) -> None:
    """Writes z (n, S) atomically; the same rows give the same bytes."""
    schema: Any = pa.schema([("z", pa.list_(pa.float32(), z.shape[1]))], {SCORERS: json.dumps(list(scorers)).encode()})
    temporary = path.with_name(f".{path.name}.tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        # One batch: so that readers see one array, wherever it lies.
        flat = pa.array(np.ascontiguousarray(z, np.float32).reshape(-1))
        writer.write_batch(pa.record_batch([pa.FixedSizeListArray.from_arrays(flat, z.shape[1])], schema=schema))
    publish(temporary, path)


class NormalScoresFile:
    """The normal scores of a segment: `scorers`, and rows (n, S) float32 by position. Raises FormatError for a file
    that is none; values are looked at by `check`."""

    def __init__(self, path: Path, count: int) -> None:
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
            names = json.loads((reader.schema.metadata or {}).get(SCORERS, b"null"))
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise FormatError(f"{path} does not name its scorers", "names", "Build it again.")
            self.scorers: tuple[str, ...] = tuple(names)
            wanted = pa.schema([("z", pa.list_(pa.float32(), len(names)))])
            if not reader.schema.remove_metadata().equals(wanted):
                raise FormatError(f"{path} holds {reader.schema.names}", f"z, {len(names)} per row", "Build it again.")
            batches = [reader.get_batch(number).column(0) for number in range(reader.num_record_batches)]
            parts = [batch.values.to_numpy(zero_copy_only=True).reshape(-1, len(names)) for batch in batches]
        except (pa.ArrowException, OSError, ValueError) as error:
            found = f"{path} cannot be read ({error})"
            raise FormatError(found, "a file of normal scores", "Build it again.") from error
        if len(parts) != 1 or len(parts[0]) != count:
            raise FormatError(f"{path} has {sum(map(len, parts))} rows", f"{count} in a block", "Build it again.")
        self.path, self.rows = path, parts[0]  # a view of the mapping

    def check(self) -> None:
        """Reads all values. Raises FormatError for any that is not within +-CLIP."""
        for start in range(0, len(self.rows), BLOCK):
            if not (np.abs(self.rows[start : start + BLOCK]) <= CLIP).all():
                found = f"{self.path} has normal scores beyond +-{CLIP:g}"
                raise FormatError(found, f"within +-{CLIP:g}", "Build it again.")
