"""Learning rates over a run: cycles of warm-up and decay, one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cycle(step: int, steps: int, warmup: float) -> float:
    """The factor in (0, 1] of a step counted from 0: linear over a share of the steps, then half a cosine to 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def cycles(optimizer: torch.optim.Optimizer, parts: Sequence[tuple[int, float]], warmup: float) -> Any:
    """A schedule of cycles of (steps, height), height times the optimizer's rates at its top."""
    import torch

    def factor(step: int) -> float:
        for steps, height in parts:
            if step < steps:
                return height * cycle(step, steps, warmup)
            step -= steps
        return 0.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
