"""Large pages for the memory that a graph search jumps about in: with small ones the processor looks up an address
for nearly every row. A hint to the system, with no effect on an answer; where it is not taken, searches take a fifth
longer (decisions/0017).
"""

import ctypes
import sys
from typing import Any

from .faiss_types import unwrapped

PAGE = 2 << 20  # of x86-64 and, mostly, of arm64; of another size the hint is refused
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25  # Linux: use large pages from now on; make them of what is there (since 6.1)


def advise_graph(index: Any) -> int:
    """Bytes of an opened HNSW index (its codes and links, in main memory) for which large pages were asked; 0 for
    other kinds, elsewhere than on Linux, and where the system refuses."""
    import faiss

    inner: Any = unwrapped(index)
    if not sys.platform.startswith("linux") or not isinstance(inner, faiss.IndexHNSW):
        return 0
    storage: Any = faiss.downcast_index(inner.storage)
    links: Any = inner.hnsw
    held = [getattr(storage, "codes", None), links.neighbors]
    return sum(_advised(vector) for vector in held if vector is not None and vector.size())


def _advised(vector: Any) -> int:
    import faiss

    array: Any = faiss.rev_swig_ptr(vector.data(), vector.size())
    address, size = array.__array_interface__["data"][0], array.nbytes
    first, last = -(-address // PAGE) * PAGE, (address + size) // PAGE * PAGE
    if last <= first:
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    refused = madvise(first, last - first, MADV_HUGEPAGE)
    madvise(first, last - first, MADV_COLLAPSE)  # older systems do it by themselves, in time
    return 0 if refused else last - first
