"""How a cost grows with a count: least squares of log cost on log count, cost = scale * count ** exponent. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

# Student's t, upper 2.5 %, by degrees of freedom from 1 (any table of it); past them the normal's is near enough.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
NORMAL_975 = 1.960


@dataclass(frozen=True)
class PowerLaw:
    """cost = scale * count ** exponent; low and high: the 95 % interval of the exponent, None for two points."""

    exponent: float
    scale: float
    low: float | None
    high: float | None
    n: int

    def at(self, count: float) -> float:
        return float(self.scale * count**self.exponent)


def fit_power_law(counts: npt.ArrayLike, costs: npt.ArrayLike) -> PowerLaw:
    """The line through (log count, log cost) by ordinary least squares, with Student's interval of its slope.

    The interval takes errors as independent and of one size on the logarithmic scale; over few points it is wide, and
    it does not know whether the law holds outside of them. Raises BeholderError for fewer than two different counts,
    and for values that are not above 0.
    """
    x, y = np.asarray(counts, np.float64), np.asarray(costs, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(np.unique(x)) < 2:
        raise BeholderError(f"counts {x.tolist()} and costs {y.tolist()}", "a cost for each of two counts or more")
    if not (np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)).all():
        raise BeholderError(f"counts {x.tolist()} and costs {y.tolist()}", "finite numbers above 0")
    across, up = np.log(x), np.log(y)
    spread = across - across.mean()
    exponent = float(spread @ up / (spread @ spread))
    shift = float(up.mean() - exponent * across.mean())
    freedom = len(x) - 2
    if not freedom:
        return PowerLaw(exponent, float(np.exp(shift)), None, None, len(x))
    left = up - (shift + exponent * across)
    error = float(np.sqrt(left @ left / freedom / (spread @ spread)))
    wide = (T_975[freedom - 1] if freedom <= len(T_975) else NORMAL_975) * error
    return PowerLaw(exponent, float(np.exp(shift)), exponent - wide, exponent + wide, len(x))
