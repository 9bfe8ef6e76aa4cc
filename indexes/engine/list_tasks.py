"""Which list of an IVF index each row goes to: most of the work of a build, and all of it that can be shared out.

A task is a block of rows; where it is done changes no byte. The rows travel (2 bytes a dimension) and a number a row
comes back, so whoever does the tasks needs no disk of the builder's.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .threads import faiss_threads


class Tasks(Protocol):
    """Does function(task, *common) for each task, elsewhere; the results come in the order of the tasks."""

    def map(self, function: Callable[..., Any], tasks: Iterable[Any], *common: Any) -> Iterator[Any]: ...


def nearest_lists(rows: NDArray[Any], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """The list (n,) of each row (n, D) of any float type: that of the centre (L, D) with the largest product."""
    import faiss

    with faiss_threads(0, centres.shape[1]):
        _, found = faiss.knn(rows.astype(np.float32), centres, 1, metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(found[:, 0], np.int64)


def centres_of(quantizer: Any) -> NDArray[np.float32]:
    """The centres (L, D) of a flat quantizer."""
    return np.asarray(quantizer.reconstruct_n(0, quantizer.ntotal), np.float32)
