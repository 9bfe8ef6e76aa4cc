"""Whether a FAISS index that was read holds together: what FAISS itself trusts, and would read beyond its
memory for. For the child process of probe.py; a numpy check of each table of numbers that points elsewhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import FormatError

FLAT = {"IndexFlat", "IndexFlatIP"}
CODES = {*FLAT, "IndexScalarQuantizer", "IndexRaBitQ", "IndexPQ"}  # one code per vector, in a row
LISTS = {"ArrayInvertedLists", "BlockInvertedLists"}  # in memory; others name further files
TRANSFORMS = {"LinearTransform", "OPQMatrix", "PCAMatrix", "RandomRotationMatrix"}
MOST_LEVELS = 64  # of an HNSW graph: one more for every 16 or 32 times as many vectors


def check_structure(index: Any, count: int) -> None:
    """Raises FormatError unless every number in the index that FAISS follows leads inside it."""
    import faiss

    index = faiss.downcast_index(index)
    width = int(index.d)
    while isinstance(index, faiss.IndexPreTransform):
        width = _check_transforms(index, width)
        index = faiss.downcast_index(index.index)
    _need(int(index.d) == width, f"{type(index).__name__} has width {index.d}, not {width}")
    _need(int(index.ntotal) == count, f"{type(index).__name__} holds {index.ntotal} vectors, not {count}")
    _need(int(index.metric_type) == faiss.METRIC_INNER_PRODUCT, f"metric {index.metric_type}")
    if isinstance(index, faiss.IndexIVF):
        _check_ivf(index, count)
    elif isinstance(index, faiss.IndexHNSW):
        _check_hnsw(index, count)
    elif type(index).__name__ in CODES:
        _need(int(index.codes.size()) == count * int(index.code_size), "codes of another size than the vectors need")
        _check_quantizer(index)
    else:
        _need(type(index).__name__ == "IndexPQFastScan", f"a FAISS index of type {type(index).__name__}")
        _need(int(index.ntotal2) >= count, "fewer codes than vectors")
        _check_quantizer(index)


def _need(holds: bool, found: str) -> None:
    if not holds:
        raise FormatError(f"the FAISS index does not hold together ({found})", "an index that beholder wrote")


def _check_transforms(index: Any, width: int) -> int:
    """The width that leaves the chain of transforms."""
    import faiss

    _need(1 <= index.chain.size() <= 4, f"{index.chain.size()} transforms")
    for number in range(index.chain.size()):
        transform: Any = faiss.downcast_VectorTransform(index.chain.at(number))
        name = type(transform).__name__
        _need(name in TRANSFORMS, f"a transform of type {name}")
        _need(int(transform.d_in) == width, f"a transform of width {transform.d_in}")
        width = int(transform.d_out)
        _need(1 <= width <= 1 << 16, f"a transform to width {width}")
        _need(int(transform.A.size()) == width * int(transform.d_in), "a matrix of another size")
        _need(int(transform.b.size()) in (0, width), "an offset of another size")
    return width


def _check_quantizer(index: Any) -> None:
    """Product and scalar quantisers: tables of the sizes that the width asks for."""
    if hasattr(index, "pq"):
        pq = index.pq
        _need(int(pq.d) == int(index.d), f"a product quantiser of width {pq.d}")
        _need(1 <= pq.nbits <= 16 and pq.M >= 1 and pq.M * pq.dsub == pq.d, "a product quantiser of odd parts")
        _need(pq.centroids.size() == pq.d * 2**pq.nbits, "centroids of another size")
    if hasattr(index, "sq"):
        _need(int(index.sq.d) == int(index.d), f"a scalar quantiser of width {index.sq.d}")
        _need(int(index.sq.code_size) == int(index.code_size), "scalar codes of another size")
    if hasattr(index, "rabitq"):
        _need(int(index.rabitq.d) == int(index.d), f"RaBitQ of width {index.rabitq.d}")
        _need(int(index.rabitq.code_size) == int(index.code_size), "RaBitQ codes of another size")
        _need(
            int(index.center.size()) == int(index.d) if hasattr(index, "center") else True, "a centre of another width"
        )


def _check_ivf(index: Any, count: int) -> None:
    import faiss

    quantizer, lists = faiss.downcast_index(index.quantizer), faiss.downcast_InvertedLists(index.invlists)
    _need(type(lists).__name__ in LISTS, f"inverted lists of type {type(lists).__name__}")
    _need(type(quantizer).__name__ in {*FLAT, "IndexHNSWFlat"}, f"a quantiser of type {type(quantizer).__name__}")
    _need(int(lists.nlist) == int(index.nlist) >= 1, f"{lists.nlist} lists for {index.nlist}")
    if type(lists).__name__ == "ArrayInvertedLists":
        _need(int(lists.code_size) == int(index.code_size), f"codes of {lists.code_size} bytes in the lists")
    check_structure(quantizer, int(index.nlist))
    _need(int(quantizer.d) == int(index.d), f"a quantiser of width {quantizer.d}")
    _check_quantizer(index)
    sizes = [int(lists.list_size(number)) for number in range(int(index.nlist))]
    _need(sum(sizes) == count, f"{sum(sizes)} vectors in the lists")
    seen = np.zeros(count, bool)
    for number, size in enumerate(sizes):
        if size:
            ids: NDArray[np.int64] = faiss.rev_swig_ptr(lists.get_ids(number), size)
            _need(bool((ids >= 0).all() and (ids < count).all()), f"list {number} names vectors that are not there")
            seen[ids] = True
    _need(bool(seen.all()), "lists that name a vector twice")


def _check_hnsw(index: Any, count: int) -> None:
    """Levels, offsets and neighbours of the graph, and what holds its vectors."""
    import faiss

    graph = index.hnsw
    at_level = faiss.vector_to_array(graph.cum_nneighbor_per_level).astype(np.int64)
    levels = faiss.vector_to_array(graph.levels).astype(np.int64)
    offsets = faiss.vector_to_array(graph.offsets).astype(np.uint64)
    neighbors = faiss.vector_to_array(graph.neighbors)
    _need(1 <= len(at_level) <= MOST_LEVELS and at_level[0] == 0, f"{len(at_level)} levels")
    _need(bool((np.diff(at_level) >= 0).all()), "levels with fewer neighbours than none")
    _need(len(levels) == count and len(offsets) == count + 1, f"a graph of {len(levels)} nodes")
    if count:
        _need(bool((levels >= 1).all() and (levels < len(at_level)).all()), "a node above the highest level")
        _need(0 <= graph.entry_point < count, f"the entry point {graph.entry_point}")
        _need(graph.max_level == levels[graph.entry_point] - 1 == levels.max() - 1, f"{graph.max_level} levels")
        wanted = np.concatenate([[0], np.cumsum(at_level[levels])]).astype(np.uint64)
        _need(bool((offsets == wanted).all()), "a node whose neighbours lie elsewhere")
    _need(len(neighbors) == (int(offsets[-1]) if len(offsets) else 0), "neighbours of another number")
    _need(bool((neighbors >= -1).all() and (neighbors < count).all()), "a neighbour that is not there")
    # On a level above the lowest, a search goes on from the neighbour on the same level: it must have one.
    for level in range(1, int(levels.max(initial=1))):
        high = np.flatnonzero(levels > level)
        places = offsets[high].astype(np.int64)[:, None] + np.arange(at_level[level], at_level[level + 1])
        found = neighbors[places]
        _need(bool((levels[found[found >= 0]] > level).all()), "a neighbour that is not on its level")
    storage = faiss.downcast_index(index.storage)
    _need(type(storage).__name__ in CODES, f"a graph over {type(storage).__name__}")
    check_structure(storage, count)
    _need(int(storage.d) == int(index.d), f"vectors of width {storage.d}")
