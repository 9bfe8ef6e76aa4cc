"""What each FAISS index type can do, and how it is told: the one place that knows FAISS's classes for search.

The types are FAISS's own names. One that is not listed here still searches, by the ways that every type has.
"""

from dataclasses import dataclass
from typing import Any

from indexes.errors import BeholderError

FLAT = {"IndexFlat", "IndexFlatIP"}
HNSW = {"IndexHNSW", "IndexHNSWFlat", "IndexHNSWSQ", "IndexHNSWPQ", "IndexHNSW2Level"}
# FAISS 1.15 raises for an IDSelector given to other types: flat fast-scan codes, IndexPQ, additive quantisers.
TAKES_SELECTOR = {
    *FLAT,
    *HNSW,
    "IndexScalarQuantizer",
    "IndexRaBitQ",
    "IndexIVFFlat",
    "IndexIVFScalarQuantizer",
    "IndexIVFPQ",
    "IndexIVFPQFastScan",
    "IndexIVFRaBitQ",
    "IndexIVFRaBitQFastScan",
}
PARAMETERS = ("nprobe", "efSearch", "candidates")  # of a search: the names that a manifest and a caller may set


@dataclass(frozen=True)
class SearchKind:
    """How an opened FAISS index is searched."""

    name: str  # FAISS's class
    nlist: int  # lists of an IVF index, 0 for others
    graph: int  # neighbours of a node of an HNSW index at its lowest level, 0 for others
    lossless: bool  # FAISS's scores are those of the stored float16 vectors, but for rounding
    selects: bool  # takes an IDSelector
    transformed: bool  # an IndexPreTransform (OPQ, PCA) stands before it

    @property
    def flat(self) -> bool:
        """Holds its vectors as float32 in one block."""
        return self.name in FLAT and not self.transformed


def unwrapped(index: Any) -> Any:
    """The index behind an IndexPreTransform, or the index itself, as its own class."""
    import faiss

    index = faiss.downcast_index(index)
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def search_kind(index: Any) -> SearchKind:
    import faiss

    inner: Any = unwrapped(index)
    name, transformed = type(inner).__name__, isinstance(faiss.downcast_index(index), faiss.IndexPreTransform)
    nlist = int(inner.nlist) if isinstance(inner, faiss.IndexIVF) else 0
    graph: Any = inner.hnsw if isinstance(inner, faiss.IndexHNSW) else None
    neighbours = 0 if graph is None else int(graph.nb_neighbors(0))
    lossless = not transformed and _lossless(inner, name)
    return SearchKind(name, nlist, neighbours, lossless, name in TAKES_SELECTOR, transformed)


def _lossless(inner: Any, name: str) -> bool:
    """Float16 codes of float16 vectors lose nothing, unless a list's centre was taken off first."""
    import faiss

    if name in FLAT or name in ("IndexIVFFlat", "IndexHNSWFlat"):
        return True
    if name in ("IndexScalarQuantizer", "IndexIVFScalarQuantizer", "IndexHNSWSQ"):
        storage: Any = faiss.downcast_index(inner.storage) if name == "IndexHNSWSQ" else inner
        quantizer = storage.sq
        return bool(quantizer.qtype == faiss.ScalarQuantizer.QT_fp16 and not getattr(inner, "by_residual", False))
    return False


def check_parameters(parameters: Any) -> None:
    """Raises BeholderError for a search parameter of another name, or below 1."""
    for name, value in parameters.items():
        if name not in PARAMETERS:
            raise BeholderError(f"search parameter {name!r}", f"one of {', '.join(PARAMETERS)}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BeholderError(f"{name} = {value}", f"{name} of at least 1")


def search_parameters(kind: SearchKind, nprobe: int, ef_search: int, selector: Any | None) -> Any:
    """FAISS's own object for one search, or None where the type needs none.

    It does not own `selector`: the caller keeps that alive until the search is over.
    """
    import faiss

    types: Any = faiss  # its stubs lack some of these classes
    params: Any
    if kind.nlist:
        params = types.SearchParametersIVF()
        params.nprobe = nprobe
    elif kind.graph:
        params = types.SearchParametersHNSW()
        params.efSearch = ef_search
    elif selector is not None:
        params = types.SearchParameters()
    else:
        return None
    if selector is not None:
        params.sel = selector
    if not kind.transformed:
        return params
    wrapper = types.SearchParametersPreTransform()
    wrapper.index_params = params
    wrapper.kept = params  # Python's reference: FAISS keeps a bare pointer
    return wrapper
