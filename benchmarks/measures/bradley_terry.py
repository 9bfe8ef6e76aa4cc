"""Bradley-Terry: one strength per picture from choices between two, P(i beats j) = 1 / (1 + e^(sj - si)). Pure.

Maximum likelihood by Newton's steps (the likelihood is concave). A difference: each picture also meets a stranger of
strength 0 in `prior` comparisons, half of them won, so that a picture that won all its choices has a finite strength,
pictures that no choices link are comparable, and strengths, not only their differences, are defined.
"""

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TOLERANCE = 1e-9  # of log odds in one step
STEPS = 100  # some ten are enough
MOST = 5000  # pictures: the Hessian of so many is 200 MB
LONGEST = 2.0  # log odds in one step: full steps from afar overshoot


def bradley_terry(pairs: Ints, wins: Floats, count: int, *, prior: float = 1.0) -> Floats:
    """(count,) strengths in log odds against the stranger.

    pairs (P, 2): rows of pictures; wins (P, 2): choices for each. Raises BeholderError without choices, for a picture
    against itself, a prior that is not above 0 and more than MOST pictures.
    """
    if not len(pairs) or wins.sum() <= 0:
        raise BeholderError("no choices between pictures", "at least one", "Check the table.")
    if (pairs[:, 0] == pairs[:, 1]).any():
        raise BeholderError("a picture is compared with itself", "two different ones", "Mend the table.")
    if count > MOST or not prior > 0:
        raise BeholderError(
            f"{count} pictures, prior {prior:g}", f"at most {MOST}, and above 0", "Take fewer pictures."
        )
    first, second = pairs.T
    met = wins.sum(axis=1)
    strength = np.zeros(count)
    for _ in range(STEPS):
        expected = _beats(strength[first] - strength[second])
        known = _beats(strength)
        surplus = wins[:, 0] - met * expected
        gradient = np.bincount(first, surplus, count) - np.bincount(second, surplus, count) + prior * (0.5 - known)
        bend = met * expected * (1 - expected)
        hessian = np.diag(
            np.bincount(first, bend, count) + np.bincount(second, bend, count) + prior * known * (1 - known)
        )
        np.add.at(hessian, (first, second), -bend)
        np.add.at(hessian, (second, first), -bend)
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, LONGEST / max(float(np.abs(step).max()), TOLERANCE))
        strength = strength + step
        if np.abs(step).max() < TOLERANCE:
            return strength
    raise BeholderError(f"strengths do not settle in {STEPS} steps", "choices that a prior holds", "Raise the prior.")


def _beats(difference: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-difference)))
