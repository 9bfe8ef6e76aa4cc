"""A FAISS index of rows: trained on a sample, filled block by block. The same rows, factory and training give
the same bytes, whatever the threads (graphs too, since FAISS 1.15).

Memory is bounded by factories.build_bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.records.vectors import Block

from .factories import BLOCK_ROWS, GRAPH_ROWS, OPQ_ROWS, graph_rows, parse, training_rows
from .faiss_types import unwrapped
from .list_tasks import Tasks, centres_of, nearest_lists
from .threads import faiss_threads

Progress = Callable[[int, int], None]
# Of graphs. FAISS's 40 needs twice the nodes in a search of HNSW16. Small ones keep all links that there is room for:
# 15 % fewer rows to look at for twice the build, which a million vectors would feel. decisions/0017.
EF_SMALL, EF_LARGE = 100, 80
KMEANS_ROUNDS = 10  # FAISS's own default for IVF; more rounds moved knn_recall by less than its interval
OPQ_ROUNDS = 10  # FAISS's 50 rounds took minutes at 256-d
OPQ_KMEANS = 4


@dataclass(frozen=True)
class Training:
    """How FAISS is trained; the threads change no byte."""

    seed: int = 0  # of k-means and of its sample
    train_rows: int = 262_144  # most rows that IVF is trained on: 12 * D bytes each while it trains
    threads: int = 0  # 0: all cores
    memory: int = 0  # bytes that the build may hold, 0: any; the training sample shrinks to fit
    tasks: Tasks | None = field(default=None, compare=False)  # who finds each row's list; None: this process


class Vectors(Protocol):
    """Rows that can be read several times."""

    @property
    def count(self) -> int: ...
    @property
    def dimension(self) -> int: ...
    @property
    def blocks(self) -> Callable[[], Iterator[Block]]: ...


def gather(rows: Vectors, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors (n, D) at positions (n,) in rising order, counted in the order of the blocks."""
    found = np.empty((len(positions), rows.dimension), np.float32)
    start = 0
    for ids, vectors in rows.blocks():
        first, last = np.searchsorted(positions, [start, start + len(ids)])
        found[first:last] = vectors[positions[first:last] - start]
        start += len(ids)
    return found


def shares_lists(factory: str) -> bool:
    """Whether a build can share out to which list each row goes (Training.tasks); codes that FAISS packs or rotates
    itself, and graphs, are built in one process."""
    kind = parse(factory)
    return bool(kind.lists) and not kind.fast and not kind.opq


def faiss_index(factory: str, rows: Vectors, training: Training, progress: Progress) -> Any:
    """A FAISS index that holds the rows, numbered from 0 in their order. progress(done, total) counts vectors."""
    index = _trained(factory, rows, training)
    with faiss_threads(training.threads, rows.dimension):
        if shares_lists(factory):
            _fill_lists(index, rows, training.tasks, progress)
        else:
            _fill(index, factory, rows, training.memory, progress)
    return index


def _trained(factory: str, rows: Vectors, training: Training) -> Any:
    """An empty index, its lists' centres and codes found from a random sample of rows."""
    import faiss

    if factory == "Flat":
        return faiss.IndexFlatIP(rows.dimension)
    index: Any = faiss.index_factory(rows.dimension, factory, faiss.METRIC_INNER_PRODUCT)
    inner: Any = unwrapped(index)
    kind = parse(factory)
    if kind.graph:
        small = rows.count <= GRAPH_ROWS
        inner.hnsw.efConstruction = EF_SMALL if small else EF_LARGE
        inner.keep_max_size_level0 = small
    if kind.lists:
        _set(inner.cp, seed=training.seed, niter=KMEANS_ROUNDS, spherical=True, min_points_per_centroid=1)
    if kind.codes == "PQ":
        _set(inner.pq.cp, seed=training.seed + 1, min_points_per_centroid=1)
    if kind.opq:
        rotation: Any = faiss.downcast_VectorTransform(index.chain.at(0))
        pieces = faiss.ProductQuantizer(rows.dimension, kind.opq, 4 if kind.fast else 8)
        _set(pieces.cp, seed=training.seed + 2, min_points_per_centroid=1)
        _set(rotation, niter=OPQ_ROUNDS, niter_pq_0=OPQ_KMEANS, niter_pq=OPQ_KMEANS, max_train_points=OPQ_ROWS)
        rotation.pq = pieces
    count = training_rows(kind, rows.count, rows.dimension, training.train_rows, training.memory)
    if count:
        sample = gather(rows, np.sort(np.random.default_rng(training.seed).permutation(rows.count)[:count]))
        if kind.codes == "PQ" and kind.lists and not kind.opq:
            _train_lists(inner, sample, training)
        # Small products lose more to joining threads than they gain: OPQ took 14 s with two, 6 with one.
        with faiss_threads(1 if kind.codes == "PQ" else training.threads, rows.dimension):
            index.train(sample)
    return index


def _train_lists(index: Any, sample: NDArray[np.float32], training: Training) -> None:
    """Finds the lists' centres with all threads; FAISS then trains the codes alone."""
    import faiss

    coarse: Any = faiss.index_factory(sample.shape[1], f"IVF{index.nlist},Flat", faiss.METRIC_INNER_PRODUCT)
    _set(coarse.cp, seed=training.seed, niter=KMEANS_ROUNDS, spherical=True, min_points_per_centroid=1)
    with faiss_threads(training.threads, sample.shape[1]):
        coarse.train(sample)
    index.quantizer.add(coarse.quantizer.reconstruct_n(0, index.nlist))


def _set(thing: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(thing, name, value)


def _stored(rows: Vectors) -> Iterator[NDArray[Any]]:
    """(n, D) of at most BLOCK_ROWS rows, of the type that they are kept in."""
    for _, vectors in rows.blocks():
        for start in range(0, len(vectors), BLOCK_ROWS):
            yield vectors[start : start + BLOCK_ROWS]


def _blocks(rows: Vectors) -> Iterator[NDArray[np.float32]]:
    """The same as float32."""
    return (part.astype(np.float32) for part in _stored(rows))


def _fill(index: Any, factory: str, rows: Vectors, memory: int, progress: Progress) -> None:
    """Adds all rows, into memory that is reserved first where FAISS lets it be: vectors that grow by doubling
    would hold the index twice over."""
    import faiss

    total, done = rows.count, 0
    inner: Any = unwrapped(index)
    blocks = _blocks(rows)
    if isinstance(inner, faiss.IndexHNSW):
        blocks = _joined(blocks, graph_rows(factory, total, rows.dimension, memory), total)
        graph: Any = inner.hnsw
        links = graph.neighbors
        # Links of the lowest level, and of the upper ones with room for chance.
        links.resize(int(total * graph.nb_neighbors(0) * (1 + 0.6 / graph.nb_neighbors(1)) + 10_000))
        links.resize(0)  # keeps the memory
        inner = faiss.downcast_index(inner.storage)
    if isinstance(inner, faiss.IndexFlatCodes) and not isinstance(inner, faiss.IndexFastScan):
        inner.codes.resize(total * inner.code_size)
        inner.codes.resize(0)
    for block in blocks:
        index.add(block)
        done += len(block)
        progress(done, total)


def _joined(blocks: Iterator[NDArray[np.float32]], most: int, total: int) -> Iterator[NDArray[np.float32]]:
    """The same rows, `most` at once (the last time fewer), in one array that is used again."""
    held, room, done = None, 0, 0
    for block in blocks:
        if held is None:
            held = np.empty((min(most, total), block.shape[1]), np.float32)
        start = 0
        while start < len(block):
            part = block[start : start + len(held) - room]
            held[room : room + len(part)] = part
            room, start, done = room + len(part), start + len(part), done + len(part)
            if room == len(held) or done == total:
                yield held[:room]
                room = 0


def _fill_lists(index: Any, rows: Vectors, tasks: Tasks | None, progress: Progress) -> None:
    """Adds all rows to an IVF index: finds each row's list, reserves the lists, fills them."""
    import faiss

    total, done = rows.count, 0
    lists = np.empty(total, np.int64)
    if tasks is None:
        numbers: Iterator[Any] = (index.quantizer.search(block, 1)[1][:, 0] for block in _blocks(rows))
    else:
        numbers = tasks.map(nearest_lists, _stored(rows), centres_of(index.quantizer))
    for found in numbers:
        lists[done : done + len(found)] = found
        done += len(found)
        progress(done // 2, total)
    inverted: Any = index.invlists
    for number, size in enumerate(np.bincount(lists, minlength=index.nlist)):
        inverted.resize(number, int(size))
        inverted.resize(number, 0)
    done = 0
    for block in _blocks(rows):
        ids = np.arange(done, done + len(block))
        own = np.ascontiguousarray(lists[done : done + len(block)])
        index.add_core(len(block), faiss.swig_ptr(block), faiss.swig_ptr(ids), faiss.swig_ptr(own))
        done += len(block)
        progress((total + done) // 2, total)
