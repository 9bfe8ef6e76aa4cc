"""Re-ranking as pure functions: scores of candidates in, an order out. No files, no models.

Positions are those of the candidates as they came, best first; ties keep that order.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.records.percentiles import percentiles


def order_by(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Positions (N,) by falling score; ties in the candidates' order."""
    return np.argsort(-np.asarray(scores, np.float64), kind="stable")


def rank_mix(relevance: NDArray[Any], beauty: NDArray[Any], share: float) -> NDArray[np.float64]:
    """(1 - share) * percentile of relevance + share * percentile of beauty, both within the candidates, in [0, 1].

    2406.09397 re-ranks by both within the top K; its mix is not public in readable form. Percentiles instead of
    z-scores are our choice: one outlier does not decide. A picture without a score (NaN) counts as the middle one.
    """
    known = ~np.isnan(np.asarray(beauty, np.float64))
    within = np.full(len(known), 0.5)
    within[known] = percentiles(np.asarray(beauty)[known])
    return (1 - share) * percentiles(relevance) + share * within


def mmr(scores: NDArray[Any], vectors: NDArray[Any], share: float, count: int) -> NDArray[np.int64]:
    """The first `count` positions by maximal marginal relevance (Carbonell and Goldstein 1998), then the others as
    they came. Vectors: (N, D), unit rows.

    Next is always the candidate of largest (1 - share) * p(score) - share * p(nearest chosen). A difference from the
    paper: p is the percentile within the candidates (and within their pairs), as cosines of text and picture and of two
    pictures do not share a scale; raw ones would let diversity decide alone.
    """
    total = len(scores)
    cosines = np.asarray(vectors, np.float32) @ np.asarray(vectors, np.float32).T
    pairs = np.triu_indices(total, 1)
    nearness = np.zeros((total, total))
    nearness[pairs] = percentiles(cosines[pairs])
    nearness += nearness.T
    worth = (1 - share) * percentiles(scores)
    nearest = np.zeros(total)
    left = np.ones(total, bool)
    chosen: list[int] = []
    for _ in range(min(count, total)):
        gain = np.where(left, worth - share * nearest, -np.inf)
        best = int(np.argmax(gain))  # the first of equal ones
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, nearness[best])
    return np.array([*chosen, *np.flatnonzero(left)], np.int64)


def pairwise_scores(count: int, verdicts: Iterable[tuple[int, int, float]]) -> NDArray[np.float64]:
    """Each candidate's mean credit over its comparisons (Copeland's rule), in [0, 1]; 1/2 for one without any.

    verdicts: (i, j, credit of i): 1 won, 1/2 similar, 0 lost.
    """
    credit, compared = np.zeros(count), np.zeros(count)
    for one, other, won in verdicts:
        credit[one] += won
        credit[other] += 1 - won
        compared[[one, other]] += 1
    return np.where(compared > 0, credit / np.maximum(compared, 1), 0.5)
