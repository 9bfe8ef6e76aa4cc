"""Queries to answers: rewrite, encode, filter, search, cut off, re-rank, look up the items. Each stage is timed."""

import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes import load_index
from indexes.errors import BeholderError
from indexes.records.critiques import version_of
from indexes.searching.duplicates import search_distinct
from indexes.searching.search import Index
from indexes.searching.where import matching_ids
from retrieval.encoding.encoder import TextEncoder
from retrieval.language.asking import AskSettings

from .config import SearchConfig
from .cut_off import cut_offs
from .hits import Hits, reranked, sorted_by
from .query import Query
from .query_encoder import QueryEncoder, check_encoder, load_text_encoder
from .results import Answer, CutOff, Result
from .rewritten import rewritten

if TYPE_CHECKING:
    from retrieval.rewriting.rewriter import Rewrite, Rewriter

    from .candidates import Reranker

__all__ = ["Searcher", "check_encoder", "load_text_encoder", "open_searcher", "picture_folder"]

BATCH = 1024  # queries at once: bounds memory, and is past the batch where Flat search stops gaining
STAGES = ("rewrite", "encode", "filter", "search", "cut-off", "rerank", "items")
COLUMNS = ("uri", "sha256", "width", "height", "caption")
Seconds = MutableMapping[str, float]


class Searcher:
    """An open index and the encoder of its queries: `encoder`, or `model` (default: the name in the index's manifest)
    loaded when a query first needs it. Raises BeholderError where the two do not belong together."""

    def __init__(
        self, index: Index, encoder: TextEncoder | None = None, *, model: str | None = None, device: str = "cpu"
    ) -> None:
        self.index = index
        self.encoder = QueryEncoder(index, encoder, model=model, device=device)
        self._filter: tuple[tuple[str, tuple[int, ...]], NDArray[np.int64]] | None = None
        self._rewriters: dict[str, Rewriter] = {}
        self._rerankers: dict[str, Reranker] = {}
        self._device = device

    def search(self, queries: Sequence[Query | str], config: SearchConfig | None = None) -> list[Answer]:
        """An answer to each query: its k best pictures, best first; fewer where the index holds fewer or the
        configuration lets fewer through. Raises BeholderError for an empty text, a condition that cannot be read, an
        id that is not there, a scorer, rewriter or re-ranker that is not known."""
        config = config or SearchConfig()
        for place, query in enumerate(queries, 1):
            if isinstance(query, str) and not query.strip():
                raise BeholderError(f"query {place} of {len(queries)} is empty", "words", "Say what to look for.")
        asked = [Query.of(query) if isinstance(query, str) else query for query in queries]
        seconds: dict[str, float] = {}
        answers: list[Answer] = []
        for start in range(0, len(asked), BATCH):
            answers += self._answers(asked[start : start + BATCH], config, seconds)
        return answers

    def rewriter(self, spec: str) -> "Rewriter":
        """The rewriter of a spec, held to this index's encoder, and kept."""
        from retrieval.rewriting.rewrite import load_rewriter

        if spec not in self._rewriters:
            self._rewriters[spec] = load_rewriter(spec, encoder=self.encoder.text_encoder())
        return self._rewriters[spec]

    def reranker(self, spec: str) -> "Reranker":
        """The re-ranker of a spec, and kept: one that looks has a model to load, or a server to get to know."""
        from .rerankers import load_reranker

        if spec not in self._rerankers:
            self._rerankers[spec] = load_reranker(spec, AskSettings(device=self._device, timeout_s=30.0))
        return self._rerankers[spec]

    def matching(self, where: str) -> NDArray[np.int64]:
        """The ids of pictures for which a condition holds, rising; the last condition's are kept, until critics have
        said more."""
        asked = (where, version_of(self.index.folder))
        kept = self._filter  # read once: another thread may set it
        if kept is None or kept[0] != asked:
            kept = self._filter = (asked, matching_ids(self.index.items_table(), where))
        return kept[1]

    def _answers(self, queries: Sequence[Query], config: SearchConfig, seconds: Seconds) -> list[Answer]:
        said = queries
        rewrites: list[tuple[Rewrite, ...]] = [()] * len(queries)
        if config.rewrites:
            with _timed(seconds, "rewrite"):
                said, rewrites = rewritten(queries, self.rewriter(config.rewrite))
        with _timed(seconds, "encode"):
            vectors = self.encoder.encode(said)
        allowed = None
        if config.where is not None:
            with _timed(seconds, "filter"):
                allowed = self.matching(config.where)
        with _timed(seconds, "search"):
            found = self._found(queries, vectors, config, allowed)
        least, good = config.min_relevance, [True] * len(queries)
        cuts: Sequence[CutOff | None] = [None] * len(queries)
        if least is not None:
            with _timed(seconds, "cut-off"):
                if least == "auto":
                    known = {one.plain: vector for one, vector in zip(said, vectors, strict=True) if one.plain}
                    cuts = cut_offs(self.index, self.encoder, queries, allowed, None if config.rewrites else known)
                    good = [cut.good for cut in cuts]
                    found = [one if match else one.relevant(np.inf) for one, match in zip(found, good, strict=True)]
                else:
                    found = [one.relevant(least) for one in found]
                    good = [bool(len(one.ids)) for one in found]
        if config.rerank:
            with _timed(seconds, "rerank"):
                found = self._reranked(queries, found, config)
        with _timed(seconds, "items"):
            results = self._results(found, config)
        return [
            Answer(query, row, rewritten, match, cut, hits.notes, seconds)
            for query, row, rewritten, match, cut, hits in zip(
                queries, results, rewrites, good, cuts, found, strict=True
            )
        ]

    def _found(
        self,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        config: SearchConfig,
        allowed: NDArray[np.int64] | None,
    ) -> list[Hits]:
        """The `depth` best of each query, pictures that it names itself left out."""
        index, extra = self.index, max((len(query.likes) for query in queries), default=0)
        depth, beauty = config.depth + extra, dict(config.beauty)
        if config.near is not None:
            distinct = search_distinct(index, vectors, depth, near=config.near, allowed=allowed, beauty=beauty)
            found = [Hits(one.ids, one.scores, one.scores, one.copies) for one in distinct]
        else:
            plain = index.search(vectors, depth, allowed=allowed, beauty=beauty)
            none = ((),) * plain.ids.shape[1]
            found = [Hits(ids, scores, scores, none) for ids, scores in zip(plain.ids, plain.scores, strict=True)]
        if any(beauty.values()):
            note = ("these beauty weights are past what was measured: every picture was scored",)
            notes = note if index.searches_exactly(beauty) else ()
            found = [
                replace(one, relevance=index.relevance(vector[None], one.ids[None])[0], notes=notes)
                for one, vector in zip(found, vectors, strict=True)
            ]
        if extra:
            found = [one.without(query.likes, config.depth) for one, query in zip(found, queries, strict=True)]
        return found

    def _reranked(self, queries: Sequence[Query], found: Sequence[Hits], config: SearchConfig) -> list[Hits]:
        chain, root = [self.reranker(spec) for spec in config.rerank], picture_folder(self.index)
        return [
            reranked(self.index, query, one, chain, root, config.k) if len(one.ids) else one
            for query, one in zip(queries, found, strict=True)
        ]

    def _results(self, found: Sequence[Hits], config: SearchConfig) -> list[list[Result]]:
        if config.rerank or config.sort is None:
            found = [one.taken(np.arange(min(config.k, len(one.ids)))) for one in found]
        ids = np.concatenate([np.empty(0, np.int64), *(one.ids for one in found)])
        items = self.index.items(ids)
        if config.sort is not None:
            items = self.index.with_scores(items)
        percentiles = {record.name: self.index.percentiles(record.name, ids) for record in self.index.scorers}
        rows = items.select(COLUMNS).to_pylist()
        results, start = [], 0
        for one in found:
            order = np.arange(len(one.ids))
            if config.sort is not None:
                order = sorted_by(items.slice(start, len(order)), config.sort)[: config.k]
            results.append(
                [
                    _result(rank, one, place, rows[start + place], _known(percentiles, start + place))
                    for rank, place in enumerate(order.tolist(), 1)
                ]
            )
            start += len(one.ids)
        return results


def _result(rank: int, hits: Hits, place: int, row: dict[str, Any], scores: dict[str, float]) -> Result:
    return Result(
        id=int(hits.ids[place]),
        rank=rank,
        uri=row["uri"],
        relevance=float(hits.relevance[place]),
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        caption=row["caption"],
        copies=hits.copies[place],
        scores=scores,
    )


def _known(percentiles: dict[str, NDArray[np.float32]], place: int) -> dict[str, float]:
    """Percentiles of one picture; those of a scorer that has none for it are left out."""
    return {name: float(values[place]) for name, values in percentiles.items() if not np.isnan(values[place])}


@contextmanager
def _timed(seconds: Seconds, stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def open_searcher(
    folder: Path, model: str | None = None, *, device: str = "cpu", index_device: str = "cpu"
) -> Searcher:
    """A searcher of an INDEX folder with the encoder that its manifest names, or `model`, loaded when needed. device:
    the encoder's; index_device: the index's, as torch_exact.open_index."""
    if index_device != "cpu":
        from retrieval.encoding.torch_exact import open_index

        return Searcher(open_index(folder, device=index_device), model=model, device=device)
    return Searcher(load_index(folder), model=model, device=device)


def picture_folder(index: Index) -> Path:
    """Where the index's pictures lie: its manifest says it relative to the INDEX folder."""
    return (index.folder / index.manifest.source).resolve()
