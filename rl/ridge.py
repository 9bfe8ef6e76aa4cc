"""Ridge regression for more inputs than examples, in float64, with the penalty chosen by cross-validation. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge:
    """prediction = inputs . weight + bias, of inputs as they come (their scaling is in the weight)."""

    weight: Floats  # (F,)
    bias: float
    penalty: float

    def __call__(self, inputs: Floats) -> Floats:
        """(N,) of inputs (N, F)."""
        predicted: Floats = inputs @ self.weight + self.bias
        return predicted


def fit_ridge(inputs: Floats, targets: Floats, penalties: Sequence[float]) -> list[Ridge]:
    """A fit per penalty of inputs (N, F), standardised column by column, to targets (N,).

    Solved in the N x N dual, whose eigenvectors serve all penalties. Constant columns get no weight.
    """
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 0, scale, np.inf)
    standard = (inputs - centre) / scale
    values, vectors = np.linalg.eigh(standard @ standard.T)
    mean = float(targets.mean())
    turned = vectors.T @ (targets - mean)
    fits = []
    for penalty in penalties:
        weight = standard.T @ (vectors @ (turned / (np.maximum(values, 0) + penalty))) / scale
        fits.append(Ridge(weight, mean - float(centre @ weight), penalty))
    return fits


def choose_penalty(
    inputs: Floats,
    targets: Floats,
    penalties: Sequence[float],
    quality: Callable[[Floats], float],
    *,
    folds: int,
    seed: int,
) -> tuple[float, Floats]:
    """The penalty with the best `quality` of its held-out predictions (N,), and those predictions; folds are drawn by
    seed. Of equals the first wins."""
    fold = np.random.default_rng(seed).permutation(len(targets)) % folds
    predicted = np.empty((len(penalties), len(targets)))
    for number in range(folds):
        out = fold == number
        for row, fit in enumerate(fit_ridge(inputs[~out], targets[~out], penalties)):
            predicted[row, out] = fit(inputs[out])
    best = int(np.argmax([quality(row) for row in predicted]))
    return penalties[best], predicted[best]
