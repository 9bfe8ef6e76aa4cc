"""An INDEX folder open for search: its segments searched one by one, their answers merged.

Over a Flat index the answer is that of exact_search to the last digit, whatever the batch, the threads, the
device, the number of segments and what was removed from them. See segment_reader.py for how.
"""

import copy
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.engine.faiss_types import check_parameters
from indexes.engine.gpu import Gpus, check_limits, gpu_bytes, gpus_of
from indexes.errors import BeholderError, FormatError
from indexes.records.critiques import with_critiques
from indexes.records.exact import Neighbors, best, check_queries
from indexes.records.score_columns import ScoreRecord
from indexes.records.segments import IndexManifest, check_normal_scores, verify_index
from indexes.records.shards import ITEM_COLUMNS
from indexes.records.vectors import Block

from .safety import admit, manifest_of
from .score_access import Scores
from .segment_reader import Effort, Segment

__all__ = ["Index", "IndexManifest", "load_index", "verify_index"]

OPENINGS = 5  # tries to open an index that is replaced while it is opened


class Index:
    """An INDEX folder open for search, from any number of threads at once. It keeps the manifest that it
    opened, and its files, whatever is done to the folder meanwhile."""

    def __init__(self, folder: Path, device: str, mmap: bool) -> None:
        self.folder, self.device, self.mapped = folder, device, mmap
        self.manifest = IndexManifest.read(folder)
        gpus, dimension = gpus_of(device), self.manifest.dimension
        self._segments = [Segment(folder, record, dimension, mmap) for record in self.manifest.segments]
        self._scores = Scores(folder, self.manifest)
        for segment in self._segments if self.manifest.in_index else ():
            if segment.beauty is not None:
                check_normal_scores(segment.beauty, self.manifest, folder)
        live = sum(segment.count for segment in self._segments)
        if live != self.manifest.count:
            raise FormatError(f"{folder} has {live} live pictures", f"{self.manifest.count}", "Build it again.")
        if gpus is not None:
            self.lend(Gpus(gpus, sum(gpu_bytes(segment.faiss) for segment in self._segments)), device)
        self._lock = threading.Lock()
        self._efforts: dict[tuple[tuple[str, int], ...], Effort] = {}  # of given parameters: worked out once
        self.exhaustive_fallbacks = 0  # queries searched again, wider, since FAISS found fewer than k
        self.exact_searches = 0  # queries of which all rows were scored, since their beauty weights asked for it

    def lend(self, gpus: Gpus, device: str) -> None:
        """From now on candidates come from there: FAISS's GPUs, or what stands in for them."""
        self.device = device
        for segment in self._segments:
            segment.to_gpus(gpus)

    def __len__(self) -> int:
        return self.manifest.count

    def memory(self) -> dict[str, int]:
        """Bytes: `held` in main memory (or on GPUs), `mapped` from disk, of which the system keeps in memory what
        is used and there is room for. Items count as mapped until they are first asked for."""
        records = [segment.record for segment in self._segments]
        faiss = sum(record.faiss.bytes for record in records)
        mapped = sum(file.bytes for record in records for file in record.files if file != record.faiss)
        ids = sum(segment.ids.nbytes for segment in self._segments)
        return {"held": ids, "mapped": mapped + faiss} if self.mapped else {"held": ids + faiss, "mapped": mapped}

    def search(
        self,
        vectors: NDArray[Any],
        k: int,
        *,
        beauty: Mapping[str, float] | None = None,
        parameters: Mapping[str, int] | None = None,
        allowed: NDArray[np.int64] | None = None,
        nprobe: int | None = None,
        threads: int | None = None,
        exact: bool = False,
    ) -> Neighbors:
        """The best min(k, live pictures that are allowed) for each of the queries (Q, D), float32 and of
        length 1, best first.

        beauty: weights b by scorer ("": the default one), of any sign; the scores are then s + b * spread * z
        (beauty.py). A weight at which no search parameters meet the index's target is searched exactly: see
        `searches_exactly`. exact: score all rows. parameters: nprobe (lists of an IVF index that are scanned),
        efSearch (nodes kept by HNSW), candidates (per result, scored again where codes are lossy); each one missing
        is the manifest's. allowed: the ids (n,) that may be returned, rising; None for all. threads: at most so many,
        default all cores. Raises BeholderError for k < 1, an unknown parameter, another width, non-finite queries,
        a scorer that the index cannot search with.
        """
        queries = check_queries(vectors, self.manifest.dimension, k)
        given = {**(parameters or {}), **({} if nprobe is None else {"nprobe": nprobe})}
        effort, weights = self._effort(given), None
        if beauty:
            wanted = self._scores.weights(beauty)
            chosen, weights = self._scores.parameters(wanted), self._scores.vector(wanted)
            effort = _effort(self.manifest.parameters if chosen is None else chosen, given)
            if chosen is None and not given:
                exact = True
                with self._lock:
                    self.exact_searches += len(queries)
        if self.device != "cpu":
            lossy = any(not segment.kind.lossless for segment in self._segments)
            lists = any(segment.kind.nlist for segment in self._segments)
            check_limits(k, effort.nprobe if lists else 1, effort.candidates if lossy else 1)
        if allowed is not None:
            allowed = np.asarray(allowed, np.int64)
            if allowed.ndim != 1 or (np.diff(allowed) <= 0).any():
                raise BeholderError("allowed ids that do not rise", "each id once, in rising order")
        parts = []
        for segment in self._segments:
            found, again = segment.search(queries, k, effort, allowed, threads, weights, exact)
            parts.append(found)
            if again:
                with self._lock:
                    self.exhaustive_fallbacks += again
        if len(parts) == 1:
            return parts[0]
        shape = (len(queries), 0)
        ids = np.concatenate([np.empty(shape, np.int64), *(part.ids for part in parts)], axis=1)
        scores = np.concatenate([np.empty(shape, np.float32), *(part.scores for part in parts)], axis=1)
        return best(scores, ids, k)

    def _effort(self, given: Mapping[str, int]) -> Effort:
        key = tuple(given.items())
        return self._efforts.get(key) or self._efforts.setdefault(key, _effort(self.manifest.parameters, given))

    def live_ids(self) -> NDArray[np.int64]:
        """The ids (N,) of all pictures, rising."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *(s.live_ids() for s in self._segments)]))

    def _places(self, ids: NDArray[np.int64]) -> list[tuple[Segment, NDArray[np.int64], NDArray[np.int64]]]:
        """(segment, which of ids (m,), their positions in it (m,)) of each segment that holds any. Raises
        BeholderError for an id that none holds."""
        places, known = [], np.zeros(len(ids), bool)
        for segment in self._segments:
            positions = segment.positions_of(ids)
            mine = np.flatnonzero(positions >= 0)
            known[mine] = True
            if len(mine):
                places.append((segment, mine, positions[mine]))
        if not known.all():
            raise BeholderError(f"id {ids[~known][0]} is not in {self.folder}", "ids that a search returned")
        return places

    def with_spread(self, spread: dict[str, Any]) -> "Index":
        """The same open index with another spread of relevance, before its manifest says so."""
        other = copy.copy(self)
        other.manifest = replace(self.manifest, spread=spread)
        other._scores = Scores(self.folder, other.manifest)
        return other

    def searches_exactly(self, beauty: Mapping[str, float]) -> bool:
        """Whether beauty weights make an approximate index score all rows: beyond +-4 in all, and where no search
        parameters meet its target, or none were measured. Slower, and worth saying. Raises BeholderError as `search`
        does."""
        return self._scores.parameters(self._scores.weights(beauty)) is None

    @property
    def scorers(self) -> tuple[ScoreRecord, ...]:
        """Its scorers; `in_index` says which take beauty weights, `default` which one a bare weight means."""
        return self.manifest.scores

    def score_values(self, name: str, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of pictures in the scorer's own unit, in the shape of ids; NaN where there is none. Raises
        BeholderError for an unknown scorer; "" is the default one."""
        return self._scores.of(name, ids)[0]

    def percentiles(self, name: str, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The percentiles of pictures by a scorer, 0 to 1, the best nearest to 1; NaN where there is no score."""
        return self._scores.of(name, ids)[1]

    def relevance(self, vectors: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The cosines (Q, K) float32 of queries (Q, D) of length 1 and pictures ids (Q, K): `search`'s scores without
        beauty. Raises BeholderError for an unknown or removed id."""
        queries = check_queries(vectors, self.manifest.dimension, 1).astype(np.float64)
        ids = np.asarray(ids, np.int64)
        if ids.ndim != 2 or len(ids) != len(queries):
            raise BeholderError(f"ids of shape {ids.shape} for {len(queries)} queries", "a row of ids per query")
        found = np.empty(ids.shape, np.float32)
        for row, query in enumerate(queries):
            found[row] = self.vectors(ids[row]).astype(np.float64) @ query
        return found

    def items(self, ids: NDArray[np.int64]) -> Any:
        """The items of ids (n,) as a pyarrow table of n rows in that order. Raises BeholderError for an
        unknown or removed id."""
        places = self._places(np.asarray(ids, np.int64))
        if not places:
            return self._joined([segment.items.table().slice(0, 0) for segment in self._segments[:1]])
        table = self._joined([segment.items.at(positions) for segment, _, positions in places])
        return table.take(pa.array(np.argsort(np.concatenate([mine for _, mine, _ in places]))))

    def items_table(self) -> Any:
        """The items of all pictures, in rising order of id, with the score and the percentile of each by each
        scorer (`sharpness`, `sharpness_percentile`; `-` in a name becomes `_`), and what a critic said of each
        (`critique`, `critique_formal` ...)."""
        tables = [segment.items.at(segment.positions_of(segment.live_ids())) for segment in self._segments]
        return with_critiques(self.folder, self.with_scores(self._joined(tables).sort_by("id")))

    def with_scores(self, items: Any) -> Any:
        """Items that `items` gave, with the columns of scores that `items_table` has; not those of critics."""
        return self._scores.with_columns(items)

    def columns(self) -> dict[str, str]:
        """The columns of `items_table`, name -> type, without reading any picture's; those of critics aside."""
        schema = self.items(self.live_ids()[:0]).schema
        return {one.name: str(one.type) for one in schema} | dict.fromkeys(self._scores.columns(schema.names), "float")

    def _joined(self, tables: list[Any]) -> Any:
        """One table; a column that some lack is null there."""
        try:
            return pa.concat_tables([ITEM_COLUMNS.empty_table(), *tables], promote_options="permissive")
        except pa.ArrowException as error:
            found = f"the segments of {self.folder} have columns of other types ({error})"
            raise FormatError(found, "one type per column", "Build it again.") from error

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors (n, D) float32 of ids (n,), as stored. Raises BeholderError for an unknown or removed
        id."""
        ids = np.asarray(ids, np.int64)
        found = np.empty((len(ids), self.manifest.dimension), np.float32)
        for segment, mine, positions in self._places(ids):
            found[mine] = segment.vectors.rows_at(positions)
        return found

    def blocks(self, rows: int = 65536) -> Iterator[Block]:
        """(ids (n,) int64, vectors (n, D) float16) of all live rows, at most `rows` at a time: for
        exact_search."""
        for segment in self._segments:
            yield from segment.live_blocks(rows)


def available_bytes() -> int | None:
    """Memory that the system, and the group of processes that this one is in, can still give; None where Linux
    does not say."""
    known = []
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else ():
        if line.startswith("MemAvailable:"):
            known.append(int(line.split()[1]) * 1024)
    most, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if most.exists() and used.exists() and most.read_text().strip() != "max":
        known.append(int(most.read_text()) - int(used.read_text()))
    return min(known, default=None)


def _must_map(manifest: IndexManifest) -> bool:
    """Whether FAISS's files leave no room in memory; a tenth is for the search itself."""
    available = available_bytes()
    return available is not None and sum(segment.faiss.bytes for segment in manifest.segments) > 0.9 * available


def _effort(kept: Mapping[str, Any], given: Mapping[str, int]) -> Effort:
    """The search parameters that were given, and those that the manifest keeps where none was."""
    check_parameters(given)
    names = {"nprobe": "nprobe", "efSearch": "ef_search", "candidates": "candidates"}
    chosen = {ours: given.get(name, kept.get(name)) for name, ours in names.items()}
    return Effort(**{ours: int(value) for ours, value in chosen.items() if value is not None})


def load_index(folder: str | Path, *, device: str = "cpu", mmap: bool | None = None) -> Index:
    """The index of a finished INDEX folder. mmap leaves FAISS's files on disk, to be read when a search touches
    them: slower at first, in little memory. By default so where they are larger than the memory that is
    available; `Index.mapped` says which.

    device: cpu, cuda (all GPUs), cuda:N or cuda:N,M; several GPUs hold a copy each, or a part where one is too
    small. A folder that was neither written nor opened here before is checked first (safety.py). Raises FormatError
    for a folder that is none or damaged, BeholderError for device "cuda" where FAISS sees no GPU.
    """
    gpus_of(device)
    folder = Path(folder)
    for _ in range(OPENINGS - 1):
        before = manifest_of(folder)
        mapped = _must_map(before) if mmap is None else mmap
        try:
            admit(folder, mapped=mapped)
            return Index(folder, device, mapped)
        except FormatError:
            if manifest_of(folder) == before:
                raise
    admit(folder, mapped=mapped)
    return Index(folder, device, mapped)
