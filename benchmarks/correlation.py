"""How well scores agree with people: rank correlation, pairs and single choices, as pure functions with intervals.

`scores` (N,) are what a scorer says of N pictures, `truth` (N,) what people say, `groups` (N,) int: pictures of
different groups were not judged on one scale and are never compared. Equal scores are half right everywhere.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

from .stats import RESAMPLES, Interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def mid_ranks(values: Floats) -> Floats:
    """(N,) ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middles: Floats = (last - (counts - 1) / 2)[inverse]
    return middles


def spearman(scores: Floats, truth: Floats, groups: Ints | None = None) -> float:
    """Rank correlation in [-1, 1] (Pearson's of mid-ranks); of groups the mean, weighted by their sizes. 0 where
    either side is constant."""
    if groups is not None:
        parts = [groups == group for group in np.unique(groups)]
        return float(sum(part.sum() * spearman(scores[part], truth[part]) for part in parts) / len(scores))
    first, second = mid_ranks(scores), mid_ranks(truth)
    first, second = first - first.mean(), second - second.mean()
    length = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / length) if length > 0 else 0.0


def pair_accuracy(scores: Floats, truth: Floats, groups: Ints | None = None) -> float:
    """Share in [0, 1] of the pairs with different truth (of one group) that the scores order alike; NaN where there
    is no such pair."""
    right = total = 0.0
    for group in np.unique(groups) if groups is not None else [None]:
        mine = groups == group if groups is not None else np.ones(len(scores), np.bool_)
        gap, wanted = np.subtract.outer(scores[mine], scores[mine]), np.subtract.outer(truth[mine], truth[mine])
        ordered = wanted > 0  # each pair once: from the better one
        right += float((gap[ordered] > 0).sum() + (gap[ordered] == 0).sum() / 2)
        total += float(ordered.sum())
    return right / total if total else float("nan")


def choice_agreement(scores: Floats, pairs: Ints, wins: Floats, weights: Floats | None = None) -> float:
    """Share in [0, 1] of single choices that the scores make too: pairs (P, 2) of rows in `scores`, wins (P, 2)
    choices for each. weights (N,): how often each picture counts (a pair counts by both).
    NaN where no choice is left."""
    counts = wins if weights is None else wins * (weights[pairs[:, 0]] * weights[pairs[:, 1]])[:, None]
    gap = np.sign(scores[pairs[:, 0]] - scores[pairs[:, 1]])
    right = counts[:, 0] * (gap + 1) / 2 + counts[:, 1] * (1 - gap) / 2
    return float(right.sum() / counts.sum()) if counts.sum() else float("nan")


def bootstrap_pictures(
    statistic: Callable[[Ints], float], count: int, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """`statistic` of all rows, and its percentile bootstrap interval over pictures: it is given rows (count,) drawn
    with replacement, and gives NaN for a draw that says nothing, which is left out; no interval where most say nothing.

    Raises BeholderError where all rows together say nothing.
    """
    value = statistic(np.arange(count))
    if np.isnan(value):
        raise BeholderError(f"{count} pictures with nothing to compare", "at least two that people judge differently")
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(generator.integers(0, count, count)) for _ in range(resamples)])
    told = drawn[~np.isnan(drawn)]
    if len(told) < resamples / 2:
        return Interval(value, None, None, count)
    low, high = np.quantile(told, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), count)
