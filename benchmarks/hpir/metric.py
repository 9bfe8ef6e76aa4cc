"""HPIR: how often a model prefers the group of pictures that people prefer, as pure functions over arrays.

An item is a query and two groups of pictures with votes (arXiv 2406.09397; its formula is not public in readable form,
so ours is stated here and every choice in it is an option). K items, of one aspect:

    label g = the group with more votes, confidence c = its share of the votes; items without a majority are left out
    choice m = the group of higher S(query, group), S = mean | max | mean reciprocal rank in the union of both groups
    HPIR = sum_k w(c_k) [m_k = g_k] / sum_k w(c_k),   w = 2c - 1 (net votes, the default) | c | 1

A model that scores both groups alike is half right. tally (K, 2) int: votes for A and B; choices (K,) float: 1 for A,
0 for B, 1/2 for neither.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.measures.correlation import mid_ranks
from benchmarks.measures.stats import Interval, bootstrap_mean
from indexes.errors import BeholderError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CHANCE = 0.5
WEIGHTS: dict[str, Callable[[Floats], Floats]] = {
    "net": lambda confidence: 2 * confidence - 1,
    "confidence": lambda confidence: confidence,
    "one": np.ones_like,
}
GROUP_RULES = ("mean", "max", "reciprocal-rank")


def tally(votes: Sequence[Sequence[str | None]]) -> Ints:
    """(K, 2) votes for A and for B of each item; "same" and None are for neither."""
    return np.array([[said.count("a"), said.count("b")] for said in votes], np.int64).reshape(-1, 2)


def decided(counts: Ints) -> npt.NDArray[np.bool_]:
    """(K,) whether one of the groups has more votes."""
    return np.asarray(counts[:, 0] != counts[:, 1])


def confidence(counts: Ints) -> Floats:
    """(K,) the majority's share of the votes for either group, in (0.5, 1] for decided items. Its mean is what a
    random voter's word is worth as a guess of another's. Raises BeholderError for an item without votes."""
    total = counts.sum(axis=1)
    if (total == 0).any():
        raise BeholderError("an item without votes", "a majority in each", "Leave out what is not decided.")
    return np.asarray(counts.max(axis=1) / total)


def weights(counts: Ints, rule: str = "net") -> Floats:
    """(K,) how much each item counts."""
    if rule not in WEIGHTS:
        raise BeholderError(f"the weight {rule!r}", " or ".join(WEIGHTS), "Choose one of them.")
    return WEIGHTS[rule](confidence(counts))


@dataclass(frozen=True)
class Groups:
    """The two groups of each of K items as rows of an array of scores: group A of item k is
    rows[starts[2k] : starts[2k + 1]], group B follows."""

    rows: Ints
    starts: Ints  # (2K + 1,)

    @classmethod
    def of(cls, pairs: Sequence[tuple[Ints, Ints]]) -> "Groups":
        """Raises BeholderError for a group without pictures."""
        flat = [group for pair in pairs for group in pair]
        sizes = [len(group) for group in flat]
        if not sizes or min(sizes) < 1:
            raise BeholderError("a group without pictures" if sizes else "no items", "pictures in both groups")
        return cls(np.concatenate(flat).astype(np.int64), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    @property
    def even(self) -> bool:
        """Whether the two groups of every item are of one size."""
        sizes = np.diff(self.starts)
        return bool((sizes[::2] == sizes[1::2]).all())

    def swapped(self) -> "Groups":
        """The same with A and B exchanged."""
        flat = np.split(self.rows, self.starts[1:-1])
        return Groups.of([(b, a) for a, b in zip(flat[::2], flat[1::2], strict=True)])


def group_scores(scores: Floats, groups: Groups, rule: str = "mean") -> Floats:
    """(K, 2): S of both groups of each item; scores (N,) of pictures, higher is better.

    reciprocal-rank: the mean of 1 / rank (from 1) among the pictures of both groups; equal scores share the mean of
    their ranks; a picture of both groups is ranked once.
    """
    if rule == "reciprocal-rank":
        return np.array([_reciprocal_ranks(scores, groups.rows, ends) for ends in _ends(groups.starts)])
    if rule not in GROUP_RULES:
        raise BeholderError(f"the group score {rule!r}", " or ".join(GROUP_RULES), "Choose one of them.")
    values, starts = scores[groups.rows], groups.starts
    if rule == "max":
        return np.maximum.reduceat(values, starts[:-1]).reshape(-1, 2)
    return np.asarray((np.add.reduceat(values, starts[:-1]) / np.diff(starts)).reshape(-1, 2))


def _ends(starts: Ints) -> Iterable[tuple[int, int, int]]:
    return zip(starts[:-2:2].tolist(), starts[1:-1:2].tolist(), starts[2::2].tolist(), strict=True)


def _reciprocal_ranks(scores: Floats, rows: Ints, ends: tuple[int, int, int]) -> tuple[float, float]:
    start, middle, end = ends
    union = np.unique(rows[start:end])
    worth = 1 / mid_ranks(-scores[union])
    a, b = (worth[np.searchsorted(union, group)] for group in (rows[start:middle], rows[middle:end]))
    return float(a.mean()), float(b.mean())


def choices(scores: Floats) -> Floats:
    """(K,) the model's choices of its group scores (K, 2)."""
    if not np.isfinite(scores).all():
        raise BeholderError("group scores hold NaN or infinity", "finite numbers", "Look for pictures without a score.")
    return np.asarray((np.sign(scores[:, 0] - scores[:, 1]) + 1) / 2)


def correct(chosen: Floats, counts: Ints) -> Floats:
    """(K,) 1 where the choice is the majority's, 0 where it is not, 1/2 where the model has none; of decided items."""
    return np.where(counts[:, 0] > counts[:, 1], chosen, 1 - chosen)


def votes_met(chosen: Floats, counts: Ints) -> Floats:
    """(K,) share of an item's votes for either group that the choice meets. Weighted by the number of votes its mean
    is the agreement with single votes; items without a majority count here."""
    return np.asarray((counts[:, 0] * chosen + counts[:, 1] * (1 - chosen)) / counts.sum(axis=1))


def agreement(right: Floats, weight: Floats) -> float:
    """The weighted mean of `right` (K,), in [0, 1]. Raises BeholderError where nothing has weight."""
    total = float(weight.sum())
    if not len(right) or total <= 0:
        raise BeholderError("no item has a majority", "at least one that is no tie", "Collect more votes.")
    return float((right * weight).sum()) / total  # summed as the total is, so that an oracle agrees 1 exactly


def unit_values(right: Floats, weight: Floats, members: Sequence[Sequence[int]]) -> Floats:
    """(U,) one number per unit (a query or a picture), whose mean is `agreement(right, weight)`.

    members: for each item the units it belongs to: its query, or its pictures. A unit's number is the agreement plus
    its influence, U * sum over its items of w_k (x_k - agreement) / sum w: what the agreement loses to first order when
    the unit is left out. Resampling these numbers is a bootstrap over units that works for any number of units in an
    item; with products of multiplicities nothing would be left of groups of five. Numbers may lie outside [0, 1].
    """
    value = agreement(right, weight)
    units, place = np.unique(np.concatenate([np.asarray(one, np.int64) for one in members]), return_inverse=True)
    items = np.repeat(np.arange(len(right)), [len(one) for one in members])
    share = weight * (right - value) / weight.sum()
    influence = len(units) * np.bincount(place, weights=share[items], minlength=len(units))
    # Items of different sizes would move the mean a little.
    return np.asarray(value + influence - influence.mean())


def interval(values: Floats, items: int, *, seed: int = 0) -> Interval:
    """The mean of units' numbers and its 95 % bootstrap interval over them, within [0, 1]; none for a single item,
    whose pictures all have the same number."""
    if items < 2:
        return Interval(float(np.clip(values.mean(), 0, 1)), None, None, len(values))
    found = bootstrap_mean(values, seed=seed)
    ends = [None if end is None else float(np.clip(end, 0, 1)) for end in (found.low, found.high)]
    return Interval(float(np.clip(found.mean, 0, 1)), ends[0], ends[1], found.n)
