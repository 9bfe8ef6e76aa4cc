"""Weights between the base and the tuned encoder (Wortsman et al. 2022, 2109.01903), measured and chosen on dev."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from .retention import Budget, Figures, better

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]


def between(base: State, tuned: State, alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) base + alpha tuned of every tensor that differs, rounded as it will be stored; others as in base.

    float32 values that float16 holds exactly, so that what is measured is what is written.
    """
    state = {}
    for name, old in base.items():
        new = tuned[name]
        if not old.is_floating_point() or old.equal(new):
            state[name] = old
        else:
            state[name] = old.lerp(new, alpha).half().to(old.dtype)
    return state


def sweep(
    base: State, tuned: State, alphas: Sequence[float], measure: Callable[[State], Figures]
) -> list[tuple[float, Figures]]:
    """Each alpha, rising, with the figures of the weights there."""
    return [(alpha, measure(between(base, tuned, alpha))) for alpha in sorted(set(alphas))]


def choose(swept: Sequence[tuple[float, Figures]], budget: Budget, select: str) -> tuple[float, Figures] | None:
    """The best inside the budget by the figure `select`, the larger alpha without it; None where none is inside."""
    best: tuple[float, Figures] | None = None
    for alpha, figures in swept:
        if budget.inside(figures) and better(figures, best[1] if best else None, select):
            best = alpha, figures
    return best
