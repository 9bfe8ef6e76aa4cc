"""How sure a mean is: 95 % bootstrap intervals over queries, and paired differences. Pure: a seed goes in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

RESAMPLES = 2000  # the house rule; the ends of a 95 % interval then move by about 2 % of its width from seed to seed
BLOCK = 1 << 22  # draws held at once: 32 MB of int64


@dataclass(frozen=True)
class Interval:
    """A mean over n queries and its interval; low and high are None for n = 1, where nothing can be
    resampled.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def excludes(self, value: float) -> bool:
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


def bootstrap_mean(
    values: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """The mean of `values` (Q,) with its percentile bootstrap interval over queries.

    The percentile method is used because metrics per query are bounded: the interval cannot leave [min, max].
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1 or not len(rows):
        raise BeholderError(f"values of shape {rows.shape}", "one number per query, at least one")
    if not np.isfinite(rows).all():
        raise BeholderError("values hold NaN or infinity", "one finite number per query")
    if len(rows) == 1:
        return Interval(float(rows[0]), None, None, 1)
    generator = np.random.default_rng(seed)
    at_once = max(1, BLOCK // len(rows))
    means = np.concatenate(
        [
            rows[generator.integers(0, len(rows), (min(at_once, resamples - start), len(rows)))].mean(axis=1)
            for start in range(0, resamples, at_once)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(rows.mean()), float(low), float(high), len(rows))


def paired_difference(
    after: npt.ArrayLike,
    before: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """The mean of after - before with its interval; row q of both must be the same query.

    Resampling queries with both their numbers is what makes it paired: what queries have in common cancels.
    """
    first, second = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    if first.shape != second.shape:
        raise BeholderError(f"{first.shape} values against {second.shape}", "the same queries on both sides")
    return bootstrap_mean(first - second, seed=seed, resamples=resamples, level=level)
