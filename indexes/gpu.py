"""FAISS on a GPU: what fits, the copy, and searches one at a time per GPU."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .faiss_types import SearchKind, search_parameters

GPU_MOST = 2048  # FAISS on a GPU returns at most so many per query, and probes at most so many lists


class Gpu:
    """The GPU that an index was opened on."""

    def __init__(self) -> None:
        import faiss

        self._resources = faiss.StandardGpuResources()  # must outlive the index
        self._lock = threading.Lock()  # FAISS: one search at a time per GPU resources

    def copied(self, index: Any, kind: SearchKind) -> Any:
        import faiss

        return faiss.index_cpu_to_gpu(self._resources, 0, index)

    def search(
        self, index: Any, kind: SearchKind, queries: NDArray[np.float32], fetch: int, nprobe: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions and scores (Q, fetch)."""
        with self._lock:
            scores, positions = index.search(queries, fetch, params=search_parameters(kind, nprobe, fetch, None))
        return positions, scores
