"""What a rewrite is worth: how high the relevant pictures of a corpus come, and how much higher than before. Pure.

The reward is of ranks, not of similarity: a text whose cosines all rise gains nothing, and one that is near no picture
cannot win by being far from the others. Rewards that are similarities are known to be hacked so.
The utility of a ranking is the mean over the relevant pictures, weighted, of 1 - log(rank) / log(N): 1 at the top,
0 at the bottom, and as much from rank 1 to 2 as from 100 to 200.
"""

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

Floats = NDArray[np.float64]


def ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(Q, N) ranks from 1 of scores (Q, N), the highest first; ties by the lower column."""
    order = np.argsort(-scores, axis=1, kind="stable")
    found = np.empty(order.shape, np.int64)
    np.put_along_axis(found, order, np.arange(1, order.shape[1] + 1)[None, :], axis=1)
    return found


def utility(scores: NDArray[np.floating], weights: NDArray[np.floating]) -> Floats:
    """(Q,) in [0, 1]: the weighted mean of 1 - log(rank) / log(N) for scores and weights (Q, N); weights are 0 for what
    is not relevant. Raises BeholderError for NaN, fewer than two pictures, or a query without a relevant one."""
    if scores.shape != weights.shape or scores.ndim != 2 or scores.shape[1] < 2:
        raise BeholderError(f"scores {scores.shape}, weights {weights.shape}", "one shape (Q, N), N above 1")
    if not np.isfinite(scores).all():
        raise BeholderError("scores hold NaN", "finite scores", "Look for empty texts.")
    sums = np.asarray(weights.sum(1), np.float64)
    if (weights < 0).any() or not (sums > 0).all():
        raise BeholderError("a query without a relevant picture", "weights of 0 and more, one of them above 0")
    height = 1 - np.log(ranks(scores)) / np.log(scores.shape[1])
    return np.asarray((height * weights).sum(1) / sums, np.float64)


def beauty_weights(relevant: NDArray[np.bool_], shares: Floats, share: float) -> Floats:
    """(N,) what each picture counts: 0 where it is not relevant, else 1 - share + share * its percentile of beauty."""
    return np.where(relevant, 1 - share + share * shares, 0.0)


def correlation(values: NDArray[np.floating], lengths: NDArray[np.floating]) -> float | None:
    """Pearson's r of rewards and lengths (n,), of those that are numbers; None where one of them does not vary."""
    known = np.isfinite(values)
    first, second = np.asarray(values[known], np.float64), np.asarray(lengths[known], np.float64)
    if len(first) < 3 or first.std() < 1e-9 or second.std() < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])
