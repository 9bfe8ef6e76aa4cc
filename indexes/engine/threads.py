"""How a batch of queries uses the cores, and when FAISS goes through BLAS. See decisions/0002.

FAISS takes both from settings, not from arguments: `faiss.cvar.distance_compute_blas_threshold` is one for
the whole process, OpenMP's number of threads one per calling thread. Neither changes an answer, only its
speed.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

Part = TypeVar("Part")
Found = TypeVar("Found")

# Owner of both numbers: docs/decisions/0002-flat-search-threads.md. FAISS 1.15 goes through BLAS from 128,000
# floats of queries on (500 queries of 256); measured, BLAS wins from 8 queries on.
BLAS_FROM_QUERIES = 8
PART_PRODUCTS = 1 << 24  # multiplications, 0.5 to 3 ms of one core: less is not worth a thread of its own


@contextmanager
def faiss_threads(threads: int, dimension: int) -> Iterator[None]:
    """Gives OpenMP `threads` (0: as many as it has) for calls to FAISS from this thread, and sets the BLAS
    threshold.

    The threshold is compared with queries * width, so it depends on the width alone: searches that run at
    once over one width write the same number and need no lock; with two widths, one may take the slower way.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM_QUERIES * dimension
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def split(count: int, parts: int) -> list[slice]:
    """At most `parts` slices that cover range(count), none empty and none more than one longer than
    another."""
    parts = max(1, min(parts, count))
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]


def on_threads(work: Callable[[Part], Found], parts: Sequence[Part], dimension: int) -> list[Found]:
    """work(part) of each part, in order, each on a Python thread with one OpenMP thread (FAISS lets go of the
    GIL).

    Not one FAISS call with many OpenMP threads: BLAS joins those after every 1,024 rows, and when another
    program has a core each join waits for it, which made searches 10 times slower than FAISS's default. Parts
    join once.
    """

    def alone(part: Part) -> Found:
        with faiss_threads(1, dimension):
            return work(part)

    if len(parts) == 1:
        return [alone(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(alone, parts))
