"""Candidates: the results of one query on their way through the re-rankers, and what a re-ranker is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """The candidates of one query, best first.

    relevance: float32 (N,), cosines. scores: (N,), what they are ordered by now, higher is better; relevance at first.
    percentiles: by scorer, (N,) in [0, 1], NaN without a score. vectors: gives float32 (N, D), unit rows, of positions
    `origin`. picture: gives uint8 (H, W, 3) of an id, for re-rankers that look.
    """

    query: str  # as typed: what the person asked for, not its rewrite
    ids: NDArray[np.int64]
    relevance: NDArray[np.float32]
    scores: NDArray[Any]
    percentiles: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    default_scorer: str = ""
    vectors: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None  # of ids (n,) -> (n, D)
    picture: Callable[[int], NDArray[np.uint8]] | None = None  # of an id
    notes: tuple[str, ...] = ()

    def ordered(self, order: NDArray[np.int64], scores: NDArray[Any]) -> "Candidates":
        """The same in another order; `scores` (N,) are in that order already."""
        return replace(
            self,
            ids=self.ids[order],
            relevance=self.relevance[order],
            scores=scores,
            percentiles={name: values[order] for name, values in self.percentiles.items()},
        )

    def noted(self, note: str) -> "Candidates":
        return replace(self, notes=(*self.notes, note))


class Reranker(Protocol):
    @property
    def name(self) -> str: ...

    def rerank(self, candidates: Candidates, k: int) -> Candidates:
        """The candidates in a new order; only the first k will be shown."""
        ...
