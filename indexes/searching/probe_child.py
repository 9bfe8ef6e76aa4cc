"""The child process of probe.py: does with an INDEX all that a caller may do, under limits, and says how it went."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError
from indexes.records.segments import IndexManifest

from .probe import REMEDY

QUERIES = 16


def child() -> None:
    """The child process: prints one line of JSON, {"opened": true} or {"refused": [found, expected, remedy]}."""
    folder, mapped, memory, seconds = Path(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4]), float(sys.argv[5])
    import faiss  # noqa: F401  before the limits: the libraries' own size differs from build to build
    import pyarrow.parquet  # noqa: F401

    from . import search  # noqa: F401

    _limit(memory, seconds)
    answer: dict[str, Any] = {"opened": True}
    try:
        exercise(folder, mapped)
    except BeholderError as error:
        answer = {"refused": [error.found, error.expected, error.remedy]}
    except MemoryError:
        answer = {"refused": [f"{folder}: opening it takes over {memory >> 20} MiB", "what its size allows", REMEDY]}
    except Exception as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        answer = {"refused": [f"{folder} cannot be searched ({reason})", "an index that beholder wrote", REMEDY]}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # destructors of damaged objects may still crash; the answer is what counts


def _limit(memory: int, seconds: float) -> None:
    """Limits this process, for good. Where the system has no such limits (Windows) only the caller's time
    limit holds.
    """
    try:
        import resource
    except ImportError:
        return
    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CPU, int(seconds))]
    status = Path("/proc/self/statm")
    if status.is_file():  # macOS has neither this nor a limit of address space that holds
        used = int(status.read_text().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, used + memory))
    for limit, value in limits:
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def exercise(folder: Path, mapped: bool) -> None:
    """Does with the index all that a caller may: raises whatever is wrong. Only for a process that may die."""
    import numpy as np

    from indexes.records.query_file import kept_queries
    from indexes.records.segments import verify_index
    from indexes.records.structure import check_structure

    from .search import Index

    verify_index(folder)  # sha256 first
    manifest = IndexManifest.read(folder)
    index = Index(folder, "cpu", mapped)
    for part in index._segments:
        check_structure(part.faiss, part.record.count)
    ids = index.live_ids()
    chosen = ids[np.unique(np.linspace(0, max(len(ids) - 1, 0), min(QUERIES, len(ids))).astype(np.int64))]
    noise = np.random.default_rng(0).standard_normal((QUERIES, manifest.dimension), dtype=np.float32)
    queries = np.concatenate([index.vectors(chosen), noise / np.linalg.norm(noise, axis=1, keepdims=True)])
    for rows in (queries[:1], queries):
        found = index.search(rows, 10)
        index.items(np.unique(found.ids))
    for record in manifest.in_index if manifest.spread is not None else ():
        for beauty in (1.0, -4.0, 100.0):
            index.search(queries, 10, beauty={record.name: beauty})
    index.items_table()
    kept_queries(folder, manifest)
