"""Percentiles of scores within a corpus, their normal scores, and a frozen table that maps later pictures alike.

Scores of different scorers have different units; their percentiles are comparable. Percentile = (mid-rank - 1/2) / N
(Hazen 1914), in (0, 1); equal scores share the mean of their ranks. Pure functions over arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIP = 3.0  # normal scores beyond are cut: one picture in 740 lies there, and a corpus of 10,000 is not led by one
# Knots of a frozen table: between two lies at most 1/512 of the corpus, a tenth of the drift that is worth saying.
KNOTS = 512
TAIL = 16  # of the lowest and of the highest values each is a knot: there normal scores change fastest


def percentiles(values: NDArray[Any], *, lower_is_better: bool = False) -> NDArray[np.float64]:
    """Percentiles (N,) of values (N,) within themselves: (mid-rank - 1/2) / N, the best nearest to 1.

    The mean is 1/2 exactly, whatever the ties.
    """
    values = np.asarray(values)
    if not len(values):
        return np.empty(0)
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    after = np.cumsum(counts)
    shares = (after - counts / 2) / len(values)  # mid-rank = after - (count - 1) / 2
    return np.asarray((1 - shares if lower_is_better else shares)[places], np.float64)


def normal_scores(shares: NDArray[Any]) -> NDArray[np.float32]:
    """The standard normal's quantiles (n,) float32 of percentiles (n,) in [0, 1], within +-CLIP."""
    lowest = NormalDist().cdf(-CLIP)
    quantile = NormalDist().inv_cdf
    inside = np.clip(np.asarray(shares, np.float64), lowest, 1 - lowest)
    values = np.fromiter((quantile(share) for share in inside.tolist()), np.float64, len(inside))
    return np.clip(values, -CLIP, CLIP).astype(np.float32)


@dataclass(frozen=True)
class Quantiles:
    """A frozen map from scores to percentiles: exact at its knots, linear between, flat beyond its ends.

    count: pictures that it was made of. values: rising scores; shares: their percentiles.
    """

    count: int
    values: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for a table that is none: it may come out of a file."""
        values, shares = np.asarray(self.values, np.float64), np.asarray(self.shares, np.float64)
        if values.ndim != 1 or values.shape != shares.shape or not np.isfinite(values).all():
            raise ValueError("percentiles that do not go with their scores")
        rising = (np.diff(values) > 0).all() and len({*np.sign(np.diff(shares)), 0.0}) <= 2
        if not rising or not ((shares >= 0) & (shares <= 1)).all() or self.count < len(values):
            raise ValueError("percentiles that do not rise with their scores")

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The percentiles (n,) of scores (n,); NaN stays NaN, and without knots all are 1/2."""
        values = np.asarray(values, np.float64)
        if not self.values:
            return np.where(np.isnan(values), np.nan, 0.5)
        return np.asarray(np.interp(values, self.values, self.shares), np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {"count": self.count, "values": list(self.values), "shares": list(self.shares)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Quantiles":
        """Raises KeyError, TypeError or ValueError for content that is no such table."""
        count, values, shares = content["count"], content["values"], content["shares"]
        if not isinstance(count, int):
            raise TypeError(f"a table of {count!r} pictures")
        return cls(count, tuple(float(value) for value in values), tuple(float(share) for share in shares))


def frozen(values: NDArray[Any], *, lower_is_better: bool = False) -> Quantiles:
    """The table of values (N,): all distinct ones where they are few, else KNOTS spaced by rank, and both tails."""
    values = np.asarray(values)
    distinct, first = np.unique(values, return_index=True)
    shares = percentiles(values, lower_is_better=lower_is_better)[first]
    chosen = np.arange(len(distinct))
    if len(distinct) > KNOTS + 2 * TAIL:
        rising = 1 - shares if lower_is_better else shares
        spaced = np.searchsorted(rising, np.linspace(rising[0], rising[-1], KNOTS + 1))
        tails = np.concatenate([chosen[:TAIL], chosen[-TAIL:]])
        chosen = np.unique(np.concatenate([np.minimum(spaced, len(distinct) - 1), tails]))
    return Quantiles(len(values), tuple(map(float, distinct[chosen])), tuple(map(float, shares[chosen])))


def drift(values: NDArray[Any], table: Quantiles, *, lower_is_better: bool = False) -> float:
    """How far the percentiles of values (n,) by the table lie from those within themselves, in percentile points
    [0, 100]: the largest difference. 0 for no values."""
    if not len(values):
        return 0.0
    own = percentiles(values, lower_is_better=lower_is_better)
    return float(100 * np.abs(table.of(values) - own).max())
