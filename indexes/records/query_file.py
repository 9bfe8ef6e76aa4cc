"""The query vectors that an INDEX was tuned with: INDEX/queries-<sha12>.arrow.

The name follows from the content, as those of tombstones do: a folder that gets other queries has both files
until its new manifest names one of them, so that whenever it is killed, the manifest and its queries agree.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .exact import check_queries
from .manifest import FileRecord, check_file, publish, record_file
from .segments import IndexManifest
from .vectors import VectorFile, write_vectors

BEFORE = "queries.arrow"  # as it was called before names followed from the content
PATTERNS = BEFORE, "queries-*.arrow", ".queries*.tmp"  # files of ours, those of a killed writer too


def unit_queries(vectors: NDArray[Any], dimension: int) -> NDArray[np.float32]:
    """Queries (Q, D) as rows of length 1. Raises BeholderError for none, another width, zeros or
    non-finite values."""
    queries = check_queries(np.asarray(vectors), dimension, 1)
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    if not len(queries) or not (lengths > 0).all():
        raise BeholderError(f"{len(queries)} query vectors, {int((lengths == 0).sum())} of length 0", "some directions")
    return np.asarray(queries / lengths, np.float32)


def write_queries(folder: Path, vectors: NDArray[np.float32], kind: str) -> dict[str, Any]:
    """Keeps the queries in the folder, beside others that are there; what the manifest's settings say about them."""
    count, dimension = vectors.shape
    temporary = folder / ".queries.tmp"
    write_vectors(temporary, dimension, [(np.arange(count), vectors)])
    record = record_file(folder, temporary.name)
    record = replace(record, path=f"queries-{record.sha256[:12]}.arrow")
    publish(temporary, folder / record.path)
    return {"kind": kind, "count": count, **vars(record)}


def queries_record(settings: Mapping[str, Any]) -> FileRecord | None:
    """The file of queries that a manifest's settings name; None where it was tuned with held-out rows.

    Raises KeyError, TypeError or ValueError for settings that are not of ours.
    """
    known = settings.get("queries")
    if not known:
        return None
    record = FileRecord(str(known.get("path", BEFORE)), int(known["bytes"]), str(known["sha256"]))
    if Path(record.path).name != record.path:
        raise ValueError(f"queries in {record.path}, not in the folder itself")
    return record


def kept_queries(folder: Path, manifest: IndexManifest) -> tuple[NDArray[np.float32], str] | None:
    """The queries that the index was tuned with and their kind; None where it was tuned with held-out rows.

    Raises FormatError where they are gone or changed.
    """
    record = queries_record(manifest.settings)
    if record is None:
        return None
    check_file(folder, record)
    vectors = VectorFile(folder / record.path, manifest.dimension)
    return vectors.rows_at(np.arange(len(vectors))).astype(np.float32), str(manifest.settings["queries"]["kind"])


def other_queries(folder: Path, manifest: IndexManifest | None) -> list[Path]:
    """Files of queries in the folder that the manifest does not name: a writer removes them."""
    record = queries_record(manifest.settings) if manifest else None
    found = {path for pattern in PATTERNS for path in folder.glob(pattern)}
    return sorted(path for path in found if record is None or path.name != record.path)
