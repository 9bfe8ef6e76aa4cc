"""Between index and results: the hits of one query, and what is done to them: left out, re-ranked, sorted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.searching.search import Index
from retrieval.sources.images import BadPicture, decode
from retrieval.sources.sources import contents

from .candidates import Candidates, Reranker
from .query import Query
from .rerankers import rerank


@dataclass(frozen=True)
class Hits:
    """Hits of one query, best first: ids (K,) int64, relevance (K,) float32 (cosines), scores (K,) float32 that they
    are ordered by (relevance, with beauty added where it was asked for), the ids that each stands for."""

    ids: NDArray[np.int64]
    relevance: NDArray[np.float32]
    scores: NDArray[Any]
    copies: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def taken(self, places: NDArray[np.int64]) -> "Hits":
        """Those at places (n,), in that order."""
        return replace(
            self,
            ids=self.ids[places],
            relevance=self.relevance[places],
            scores=self.scores[places],
            copies=tuple(self.copies[place] for place in places),
        )

    def without(self, ids: Sequence[int], k: int) -> "Hits":
        """The first k that are none of these."""
        return self.taken(np.flatnonzero(~np.isin(self.ids, ids))[:k])

    def relevant(self, least: float) -> "Hits":
        """Those of at least this relevance."""
        return self.taken(np.flatnonzero(self.relevance >= least))


def reranked(index: Index, query: Query, hits: Hits, rerankers: Sequence[Reranker], root: Any, k: int) -> Hits:
    """The hits in the order that the re-rankers give, with their notes. root: the folder of the index's pictures."""

    def picture(identity: int) -> NDArray[np.uint8]:
        uri = index.items(np.array([identity], np.int64)).column("uri")[0].as_py()
        content = dict(contents(root, [uri])).get(uri)
        if content is None:
            raise BeholderError(f"{uri} cannot be read", "a picture of the index")
        try:
            return np.asarray(decode(content))
        except BadPicture as error:
            raise BeholderError(f"{uri}: {error}", "a picture of the index") from error

    candidates = Candidates(
        query=query.label,
        ids=hits.ids,
        relevance=hits.relevance,
        scores=hits.scores,
        percentiles={record.name: index.percentiles(record.name, hits.ids) for record in index.scorers},
        default_scorer=next((record.name for record in index.scorers if record.default), ""),
        vectors=index.vectors,
        picture=picture,
    )
    done = rerank(rerankers, candidates, k)
    places = {int(identity): place for place, identity in enumerate(hits.ids)}
    order = np.array([places[int(identity)] for identity in done.ids], np.int64)
    return replace(hits.taken(order), scores=np.asarray(done.scores), notes=(*hits.notes, *done.notes))


def sorted_by(items: Any, sort: str) -> NDArray[np.int64]:
    """The places (n,) of items (pyarrow table) in the order of a column, as SearchConfig.sort names it; equal ones as
    they are, nulls last. Raises BeholderError for a column that is not there."""
    import pyarrow.compute as pc

    compute: Any = pc
    column = sort.removesuffix(":desc")
    if column not in items.column_names:
        found = f"there is no column {column!r} to sort by"
        raise BeholderError(found, f"one of {', '.join(items.column_names)}", "Example: --sort width:desc")
    direction = "descending" if sort.endswith(":desc") else "ascending"
    return np.asarray(compute.sort_indices(items, sort_keys=[(column, direction)]), np.int64)
