"""How often scores choose as people did: pairs of mean scores and single choices alike, with intervals. Pure.

`chosen` (N, N) counts how often people preferred picture i to picture j: 1 for a pair of mean scores, the number of
choices for votes. `right` (N, N) in [0, 1] is how often scores prefer i to j, the mean over several lists of scores
(seeds, phrasings). Intervals resample pictures: a pair counts by how often both were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.correlation import bootstrap_pictures
from benchmarks.runs import Number

Floats = NDArray[np.float64]


def chosen_by_scores(scores: Floats) -> Floats:
    """(N, N): 1 where the mean score of i is above that of j."""
    return np.asarray(scores[:, None] > scores[None, :], np.float64)


def chosen_by_votes(pairs: NDArray[np.int64], wins: Floats, count: int) -> Floats:
    """(N, N) of pairs (P, 2) of pictures and the choices (P, 2) for each."""
    chosen = np.zeros((count, count))
    np.add.at(chosen, (pairs[:, 0], pairs[:, 1]), wins[:, 0])
    np.add.at(chosen, (pairs[:, 1], pairs[:, 0]), wins[:, 1])
    return chosen


def right_of(scores: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> Floats:
    """(N, N) of scores (S, N), each row one encoder's for one phrasing; equal scores are half right."""
    rows = np.atleast_2d(np.asarray(scores, np.float64))
    found = np.zeros((rows.shape[1], rows.shape[1]))
    for row in rows:
        found += (np.sign(row[:, None] - row[None, :]) + 1) / 2
    return found / len(rows)


def agreement(right: Floats, chosen: Floats, counts: Floats) -> float:
    """Share in [0, 1] of choices that the scores make too, pictures counting `counts` (N,) times; NaN without any."""
    weights = chosen * counts[:, None] * counts[None, :]
    total = weights.sum()
    return float((weights * right).sum() / total) if total else float("nan")


def agreement_number(right: Floats, chosen: Floats, *, seed: int, less: Floats | None = None) -> Number:
    """The agreement with its interval over pictures, or how much it is above that of `less`, drawn together."""
    gap = right if less is None else right - less

    def of_rows(drawn: NDArray[np.int64]) -> float:
        return agreement(gap, chosen, np.bincount(drawn, minlength=len(right)).astype(np.float64))

    return Number.of(bootstrap_pictures(of_rows, len(right), seed=seed), 0.5 if less is None else None)
