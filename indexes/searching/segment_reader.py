"""One open segment: FAISS finds candidates among the rows that may be returned, exact scores decide the order.

FAISS's own scores depend on the size of the batch in the last digits (BLAS or not), and among equal scores at
the k-th place it keeps any. So a few more than k are asked for, scored again in float64 as exact_search does,
and sorted by score and then id; where the last candidate is too close to the k-th to be sure, more are asked
for. Lossy codes are asked for `candidates` times k instead: their scores prove nothing. A graph is asked for
all the nodes that it keeps, which it has paid for.

Rows may be barred, by tombstones or by a caller's filter. Few rows left are searched exactly. Many go through
FAISS with an IDSelector, and the search widens as the share of rows shrinks; types that take no selector are
asked for more than k, and what is barred is dropped. Barred rows never come back, whatever the way.

With beauty weights FAISS is asked in its wider space, and candidates are scored again as relevance plus beauty, from
the vectors and the normal scores (beauty.py).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.engine.faiss_types import search_kind, search_parameters
from indexes.engine.gpu import GPU_MOST, Gpus
from indexes.engine.huge_pages import advise_graph
from indexes.engine.threads import PART_PRODUCTS, faiss_threads, on_threads, split
from indexes.errors import FormatError
from indexes.records.beauty import longest_row, padded_width
from indexes.records.beauty_file import NormalScoresFile
from indexes.records.exact import Neighbors, best, exact_search
from indexes.records.items_file import ItemsFile
from indexes.records.percentiles import CLIP
from indexes.records.segments import SegmentRecord, check_removed, read_tombstones
from indexes.records.shards import check_size
from indexes.records.vectors import Block, VectorFile

from .asked import Asked

EXTRA = 6  # candidates beyond k: over k + 6 the gap is nearly always above ROUNDING, save for duplicates
# Two float32 sums of D <= 1,024 products of unit vectors differ by about 1e-6; within this gap either may
# lead.
ROUNDING = 1e-5
# On a GPU queries are rounded to float16 as well: half a unit of 11 bits, on both sides.
GPU_EXTRA, GPU_ROUNDING = 54, 1e-3
# Codes of float16 hold the vectors as they are, and z / sqrt(D) rounded: half a unit of 11 bits.
HALF = 2.0**-11
FLOATS = {"IndexFlat", "IndexFlatIP", "IndexIVFFlat", "IndexHNSWFlat"}  # keep float32
GRAPH_KEEPS = 1.25  # nodes per result that a graph search keeps at least: the last ones kept are its least sure
FAR = 8  # a row that a graph jumps to costs as much as so many in sequence: 100 ns at 256-d, most of it waiting
RESCORE_FLOATS = 1 << 22  # 32 MiB of float64 per step when candidates are scored again
# Rows that a filter leaves and that are scored one and all: some 10 ms a query at 256-d on one core. More go
# through FAISS.
EXACT_ROWS = 20_000
BROAD = 0.5  # share of rows from which asking for more and dropping is cheaper than a selector, or the only way
DROP_MOST = 2048  # candidates per query up to which barred ones are dropped; beyond, a selector or all rows


@dataclass(frozen=True)
class Effort:
    """How hard a search looks: lists probed (IVF), nodes kept (HNSW), candidates per result (lossy codes)."""

    nprobe: int = 1
    ef_search: int = 64  # four times FAISS's default, which finds half of the neighbours at 50,000 vectors
    candidates: int = 4  # where a manifest has none: sq8 needs 1, 4-bit codes about 4 to 8

    def widened(self, share: float) -> "Effort":
        """The same number of rows that may be returned is met when only a share of all may be."""
        return replace(self, nprobe=math.ceil(self.nprobe / share), ef_search=math.ceil(self.ef_search / share))


class Bar:
    """The rows of a segment that may be returned: positions (n,), rising, of `count` rows in all."""

    def __init__(self, positions: NDArray[np.int64], count: int) -> None:
        self.positions, self.share = positions, len(positions) / count
        self.mask = np.zeros(count, bool)
        self.mask[positions] = True
        self._bits = np.packbits(self.mask, bitorder="little")  # FAISS's selector reads them where they are

    def selector(self) -> Any:
        """FAISS's selector of these rows; it needs this object alive."""
        import faiss

        return faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))


class Segment:
    """Positions are rows of the segment's files, and FAISS's own numbers. All files are opened here: they may
    lose their names while the segment is in use."""

    def __init__(self, folder: Path, record: SegmentRecord, dimension: int, mmap: bool) -> None:
        for file in record.files:
            check_size(folder, file)
        self.record, self.path = record, folder / record.faiss.path
        self.vectors = VectorFile(folder / record.vectors.path, dimension)
        beauty = record.beauty
        self.beauty = None if beauty is None else NormalScoresFile(folder / beauty.path, record.count)
        self._scorers = 0 if self.beauty is None else len(self.beauty.scorers)
        self.ids = self.vectors.ids()
        removed = read_tombstones(folder, record.tombstones)
        if (np.diff(self.ids) <= 0).any():
            raise FormatError(f"{folder / record.vectors.path} has ids out of order", "rising ids", "Build it again.")
        check_removed(str(folder / record.vectors.path), self.ids, removed)
        self._live = None if not len(removed) else np.flatnonzero(~np.isin(self.ids, removed, assume_unique=True))
        self.count = record.count - len(removed)
        self.items = ItemsFile(folder / record.items.path, keep=not mmap)
        self._kept_params: dict[int, Any] = {}  # of graph searches: FAISS's object takes longer to make than to use
        self._open_faiss(padded_width(dimension, self._scorers), mmap)
        self._longest = longest_row(dimension, self._scorers)
        self.gpus: Gpus | None = None
        self._copies: list[Any] = []

    def _open_faiss(self, dimension: int, mmap: bool) -> None:
        import faiss

        try:
            index: Any = faiss.read_index(str(self.path), faiss.IO_FLAG_MMAP_IFC if mmap else 0)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise FormatError(f"{self.path} cannot be read ({reason})", "a FAISS index", "Build it again.") from error
        count = self.record.count
        if not len(self.vectors) == index.ntotal == count or index.d != dimension:
            found = f"{self.path} holds {index.ntotal} vectors of width {index.d}"
            raise FormatError(found, f"{count} of width {dimension}", "Build it again.")
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise FormatError(f"{self.path} is not of inner products", "inner products", "Build it again.")
        self.kind, self.faiss = search_kind(index), index
        if self.kind.graph and not mmap:
            advise_graph(index)
        if self.kind.flat:  # a view of FAISS's own memory
            self._rows: Any = faiss.rev_swig_ptr(index.get_xb(), count * dimension).reshape(-1, dimension)

    def to_gpus(self, gpus: Gpus) -> None:
        """From now on FAISS searches there; the copy in main memory is let go."""
        self._copies, self.gpus = gpus.copied(self.faiss, str(self.path)), gpus
        self._rows = None
        self.faiss = None

    def live_ids(self) -> NDArray[np.int64]:
        return self.ids if self._live is None else self.ids[self._live]

    def live_blocks(self, rows: int) -> Iterator[Block]:
        return self.vectors.blocks(rows) if self._live is None else self._blocks_at(self._live, rows)

    def positions_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions (n,) of ids (n,) in any order; -1 for those that are not here or removed."""
        places = np.minimum(np.searchsorted(self.ids, ids), max(len(self.ids) - 1, 0))
        if not len(self.ids):
            return np.full(len(ids), -1)
        known = self.ids[places] == ids
        if self._live is not None and len(ids):
            spots = np.minimum(np.searchsorted(self._live, places), max(len(self._live) - 1, 0))
            known &= self._live[spots] == places if len(self._live) else False
        return np.where(known, places, -1)

    def _admitted(self, allowed: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """The positions (n,) that may be returned, rising; None for all rows."""
        if allowed is None:
            return self._live
        positions = self.positions_of(allowed)
        positions = positions[positions >= 0]
        return positions if len(positions) < self.record.count else None

    def _blocks_at(self, positions: NDArray[np.int64], rows: int = 8192, *, wide: bool = False) -> Iterator[Block]:
        for start in range(0, len(positions), rows):
            part = positions[start : start + rows]
            yield self.ids[part], self._rows_at(part, wide=wide)

    def _rows_at(self, positions: NDArray[np.int64], *, wide: bool) -> NDArray[Any]:
        """The vectors (n, D) at positions, and if `wide` their normal scores behind them (n, D + S)."""
        rows = self.vectors.rows_at(positions)
        if not wide or self.beauty is None:
            return rows
        return np.hstack([rows, self.beauty.rows[positions]])  # float16 and float32 make float32: nothing is lost

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        effort: Effort,
        allowed: NDArray[np.int64] | None,
        threads: int | None,
        weights: NDArray[np.float32] | None = None,
        exact: bool = False,
    ) -> tuple[Neighbors, int]:
        """The top min(k, rows that may be returned) of queries (Q, D), and how many queries were searched
        again, or by scoring all rows, since FAISS could not settle them. allowed: rising ids (n,), None for all.
        weights: of beauty (S,), None for none. exact: score all rows."""
        asked = Asked.of(queries, weights, self._scorers)
        if self.kind.graph and allowed is None and self._live is None and weights is None and not exact:
            quick = self._nearest(asked, k, effort, threads)
            if quick is not None:
                return quick, 0
        admitted = self._admitted(allowed)
        total = self.record.count if admitted is None else len(admitted)
        if admitted is not None and (
            total <= EXACT_ROWS or (total < BROAD * self.record.count and not self._can_select())
        ):
            exact = True
        if exact:
            return self._exact(asked, k, admitted), 0
        k = min(k, total)
        if not total or not len(queries):
            return Neighbors(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)), 0
        if admitted is not None:
            effort = effort.widened(total / self.record.count)
        found, few, scored = self._through_faiss(asked, k, effort, admitted, threads)
        again = few
        if few.any() and self.kind.nlist and (self.gpus is None or self.kind.nlist <= GPU_MOST):
            widest = replace(effort, nprobe=self.kind.nlist)
            whole, still, more = self._through_faiss(asked.at(few), k, widest, admitted, threads)
            found.ids[few], found.scores[few] = whole.ids, whole.scores
            again, scored = few.copy(), scored + more
            again[few] = still
        if again.any():
            whole = self._exact(asked.at(again), k, admitted)
            found.ids[again], found.scores[again] = whole.ids, whole.scores
        return found, int(few.sum()) + scored

    def _nearest(self, asked: Asked, k: int, effort: Effort, threads: int | None) -> Neighbors | None:
        """The top k over a graph whose rows may all be returned, without beauty: the same as the long way, without
        what other searches need, which would be half of a single query's time. None where the long way must do it."""
        lossless = self.kind.lossless
        if k > self.record.count or self.gpus is not None or not (lossless or len(asked) == 1):
            return None
        kept = self._kept(k, effort)
        params = self._kept_params.get(kept) or self._kept_params.setdefault(
            kept, search_parameters(self.kind, 1, kept, None)
        )
        fetch = k if lossless else kept
        alone = len(asked) == 1
        if alone:
            scores, positions = self.faiss.search(asked.faiss, fetch, params=params)
        else:
            with faiss_threads(self._threads(len(asked), kept, 1, threads), asked.faiss.shape[1]):
                scores, positions = self.faiss.search(asked.faiss, fetch, params=params)
        try:
            found = self.ids[positions]
        except IndexError:  # the long way says what is wrong
            return None
        if positions[0, -1] < 0 if alone else (positions[:, -1] < 0).any():
            return None
        if not lossless:
            rows: Any = self.vectors.rows_at(positions[0]).astype(np.float64)
            scores = (rows @ asked.exact[0].astype(np.float64)).astype(np.float32)[None]
        if alone:  # NumPy sorts one row in a third of the time of a table of one row
            order = np.lexsort((found[0], -scores[0]))[:k]
            return Neighbors(found[:, order], scores[:, order])
        orders = np.lexsort((found, -scores), axis=1)[:, :k]
        return Neighbors(np.take_along_axis(found, orders, 1), np.take_along_axis(scores, orders, 1))

    def _kept(self, k: int, effort: Effort) -> int:
        """Nodes that a graph search keeps, and gives."""
        return min(max(effort.ef_search, math.ceil(GRAPH_KEEPS * k)), self.record.count)

    def _can_select(self) -> bool:
        return self.kind.selects and self.gpus is None  # FAISS on a GPU ignores selectors without a word

    def _exact(self, asked: Asked, k: int, admitted: NDArray[np.int64] | None) -> Neighbors:
        if admitted is not None:
            blocks = self._blocks_at(admitted, wide=asked.weights is not None)
        elif asked.weights is None:
            blocks = self.vectors.blocks(8192)
        else:
            blocks = self._blocks_at(np.arange(self.record.count), wide=True)
        return exact_search(asked.exact, blocks, k)

    def _through_faiss(
        self,
        asked: Asked,
        k: int,
        effort: Effort,
        admitted: NDArray[np.int64] | None,
        threads: int | None,
    ) -> tuple[Neighbors, NDArray[np.bool_], int]:
        """The top k of what FAISS finds; which queries (Q,) it found too few for: rows of those are
        unfinished; and for how many others all rows had to be scored."""
        count = self.record.count
        ids, scores = np.zeros((len(asked), k), np.int64), np.zeros((len(asked), k), np.float32)
        few, open_rows, scored = np.zeros(len(asked), bool), np.arange(len(asked)), 0
        extra, rounding = (EXTRA, ROUNDING) if self.gpus is None else (GPU_EXTRA, GPU_ROUNDING)
        rounded = rounding * self._longest * np.linalg.norm(asked.faiss, axis=1)
        if asked.weights is not None and self.kind.name not in FLOATS:
            rounded += HALF * CLIP * float(np.abs(asked.weights).sum())
        first = k + extra if self.kind.lossless else effort.candidates * k
        if self.kind.graph:
            first = self._kept(k, effort)
        if self.gpus is not None:
            first = min(first, GPU_MOST)
        bar = None if admitted is None else Bar(admitted, count)
        # Over flat vectors a selector costs the quick path through BLAS.
        selecting = bar is not None and self._can_select() and not (self.kind.flat and bar.share >= BROAD)
        fetch = math.ceil(first / bar.share) if bar and not selecting else first
        while len(open_rows):
            if bar and not selecting and fetch > max(DROP_MOST, first) and self._can_select():
                selecting, fetch = True, DROP_MOST
            reachable = len(bar.positions) if bar and selecting else count
            fetch = min(fetch, reachable)
            dropping = bar is not None and not selecting
            if (dropping and fetch > max(DROP_MOST, first)) or (self.gpus is not None and fetch > GPU_MOST):
                exact = self._exact(asked.at(open_rows), k, admitted)
                ids[open_rows], scores[open_rows], few[open_rows] = exact.ids, exact.scores, False
                scored = len(open_rows)
                break
            selector = bar.selector() if bar and selecting else None
            positions, rough = self.candidates(asked.faiss[open_rows], fetch, effort, selector, threads)
            ended = positions[:, -1] < 0  # FAISS has nothing more to give
            if bar and dropping:
                positions = np.where((positions >= 0) & bar.mask[np.maximum(positions, 0)], positions, -1)
            found = self._rescored(asked.at(open_rows), positions, k)
            ids[open_rows], scores[open_rows] = found.ids, found.scores
            enough = (positions >= 0).sum(axis=1) >= k
            few[open_rows] = ~enough
            sure = enough
            if self.kind.lossless and not self.kind.graph:
                # What FAISS left out scores at most its last score, give or take rounding.
                sure = enough & (rough[:, -1] + rounded[open_rows] < found.scores[:, -1])
            open_rows = open_rows[~(sure | ended)] if fetch < reachable else open_rows[:0]
            fetch *= 4
        return Neighbors(ids, scores), few, scored

    def candidates(
        self, queries: NDArray[np.float32], fetch: int, effort: Effort, selector: Any | None, threads: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """FAISS's positions (-1 for none) and scores, both (Q, fetch), best first, of queries as it takes them; fetch
        is at most all rows."""

        width, count, kind = queries.shape[1], self.record.count, self.kind
        nprobe, ef_search = min(effort.nprobe, max(kind.nlist, 1)), min(max(effort.ef_search, fetch), count)
        if self.gpus is not None:
            return self.gpus.search(self._copies, kind, queries, fetch, nprobe)
        params = search_parameters(kind, nprobe, ef_search, selector)
        most = self._threads(len(queries), ef_search, nprobe, threads)
        if kind.flat and selector is None:
            parts = split(count, most)
            found = on_threads(lambda part: self._flat(queries, part, fetch), parts, width)
            scores, positions = (np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))
            if len(parts) > 1:
                order = np.argsort(-scores, axis=1)[:, :fetch]
                scores, positions = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
        else:
            found = on_threads(
                lambda part: self.faiss.search(queries[part], fetch, params=params),
                split(len(queries), most),
                width,
            )
            scores, positions = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        if positions.size and positions.max() >= count:
            raise FormatError(f"{self.path} gives row {positions.max()}", f"rows below {count}", "Build it again.")
        return positions, scores

    def _threads(self, queries: int, ef_search: int, nprobe: int, threads: int | None) -> int:
        """How many threads so many queries are worth."""
        import faiss

        kind, count = self.kind, self.record.count
        scanned = count * nprobe / kind.nlist if kind.nlist else min(count, ef_search * kind.graph * FAR or count)
        worth = math.ceil(queries * scanned * self.vectors.dimension / PART_PRODUCTS)
        return min(worth, threads or faiss.omp_get_max_threads())

    def _flat(
        self, queries: NDArray[np.float32], part: slice, fetch: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and positions of the best of some rows of a Flat index, (Q, min(fetch, rows))."""
        import faiss

        rows = self._rows[part]
        scores, positions = faiss.knn(queries, rows, min(fetch, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
        return scores, positions + part.start

    def _rescored(self, asked: Asked, positions: NDArray[np.int64], k: int) -> Neighbors:
        """The top k of the candidates by their score in float64, rounded once; missing ones sink to the
        end."""
        scores = np.empty(positions.shape, np.float32)
        queries, wide = asked.exact, asked.weights is not None
        step = max(1, RESCORE_FLOATS // (positions.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), step):
            part = positions[start : start + step]
            rows = self._rows_at(np.maximum(part, 0).reshape(-1), wide=wide).astype(np.float64)
            rows = rows.reshape(*part.shape, -1)
            scores[start : start + step] = (rows @ queries[start : start + step, :, None].astype(np.float64))[..., 0]
        scores[positions < 0] = -np.inf
        return best(scores, self.ids[np.maximum(positions, 0)], k)
