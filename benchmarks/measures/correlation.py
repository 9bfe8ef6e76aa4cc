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
    return _cosine(first - first.mean(), second - second.mean())


def pearson(scores: Floats, truth: Floats, groups: Ints | None = None) -> float:
    """Linear correlation in [-1, 1]; of groups the mean, weighted by their sizes. 0 where either side is constant."""
    if groups is not None:
        parts = [groups == group for group in np.unique(groups)]
        return float(sum(part.sum() * pearson(scores[part], truth[part]) for part in parts) / len(scores))
    return _cosine(scores - scores.mean(), truth - truth.mean())


def kendall(scores: Floats, truth: Floats, groups: Ints | None = None) -> float:
    """Kendall's tau-b in [-1, 1], pairs counted within groups; 0 where either side is constant."""
    right, wrong, equal_scores, equal_truth, _ = _pairs_within(scores, truth, groups)
    length = np.sqrt(float(right + wrong + equal_scores) * float(right + wrong + equal_truth))
    return float((right - wrong) / length) if length > 0 else 0.0


def pair_accuracy(scores: Floats, truth: Floats, groups: Ints | None = None) -> float:
    """Share in [0, 1] of the pairs with different truth (of one group) that the scores order alike; NaN where there
    is no such pair."""
    right, wrong, equal_scores, _, _ = _pairs_within(scores, truth, groups)
    total = right + wrong + equal_scores
    return float((right + equal_scores / 2) / total) if total else float("nan")


def _pairs_within(scores: Floats, truth: Floats, groups: Ints | None) -> Ints:
    """(5,) counts of pairs, summed over groups: ordered alike, against each other, equal in scores alone, in truth
    alone, in both. In O(N log N): 14,000 pictures are 98 million pairs, and 2,000 resamples of them."""
    if groups is None:
        return _pairs(scores, truth)
    parts = (groups == group for group in np.unique(groups))
    return np.asarray(sum(_pairs(scores[part], truth[part]) for part in parts), np.int64)


def _pairs(scores: Floats, truth: Floats) -> Ints:
    ranks = np.unique(scores, return_inverse=True)[1].astype(np.int64)
    levels = np.unique(truth, return_inverse=True)[1].astype(np.int64)
    both = _equal(levels * (len(scores) + 1) + ranks)
    equal_scores, equal_truth = _equal(ranks) - both, _equal(levels) - both
    wrong = inversions(ranks[np.lexsort((ranks, levels))])  # equal truth is sorted by score: no inversion
    right = len(scores) * (len(scores) - 1) // 2 - wrong - equal_scores - equal_truth - both
    return np.array([right, wrong, equal_scores, equal_truth, both], np.int64)


def _equal(values: Ints) -> int:
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def inversions(ranks: Ints) -> int:
    """Pairs i < j with ranks[i] > ranks[j], of whole numbers from 0; bit by bit, so that numpy does the work.

    Two different ranks part at one bit: among those whose higher bits are equal, kept in order, every 0 counts the 1s
    before it.
    """
    total = 0
    for bit in range(int(ranks.max(initial=0)).bit_length()):
        higher, ones = ranks >> (bit + 1), (ranks >> bit) & 1
        order = np.argsort(higher, kind="stable")
        higher, ones = higher[order], ones[order]
        before = np.cumsum(ones) - ones
        starts = np.flatnonzero(np.r_[True, higher[1:] != higher[:-1]])
        sizes = np.diff(np.r_[starts, len(ranks)])
        total += int((before - np.repeat(before[starts], sizes))[ones == 0].sum())
    return total


def choice_agreement(scores: Floats, pairs: Ints, wins: Floats, weights: Floats | None = None) -> float:
    """Share in [0, 1] of single choices that the scores make too: pairs (P, 2) of rows in `scores`, wins (P, 2)
    choices for each. weights (N,): how often each picture counts (a pair counts by both).
    NaN where no choice is left."""
    counts = wins if weights is None else wins * (weights[pairs[:, 0]] * weights[pairs[:, 1]])[:, None]
    gap = np.sign(scores[pairs[:, 0]] - scores[pairs[:, 1]])
    right = counts[:, 0] * (gap + 1) / 2 + counts[:, 1] * (1 - gap) / 2
    return float(right.sum() / counts.sum()) if counts.sum() else float("nan")


def _cosine(first: Floats, second: Floats) -> float:
    length = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / length) if length > 0 else 0.0


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
    if count == 1:  # nothing to draw from
        return Interval(value, None, None, 1)
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(generator.integers(0, count, count)) for _ in range(resamples)])
    told = drawn[~np.isnan(drawn)]
    if len(told) < resamples / 2:
        return Interval(value, None, None, count)
    low, high = np.quantile(told, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), count)
