"""A segment's normal scores of beauty: Arrow IPC with `z fixed_size_list<float32>[S]`, one row per vector in the same
order, memory-mapped. The schema's metadata names the scorers, in the order of the columns."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import FormatError
from .manifest import publish
from .percentiles import CLIP

SCORERS = b"scorers"
BATCH = 65536


def write_normal_scores(path: Path, z: NDArray[np.float32], scorers: Sequence[str]) -> None:
    """Writes z (n, S) atomically; the same rows give the same bytes."""
    schema: Any = pa.schema([("z", pa.list_(pa.float32(), z.shape[1]))], {SCORERS: json.dumps(list(scorers)).encode()})
    temporary = path.with_name(f".{path.name}.tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, len(z), BATCH):
            part = np.ascontiguousarray(z[start : start + BATCH], np.float32)
            column = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), z.shape[1])
            writer.write_batch(pa.record_batch([column], schema=schema))
    publish(temporary, path)


class NormalScoresFile:
    """The normal scores of a segment: `scorers`, and rows (n, S) float32 by position. Raises FormatError for a file
    that is none, or has values beyond +-CLIP."""

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
        # One batch is a view of the mapping; several are joined, 4 bytes per row and scorer.
        empty = np.empty((0, len(self.scorers)), np.float32)
        self.rows: NDArray[np.float32] = parts[0] if len(parts) == 1 else np.concatenate([empty, *parts])
        if len(self.rows) != count:
            raise FormatError(f"{path} has {len(self.rows)} rows", f"{count}", "Build it again.")
        if not (np.abs(self.rows) <= CLIP).all():
            raise FormatError(f"{path} has normal scores beyond +-{CLIP:g}", f"within +-{CLIP:g}", "Build it again.")
