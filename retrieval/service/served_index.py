"""An index that is being served: opened, searched in batches, opened again when it has changed.

Requests wait in lanes, each a queue and a thread, so that slow ones hold up only their like: vectors (no encoder),
quick (texts and pictures), filtered (a condition, an order, re-ranking by arithmetic), slow (a language model rewrites
or re-ranks), and two that do not search, encode and rewrite. What is opened is replaced whole: a batch is worked on
with the index that it began with.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError
from indexes.records.beauty import MOST
from indexes.records.manifest import MANIFEST
from indexes.searching.duplicates import search_distinct
from indexes.searching.search import Index
from retrieval.encoding.torch_exact import open_index
from retrieval.rewriting.rewriter import Rewrite
from retrieval.search.config import SearchConfig
from retrieval.search.query import Query
from retrieval.search.results import Answer
from retrieval.search.searcher import Searcher, picture_folder

from .config import RERANKERS, ServeConfig
from .metrics import Metrics
from .microbatch import Microbatcher, in_groups
from .pictures import PictureStore

Stamp = tuple[int, int, int]
OFFLINE = ("none", "template", "repeat", "suffix", "file")  # rewriters that ask no model


@dataclass(frozen=True)
class Near:
    """The pictures nearest to one vector (D,). near: as SearchConfig's."""

    vector: NDArray[np.float32]
    k: int
    near: float | None = None


@dataclass(frozen=True)
class Found:
    """Ids and scores (K,), best first, and the items' columns, of one vector."""

    ids: list[int]
    scores: list[float]
    items: list[dict[str, Any]]


@dataclass(frozen=True)
class Opened:
    """An index with all that belongs to the same manifest."""

    index: Index
    searcher: Searcher
    pictures: PictureStore
    columns: dict[str, str]  # of items: name -> type
    stamp: Stamp


class ServedIndex:
    """A name, a folder and its open index. Raises what load_index raises."""

    def __init__(self, name: str, folder: Path, config: ServeConfig, metrics: Metrics) -> None:
        self.name, self.folder, self._config, self._metrics = name, folder, config, metrics
        self._reloading = threading.Lock()
        self.opened = self._open(None)
        self._vectors: Microbatcher[Near, Found] = self._lane("vectors", self._near)
        self._encodings: Microbatcher[Query, NDArray[np.float32]] = self._lane("encode", self._encode)
        self._rewritings: Microbatcher[tuple[str, str], Rewrite] = self._lane("rewrite", self._rewrite)
        self._searches: dict[str, Microbatcher[tuple[Query, SearchConfig], Answer]] = {
            lane: self._lane(lane, self._search) for lane in ("quick", "filtered", "slow")
        }

    def _lane(self, lane: str, work: Any) -> Microbatcher[Any, Any]:
        made: Microbatcher[Any, Any] = Microbatcher(
            f"{self.name} {lane}",
            work,
            most_waiting=self._config.waiting,
            most_batch=self._config.batch,
            observe=self._metrics.batch_observer(self.name, lane),
        )
        self._metrics.watch_queue(self.name, lane, lambda: len(made))
        return made

    def _open(self, before: Opened | None) -> Opened:
        seen = stamp_of(self.folder)
        index = open_index(self.folder, device=self._config.index_device, mmap=self._config.mmap)
        held = None if before is None else before.searcher.encoder.held()
        old = None if before is None else before.index.manifest.encoder
        same = old is not None and old.image_fingerprint == index.manifest.encoder.image_fingerprint
        searcher = Searcher(index, held if same else None, model=self._config.model, device=self._config.device)
        pictures = PictureStore(
            picture_folder(index),
            max_pixels=self._config.max_pixels,
            cache_bytes=int(self._config.cache_mb * 1e6),
            follow_links=self._config.follow_links,
        )
        self._metrics.set_pictures(self.name, len(index))
        return Opened(index, searcher, pictures, index.columns(), seen)

    def preload(self) -> None:
        """Loads the encoder of texts. Raises BeholderError where it does not belong to the index."""
        self.opened.searcher.encoder.text_encoder()

    def reload(self, *, force: bool = False) -> bool:
        """Whether the folder has changed and was opened again. Requests go on meanwhile, with what was open. Raises
        what load_index raises; what was open stays so."""
        with self._reloading:
            try:
                if not force and stamp_of(self.folder) == self.opened.stamp:
                    return False
                self.opened = self._open(self.opened)
            except (BeholderError, OSError):
                self._metrics.count_reload(self.name, "failed")
                raise
            self._metrics.count_reload(self.name, "done")
            return True

    async def near(self, asked: Near) -> Found:
        """Raises Busy and TooLate as the Microbatcher, BeholderError for a vector of another width."""
        return await self._vectors.ask(asked, self._config.timeout_s)

    async def search(self, query: Query, config: SearchConfig) -> Answer:
        """Raises Busy and TooLate as the Microbatcher, and what Searcher.search raises."""
        lane = lane_of(config)
        timeout_s = self._config.slow_timeout_s if lane == "slow" else self._config.timeout_s
        answer = await self._searches[lane].ask((query, config), timeout_s)
        for rewrite in answer.rewrites:
            if rewrite.fallback:
                self._metrics.count_fallback(rewrite.fallback.partition(":")[0])
        return answer

    async def encode(self, query: Query) -> NDArray[np.float32]:
        """The vector (D,) of a query, of length 1."""
        return await self._encodings.ask(query, self._config.timeout_s)

    async def rewrite(self, spec: str, text: str) -> Rewrite:
        """What the rewriter of a spec makes of a text."""
        rewrite = await self._rewritings.ask((spec, text), self._config.slow_timeout_s)
        if rewrite.fallback:
            self._metrics.count_fallback(rewrite.fallback.partition(":")[0])
        return rewrite

    def _encode(self, asked: Sequence[Query]) -> list[NDArray[np.float32] | Exception]:
        return in_groups(asked, lambda one: None, lambda group: list(self.opened.searcher.encoder.encode(group)))

    def _rewrite(self, asked: Sequence[tuple[str, str]]) -> list[Rewrite | Exception]:
        searcher = self.opened.searcher

        def together(group: Sequence[tuple[str, str]]) -> list[Rewrite]:
            return searcher.rewriter(group[0][0]).rewrite([text for _, text in group])

        return in_groups(asked, lambda one: one[0], together)

    def _search(self, asked: Sequence[tuple[Query, SearchConfig]]) -> list[Answer | Exception]:
        searcher = self.opened.searcher

        def together(group: Sequence[tuple[Query, SearchConfig]]) -> list[Answer]:
            answers = searcher.search([query for query, _ in group], group[0][1])
            self._metrics.observe_stages(dict(answers[0].seconds))
            return answers

        return in_groups(asked, lambda one: one[1], together)

    def _near(self, asked: Sequence[Near]) -> list[Found | Exception]:
        index = self.opened.index

        def together(group: Sequence[Near]) -> list[Found]:
            first = group[0]
            vectors = np.stack([one.vector for one in group])
            if first.near is not None:
                distinct = search_distinct(index, vectors, first.k, near=first.near)
                return _found(index, [one.ids for one in distinct], [one.scores for one in distinct])
            found = index.search(vectors, first.k)
            return _found(index, list(found.ids), list(found.scores))

        return in_groups(asked, lambda one: (one.k, one.near, one.vector.shape), together)

    def close(self) -> None:
        """Answers what waits, then refuses."""
        lanes: list[Microbatcher[Any, Any]] = [self._vectors, self._encodings, self._rewritings]
        for lane in [*lanes, *self._searches.values()]:
            lane.close()


def _found(index: Index, ids: list[NDArray[np.int64]], scores: list[NDArray[np.float32]]) -> list[Found]:
    """One look at the items for all queries: each look costs more than the rows that it brings."""
    rows = index.items(np.concatenate(ids)).to_pylist()
    answers, start = [], 0
    for own, values in zip(ids, scores, strict=True):
        answers.append(Found(own.tolist(), values.tolist(), rows[start : start + len(own)]))
        start += len(own)
    return answers


def lane_of(config: SearchConfig) -> str:
    """The lane in which a search waits."""
    offline = config.rewrite.partition(":")[0] in OFFLINE
    if not offline or any(re.split("[:@]", spec)[0] not in RERANKERS for spec in config.rerank):
        return "slow"
    plain = config.where is None and config.sort is None and not config.rerank and config.near is None
    within = sum(abs(weight) for _, weight in config.beauty) <= MOST  # beyond, every picture is scored
    return "quick" if plain and within else "filtered"


def stamp_of(folder: Path) -> Stamp:
    """What tells a manifest from the next: number, time and size of its file. Raises FormatError without one."""
    try:
        status = (folder / MANIFEST).stat()
    except OSError as error:
        raise FormatError(f"{folder} has no {MANIFEST}", "an INDEX folder", "Check the path.") from error
    return status.st_ino, status.st_mtime_ns, status.st_size
