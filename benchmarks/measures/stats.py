"""How sure a mean is: 95 % bootstrap intervals over queries, and paired differences. Pure: a seed goes in."""

from collections.abc import Callable
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
    rows = _checked(values)
    return _bootstrap(lambda drawn: rows[drawn].mean(axis=1), len(rows), seed, resamples, level)


def bootstrap_median(
    values: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """The median of `values` (Q,) in place of the mean, with its percentile bootstrap interval over queries."""
    rows = _checked(values)
    return _bootstrap(lambda drawn: np.median(rows[drawn], axis=1), len(rows), seed, resamples, level)


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


def paired_medians(
    after: npt.ArrayLike, before: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Median of after - median of before with its interval; row q of both must be the same query."""
    first, second = _checked(after), _checked(before)
    if first.shape != second.shape:
        raise BeholderError(f"{first.shape} values against {second.shape}", "the same queries on both sides")

    def gap(drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.median(first[drawn], axis=1) - np.median(second[drawn], axis=1), np.float64)

    return _bootstrap(gap, len(first), seed, resamples, level)


def unpaired_difference(after: Interval, before: Interval) -> Interval:
    """after - before with the interval that their own 95 % intervals allow, taken as independent: MOVER of Zou and
    Donner 2008, equation 4. Wider than a paired one wherever both were asked the same queries. n is the smaller."""
    value, count = after.mean - before.mean, min(after.n, before.n)
    if after.low is None or after.high is None or before.low is None or before.high is None:
        return Interval(value, None, None, count)
    down = np.hypot(after.mean - after.low, before.high - before.mean)
    up = np.hypot(after.high - after.mean, before.mean - before.low)
    return Interval(value, float(value - down), float(value + up), count)


def _checked(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1 or not len(rows):
        raise BeholderError(f"values of shape {rows.shape}", "one number per query, at least one")
    if not np.isfinite(rows).all():
        raise BeholderError("values hold NaN or infinity", "one finite number per query")
    return rows


def _bootstrap(
    value_of: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]],
    count: int,
    seed: int,
    resamples: int,
    level: float,
) -> Interval:
    """`value_of`: (R, count) rows drawn with repeats -> (R,) values."""
    value = float(value_of(np.arange(count)[None, :])[0])
    if count == 1:
        return Interval(value, None, None, 1)
    generator = np.random.default_rng(seed)
    at_once = max(1, BLOCK // count)
    drawn = np.concatenate(
        [
            value_of(generator.integers(0, count, (min(at_once, resamples - start), count)))
            for start in range(0, resamples, at_once)
        ]
    )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), count)
