"""An INDEX folder open for search: FAISS finds candidates, their exact scores decide the order.

FAISS's own scores depend on the size of the batch in the last digits (BLAS or not), and among equal scores at
the k-th place it keeps any. So a few more than k are asked for, scored again in float64 as exact_search does,
and sorted by score and then id; where the last candidate is too close to the k-th to be sure, more are asked
for. Over a Flat index the answer is that of exact_search to the last digit, whatever the batch, the threads
and the device.
"""

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import BeholderError, FormatError
from .exact import Neighbors, best, check_queries, exact_search
from .segments import IndexManifest, SegmentRecord, verify_index
from .shards import check_size, read_items
from .threads import PART_PRODUCTS, on_threads, split
from .vectors import Block, VectorFile

__all__ = ["Index", "IndexManifest", "load_index", "verify_index"]

EXTRA = 6  # candidates beyond k: over k + 6 the gap is nearly always above ROUNDING, save for duplicates
# Two float32 sums of D <= 1,024 products of unit vectors differ by about 1e-6; within this gap either may
# lead.
ROUNDING = 1e-5
RESCORE_FLOATS = 1 << 22  # 32 MiB of float64 per step when candidates are scored again
GPU_MOST = 2048  # FAISS on a GPU returns at most so many per query, and probes at most so many lists


class Segment:
    """One open segment. Positions are rows of its files, and FAISS's own numbers."""

    def __init__(self, folder: Path, record: SegmentRecord, dimension: int, device: str, mmap: bool) -> None:
        import faiss

        for file in record.files:
            check_size(folder, file)
        path = folder / record.faiss.path
        self.record, self.folder = record, folder
        self.vectors = VectorFile(folder / record.vectors.path, dimension)
        self.ids = self.vectors.ids()
        try:
            self.faiss = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mmap else 0)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            found = f"{path} cannot be read ({reason})"
            raise FormatError(found, "a FAISS index", "Build it again.") from error
        if not len(self.vectors) == self.faiss.ntotal == record.count or self.faiss.d != dimension:
            found = f"{path} holds {self.faiss.ntotal} vectors of width {self.faiss.d}"
            raise FormatError(found, f"{record.count} of width {dimension}", "Build it again.")
        self.nlist = int(self.faiss.nlist) if isinstance(self.faiss, faiss.IndexIVF) else 0
        if not self.nlist and device == "cpu":  # a view of FAISS's own memory
            flat: Any = self.faiss
            self._rows = faiss.rev_swig_ptr(flat.get_xb(), record.count * dimension).reshape(-1, dimension)
        self.on_gpu = device == "cuda"
        if self.on_gpu:
            self._resources = faiss.StandardGpuResources()  # must outlive the index
            self.faiss = faiss.index_cpu_to_gpu(self._resources, 0, self.faiss)
        self._gpu = threading.Lock()  # FAISS: one search at a time per GPU resources
        self._items_lock, self._items = threading.Lock(), None

    def items(self) -> Any:
        """The table of items, read at the first call and kept."""
        with self._items_lock:
            if self._items is None:
                self._items = read_items(self.folder / self.record.items.path)
            return self._items

    def candidates(
        self, queries: NDArray[np.float32], count: int, nprobe: int, threads: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """FAISS's positions (-1 for none) and scores, both (Q, count), best first; count is at most all
        vectors."""
        import faiss

        params = None
        if self.nlist:
            params = faiss.SearchParametersIVF()
            params.nprobe = nprobe
        width = queries.shape[1]
        if self.on_gpu:
            with self._gpu:
                scores, positions = self.faiss.search(queries, count, params=params)
            return positions, scores
        share = self.record.count * (nprobe / self.nlist if self.nlist else 1)
        most = math.ceil(len(queries) * share * width / PART_PRODUCTS)
        most = min(most, threads or faiss.omp_get_max_threads())
        if self.nlist:
            found = on_threads(
                lambda part: self.faiss.search(queries[part], count, params=params),
                split(len(queries), most),
                width,
            )
            return np.concatenate([p for _, p in found]), np.concatenate([s for s, _ in found])
        parts = split(self.record.count, most)
        found = on_threads(lambda part: self._flat(queries, part, count), parts, width)
        if len(parts) == 1:
            return found[0][1], found[0][0]
        scores, positions = (np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))
        order = np.argsort(-scores, axis=1)[:, :count]
        return np.take_along_axis(positions, order, 1), np.take_along_axis(scores, order, 1)

    def _flat(
        self, queries: NDArray[np.float32], part: slice, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and positions of the best of some rows of a Flat index, (Q, min(count, rows))."""
        import faiss

        rows = self._rows[part]
        scores, positions = faiss.knn(queries, rows, min(count, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
        return scores, positions + part.start

    def search(
        self, queries: NDArray[np.float32], k: int, nprobe: int, threads: int | None
    ) -> tuple[Neighbors, NDArray[np.bool_]]:
        """The top min(k, count) of queries (Q, D), and which queries (Q,) found too few. Rows of those are
        unfinished."""
        total = self.record.count
        k = min(k, total)
        ids, scores = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
        few = np.zeros(len(queries), bool)
        open_rows, fetch = np.arange(len(queries) if total else 0), min(k + EXTRA, total)
        lengths = np.linalg.norm(queries, axis=1)
        while len(open_rows):
            if self.on_gpu and max(fetch, nprobe) > GPU_MOST:
                found = exact_search(queries[open_rows], self.vectors.blocks(8192), k)
                ids[open_rows], scores[open_rows] = found.ids, found.scores
                break
            positions, rough = self.candidates(queries[open_rows], fetch, nprobe, threads)
            found = self._rescored(queries[open_rows], positions, k)
            ids[open_rows], scores[open_rows] = found.ids, found.scores
            few[open_rows] = (positions >= 0).sum(axis=1) < k
            # What FAISS left out scores at most its last score, give or take rounding. -1 means nothing was
            # left out.
            most = rough[:, -1] + ROUNDING * lengths[open_rows]
            sure = (positions[:, -1] < 0) | (most < found.scores[:, -1])
            open_rows = open_rows[~sure] if fetch < total else open_rows[:0]
            fetch = min(4 * fetch, total)
        return Neighbors(ids, scores), few

    def _rescored(self, queries: NDArray[np.float32], positions: NDArray[np.int64], k: int) -> Neighbors:
        """The top k of the candidates by their score in float64, rounded once; missing ones sink to the
        end."""
        scores = np.empty(positions.shape, np.float32)
        step = max(1, RESCORE_FLOATS // (positions.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), step):
            part = positions[start : start + step]
            rows = self.vectors.rows_at(np.maximum(part, 0).reshape(-1)).astype(np.float64)
            rows = rows.reshape(*part.shape, -1)
            scores[start : start + step] = (rows @ queries[start : start + step, :, None].astype(np.float64))[..., 0]
        scores[positions < 0] = -np.inf
        return best(scores, self.ids[np.maximum(positions, 0)], k)


class Index:
    """An INDEX folder open for search, from any number of threads at once. It keeps the manifest that it
    opened."""

    def __init__(self, folder: Path, device: str, mmap: bool) -> None:
        self.folder, self.device = folder, device
        self.manifest = IndexManifest.read(folder)
        self._segments = [
            Segment(folder, record, self.manifest.dimension, device, mmap) for record in self.manifest.segments
        ]
        self._ids = np.concatenate([np.empty(0, np.int64), *(s.ids for s in self._segments)])
        self._rows = np.argsort(self._ids, kind="stable")
        self._ids = self._ids[self._rows]  # ids in rising order; _rows: where they are, over all segments
        self._lock = threading.Lock()
        self.exhaustive_fallbacks = 0  # queries searched again exactly, since IVF found fewer than k

    def __len__(self) -> int:
        return self.manifest.count

    def search(
        self, vectors: NDArray[Any], k: int, *, nprobe: int | None = None, threads: int | None = None
    ) -> Neighbors:
        """The best min(k, len(self)) for each of the queries (Q, D), float32 and of length 1, best first.

        nprobe: how many lists of an IVF index are scanned, default the manifest's; a Flat index has none.
        threads: at most so many, default all cores. Raises BeholderError for k < 1, nprobe < 1, another
        width, non-finite queries.
        """
        queries = check_queries(vectors, self.manifest.dimension, k)
        if nprobe is not None and nprobe < 1:
            raise BeholderError(f"nprobe = {nprobe}", "nprobe of at least 1")
        parts = [self._search_segment(segment, queries, k, nprobe, threads) for segment in self._segments]
        if len(parts) == 1:
            return parts[0]
        shape = (len(queries), 0)
        ids = np.concatenate([np.empty(shape, np.int64), *(part.ids for part in parts)], axis=1)
        scores = np.concatenate([np.empty(shape, np.float32), *(part.scores for part in parts)], axis=1)
        return best(scores, ids, k)

    def _search_segment(
        self, segment: Segment, queries: NDArray[np.float32], k: int, nprobe: int | None, threads: int | None
    ) -> Neighbors:
        probes = min(nprobe or int(self.manifest.parameters.get("nprobe", 1)), max(segment.nlist, 1))
        found, few = segment.search(queries, k, probes, threads)
        if few.any():
            again, _ = segment.search(queries[few], k, segment.nlist, threads)
            found.ids[few], found.scores[few] = again.ids, again.scores
            with self._lock:
                self.exhaustive_fallbacks += int(few.sum())
        return found

    def _rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        ids = np.asarray(ids, np.int64)
        places = np.searchsorted(self._ids, ids)
        known = places < len(self._ids)
        known[known] = self._ids[places[known]] == ids[known]
        if not known.all():
            raise BeholderError(f"id {ids[~known][0]} is not in {self.folder}", "ids that a search returned")
        rows: NDArray[np.int64] = self._rows[places]
        return rows

    def items(self, ids: NDArray[np.int64]) -> Any:
        """The items of ids (n,) as a pyarrow table of n rows in that order. Raises BeholderError for an
        unknown id."""
        rows = self._rows_of(ids)
        tables = [segment.items() for segment in self._segments]
        return pa.concat_tables(tables, promote_options="default").take(pa.array(rows))

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors (n, D) float32 of ids (n,), as stored. Raises BeholderError for an unknown id."""
        rows = self._rows_of(ids)
        found = np.empty((len(rows), self.manifest.dimension), np.float32)
        start = 0
        for segment in self._segments:
            mine = (rows >= start) & (rows < start + segment.record.count)
            found[mine] = segment.vectors.rows_at(rows[mine] - start)
            start += segment.record.count
        return found

    def blocks(self, rows: int = 65536) -> Iterator[Block]:
        """(ids (n,) int64, vectors (n, D) float16) of all rows, at most `rows` at a time: for
        exact_search."""
        for segment in self._segments:
            yield from segment.vectors.blocks(rows)


def load_index(folder: str | Path, *, device: str = "cpu", mmap: bool = False) -> Index:
    """The index of a finished INDEX folder. mmap leaves vectors on disk, to be read when a search touches
    them.

    Raises FormatError for a folder that is none or whose files have other sizes, BeholderError for device
    "cuda" where FAISS sees no GPU.
    """
    if device not in ("cpu", "cuda"):
        raise BeholderError(f"device {device!r}", "cpu or cuda")
    if device == "cuda":
        import faiss

        # Not hasattr(faiss, "StandardGpuResources"): a GPU build has it on a machine without a GPU too.
        if faiss.get_num_gpus() == 0:
            remedy = "Use device cpu, or see what `beholder doctor` says is missing."
            raise BeholderError("device cuda, but FAISS sees no GPU", "a GPU", remedy)
    return Index(Path(folder), device, mmap)
