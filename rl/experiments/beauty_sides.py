"""Ways to more beautiful results, each swept from little to much: what they find in a gallery, per query.

The sum and re-ranking are what the product offers without training; the constant shift is the best that one vector
added to every query can do; aligned encoders go from the base (alpha 0) to the tuned weights (alpha 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.plots import Curve
from benchmarks.quality.pareto import PERCENTILE, by_rank_mix, by_sum
from rl.alignment.shift import shifted

from .flickr import Gallery

Floats = NDArray[np.float64]
Point = dict[str, Floats]  # measure -> values (Q,)
WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
CANDIDATES = (20, 50, 100)
LAMS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
BASE, SUM, SHIFT = "base", "sum", "constant shift"
HIT = "hit_rate@10"


@dataclass(frozen=True)
class Setting:
    """A way and how much of it: "sum", "b = 1"."""

    way: str
    amount: str

    @property
    def name(self) -> str:
        return f"{self.way}, {self.amount}" if self.amount else self.way


def untrained(
    gallery: Gallery, queries: NDArray[np.float32], shares: Floats, spread: float, direction: Floats
) -> Iterator[tuple[Setting, Point]]:
    """Plain search, the sum, re-ranking of the best K and the constant shift along `direction` (D,)."""
    vectors, relevant = gallery.vectors, gallery.judged.relevance()
    yield Setting(BASE, ""), by_sum(queries, vectors, shares, relevant, 0.0)
    for b in WEIGHTS:
        yield Setting(SUM, f"b = {b:g}"), by_sum(queries, vectors, shares, relevant, b * spread)
    for count in CANDIDATES:
        for share in SHARES:
            found = by_rank_mix(queries, vectors, shares, relevant, share, count)
            yield Setting(f"rank-mix, K = {count}", f"share {share:g}"), found
    for lam in LAMS:
        moved = shifted(queries, direction, lam).astype(np.float32)
        yield Setting(SHIFT, f"lam = {lam:g}"), by_sum(moved, vectors, shares, relevant, 0.0)


def plain(gallery: Gallery, queries: NDArray[np.float32], vectors: NDArray[np.float32], shares: Floats) -> Point:
    """Plain search by an aligned encoder's vectors of captions (Q, D) and pictures (N, D)."""
    return by_sum(queries, vectors, shares, gallery.judged.relevance(), 0.0)


def means(points: Mapping[str, Point]) -> dict[str, dict[str, float]]:
    """In percent, by setting and measure."""
    return {name: {what: 100 * float(values.mean()) for what, values in one.items()} for name, one in points.items()}


def mean_point(found: Sequence[Point]) -> Point:
    """Over seeds, query by query."""
    return {what: np.asarray(np.mean([one[what] for one in found], axis=0), np.float64) for what in found[0]}


def best_inside(
    points: Mapping[str, Mapping[str, float]], ways: Mapping[str, Sequence[str]], most: float
) -> dict[str, str]:
    """Of each way the setting with the highest percentile among those that lose at most `most` points of hit_rate@10
    against the base; ways without one are left out. Points are means in percent by setting."""
    base, chosen = points[BASE][HIT], {}
    for way, settings in ways.items():
        inside = [name for name in settings if base - points[name][HIT] <= most + 1e-9]
        if inside:
            chosen[way] = max(inside, key=lambda name: points[name][PERCENTILE])
    return chosen


def curves(points: Mapping[str, Mapping[str, float]]) -> list[Curve]:
    """A curve for each way from the base on: hit_rate@10 across, mean percentile up, both in percent."""
    start = (points[BASE][HIT], points[BASE][PERCENTILE], "")
    found: dict[str, list[tuple[float, float, str]]] = {}
    for name, one in points.items():
        way, _, amount = name.rpartition(", ")
        if way and "shuffled" not in name:
            found.setdefault(way, [start]).append((one[HIT], one[PERCENTILE], amount.rpartition(" ")[2]))
    return [Curve(way, tuple(several)) for way, several in found.items()]
