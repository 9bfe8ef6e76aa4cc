"""How many threads FAISS uses for a batch of queries, and when it goes through BLAS. See decisions/0002.

Both are settings of the process, not arguments of a search: `faiss.cvar.distance_compute_blas_threshold` is
one for all threads, OpenMP's number of threads is one per calling thread. Neither changes an answer, only its
speed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

# Owner of both numbers: docs/decisions/0002-flat-search-threads.md. FAISS 1.15 goes through BLAS from 128,000
# floats of queries on (500 queries of 256), where it was already 7 times as slow as BLAS; BLAS wins from 8
# queries on.
BLAS_FROM_QUERIES = 8
# A single query is not split over threads: the second one only adds the time of starting and joining it.
ONE_THREAD_UP_TO_QUERIES = 1


@contextmanager
def faiss_threads(queries: int, dimension: int, threads: int | None = None) -> Iterator[None]:
    """Sets both for a search of `queries` vectors of width `dimension` with at most `threads` (None or 0: all
    cores).

    The BLAS threshold depends on the width alone (it is compared with queries * width), so searches that run
    at once over one width write the same number and need no lock; over two widths one of them may take the
    slower way.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM_QUERIES * dimension
    before = faiss.omp_get_max_threads()
    wanted = threads or before
    if queries <= ONE_THREAD_UP_TO_QUERIES:
        wanted = 1
    faiss.omp_set_num_threads(wanted)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
