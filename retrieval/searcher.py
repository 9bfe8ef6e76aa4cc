"""Queries to answers: encode, filter, search, look up the items. Seconds per stage come with the answers."""

import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes import load_index
from indexes.duplicates import Distinct, search_distinct
from indexes.errors import BeholderError
from indexes.search import Index
from indexes.where import matching_ids

from .encoders import TextEncoder
from .query import Query
from .query_encoder import QueryEncoder, check_encoder, load_text_encoder
from .results import Answer, Result
from .search_config import SearchConfig

__all__ = ["Searcher", "check_encoder", "load_text_encoder", "open_searcher", "picture_folder"]

BATCH = 1024  # queries at once: bounds memory, and is past the batch where Flat search stops gaining
STAGES = ("encode", "filter", "search", "items")
COLUMNS = ("uri", "sha256", "width", "height", "caption")


class Searcher:
    """An open index and the encoder of its queries: `encoder`, or `model` (default: the name in the index's manifest)
    loaded when a query first needs it. Raises BeholderError where the two do not belong together."""

    def __init__(
        self, index: Index, encoder: TextEncoder | None = None, *, model: str | None = None, device: str = "cpu"
    ) -> None:
        self.index = index
        self.encoder = QueryEncoder(index, encoder, model=model, device=device)
        self._filter: tuple[str, NDArray[np.int64]] | None = None

    def search(self, queries: Sequence[Query | str], config: SearchConfig | None = None) -> list[Answer]:
        """An answer to each query: its k best pictures, best first; fewer where the index holds fewer or the
        configuration lets fewer through. Raises BeholderError for an empty text, a condition that cannot be read, an
        id that is not there."""
        config = config or SearchConfig()
        for place, query in enumerate(queries, 1):
            if isinstance(query, str) and not query.strip():
                raise BeholderError(f"query {place} of {len(queries)} is empty", "words", "Say what to look for.")
        asked = [Query.of(query) if isinstance(query, str) else query for query in queries]
        seconds = dict.fromkeys(STAGES, 0.0)
        answers: list[Answer] = []
        for start in range(0, len(asked), BATCH):
            answers += self._answers(asked[start : start + BATCH], config, seconds)
        return answers

    def _answers(
        self, queries: Sequence[Query], config: SearchConfig, seconds: MutableMapping[str, float]
    ) -> list[Answer]:
        with _timed(seconds, "encode"):
            vectors = self.encoder.encode(queries)
        with _timed(seconds, "filter"):
            allowed = self.matching(config.where) if config.where is not None else None
        with _timed(seconds, "search"):
            found = self._found(queries, vectors, config, allowed)
        with _timed(seconds, "items"):
            results = self._results(found, config)
        good = [bool(row) or config.min_relevance is None for row in results]
        return [
            Answer(query, row, good_match=match, seconds=seconds)
            for query, row, match in zip(queries, results, good, strict=True)
        ]

    def _found(
        self,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        config: SearchConfig,
        allowed: NDArray[np.int64] | None,
    ) -> list[Distinct]:
        """The `depth` best of each query, pictures that it names itself left out."""
        extra = max((len(query.likes) for query in queries), default=0)
        depth = config.depth + extra
        if config.near is not None:
            found = search_distinct(self.index, vectors, depth, near=config.near, allowed=allowed)
        else:
            plain = self.index.search(vectors, depth, allowed=allowed)
            none = ((),) * plain.ids.shape[1]
            found = [Distinct(*pair, none) for pair in zip(plain.ids, plain.scores, strict=True)]
        if not extra:
            return found
        return [_without(one, query.likes, config.depth) for one, query in zip(found, queries, strict=True)]

    def matching(self, where: str) -> NDArray[np.int64]:
        """The ids of pictures for which a condition holds, rising; the last condition's are kept."""
        kept = self._filter  # read once: another thread may set it
        if kept is None or kept[0] != where:
            kept = self._filter = (where, matching_ids(self.index.items_table(), where))
        return kept[1]

    def _results(self, found: Sequence[Distinct], config: SearchConfig) -> list[list[Result]]:
        items = self.index.items(np.concatenate([np.empty(0, np.int64), *(one.ids for one in found)]))
        results, start = [], 0
        for one in found:
            rows = items.slice(start, len(one.ids))
            start += len(one.ids)
            order = np.arange(len(one.ids))
            if isinstance(config.min_relevance, float | int):
                order = order[one.scores >= config.min_relevance]
            if config.sort is not None:
                order = order[_sorted(rows.take(order), config.sort)]
            order = order[: config.k]
            results.append(_result_rows(one, rows.select(COLUMNS).take(order).to_pylist(), order))
        return results


def _result_rows(found: Distinct, rows: Sequence[dict[str, Any]], order: NDArray[np.int64]) -> list[Result]:
    return [
        Result(
            id=int(found.ids[place]),
            rank=rank,
            uri=row["uri"],
            relevance=float(found.scores[place]),
            sha256=row["sha256"],
            width=row["width"],
            height=row["height"],
            caption=row["caption"],
            copies=found.copies[place],
        )
        for rank, (place, row) in enumerate(zip(order, rows, strict=True), 1)
    ]


def _sorted(items: Any, sort: str) -> NDArray[np.int64]:
    """The places (n,) of items in the order of a column, equal ones as they are, nulls last."""
    import pyarrow.compute as pc

    column = sort.removesuffix(":desc")
    if column not in items.column_names:
        raise BeholderError(f"there is no column {column!r} to sort by", f"one of {', '.join(items.column_names)}")
    direction = "descending" if sort.endswith(":desc") else "ascending"
    return np.asarray(pc.sort_indices(items, sort_keys=[(column, direction)]), np.int64)


def _without(found: Distinct, ids: Sequence[int], k: int) -> Distinct:
    kept = np.flatnonzero(~np.isin(found.ids, ids))[:k]
    return Distinct(found.ids[kept], found.scores[kept], tuple(found.copies[place] for place in kept))


@contextmanager
def _timed(seconds: MutableMapping[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - started


def open_searcher(folder: Path, model: str | None = None, *, device: str = "cpu") -> Searcher:
    """A searcher of an INDEX folder with the encoder that its manifest names, or `model`, loaded when needed."""
    return Searcher(load_index(folder), model=model, device=device)


def picture_folder(index: Index) -> Path:
    """Where the index's pictures lie: its manifest says it relative to the INDEX folder."""
    return (index.folder / index.manifest.source).resolve()
