"""Bradley-Terry: one strength per picture from choices between two, P(i beats j) = e^si / (e^si + e^sj). Pure.

Fitted by minorisation (Hunter, Annals of Statistics 32, 2004, equation 3), which always climbs. A difference: each
picture also meets a stranger of strength 0 in `prior` comparisons, half of them won, so that a picture that won all its
choices has a finite strength and pictures that were never linked by choices are comparable.
"""

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TOLERANCE = 1e-9  # of log odds in one step
STEPS = 10_000


def bradley_terry(pairs: Ints, wins: Floats, count: int, *, prior: float = 1.0) -> Floats:
    """(count,) strengths in log odds, 0 = a stranger.

    pairs (P, 2): rows of pictures; wins (P, 2): choices for each. Raises BeholderError without choices, for a picture
    against itself, and where it does not settle (prior 0 and a picture that won all or nothing).
    """
    if not len(pairs) or wins.sum() <= 0:
        raise BeholderError("no choices between pictures", "at least one", "Check the table.")
    if (pairs[:, 0] == pairs[:, 1]).any():
        raise BeholderError("a picture is compared with itself", "two different ones", "Mend the table.")
    first, second = pairs.T
    met = wins.sum(axis=1)
    won = np.bincount(first, wins[:, 0], count) + np.bincount(second, wins[:, 1], count) + prior / 2
    strength = np.ones(count)
    for _ in range(STEPS):
        share = met / (strength[first] + strength[second])
        meetings = np.bincount(first, share, count) + np.bincount(second, share, count) + prior / (strength + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            after = won / meetings
            step = np.abs(np.log(after) - np.log(strength))
        if prior == 0:
            after /= np.exp(np.log(np.maximum(after, np.finfo(float).tiny)).mean())  # only differences are defined
        strength = after
        if step.max() < TOLERANCE:
            return np.log(strength)
    raise BeholderError("the strengths do not settle", "choices both ways", "Use a prior above 0.")
