"""The baseline that needs no training: one vector added to every query, normalise(q + lam * w).

Method of a "query shift": ranking by the shifted query is ranking by q.y + lam * w.y, as its norm is one constant per
query, so it can lean every query alike and none its own way. A tuned text tower that learned only this has learned
nothing else; `left_over` tells how far that is so. Pure: float arrays in, float64 out; rows of vectors are unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

Rows = NDArray[np.floating[Any]]
ROUNDS = 200  # of the alternating fit; it has long converged then


def shifted(queries: Rows, direction: Rows, lam: float) -> NDArray[np.float64]:
    """normalise(q + lam * w): unit rows (Q, D) of queries (Q, D) and a direction (D,)."""
    moved = np.asarray(queries, np.float64) + lam * np.asarray(direction, np.float64)
    return unit(moved)


def unit(rows: Rows) -> NDArray[np.float64]:
    """Rows (..., D) of length 1. Raises BeholderError for one of length 0."""
    known = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(known, axis=-1, keepdims=True)
    if not (lengths > 0).all():
        raise BeholderError("a vector of length 0", "one that has a direction", "Take another lam, or other queries.")
    return np.asarray(known / lengths)


def direction_of_pairs(lists: Iterable[tuple[Rows, NDArray[np.bool_]]], ridge: float = 1e-3) -> NDArray[np.float64]:
    """The unit direction (D,) that orders the pictures of all lists best, whatever the query.

    `lists` are (vectors (L, D), prefer (L, L)). w minimises the mean over lists of the mean over pairs of
    (1 - w.(better - worse))^2, plus ridge * |w|^2: least squares, so that lists of many pairs weigh no more than
    others. Raises BeholderError where no list has a pair, or the pairs cancel out.
    """
    matrix: Any = 0.0
    vector: Any = 0.0
    count = 0
    for vectors, prefer in lists:
        pairs = int(prefer.sum())
        if not pairs:
            continue
        rows, wins, losses = np.asarray(vectors, np.float64), prefer.sum(1), prefer.sum(0)
        # The sum over pairs of d d^T, d = better - worse, is the graph's Laplacian between the vectors
        laplacian = np.diag(wins + losses) - (prefer | prefer.T)
        matrix = matrix + rows.T @ laplacian @ rows / pairs
        vector = vector + (wins - losses) @ rows / pairs
        count += 1
    if not count:
        raise BeholderError("no list has a pair", "pairs to fit a direction to", "Check the preferences.")
    return unit(np.linalg.solve(matrix / count + ridge * np.eye(len(vector)), vector / count))


def shift_of_texts(base: Rows, moved: Rows) -> NDArray[np.float64]:
    """The one vector w (D,) whose normalise(base + w) comes nearest to moved: both (Q, D), unit rows.

    Minimises the sum over queries of |base_i + w - c_i moved_i|^2 over w and the lengths c_i >= 0, in turns: for given
    lengths w is a mean, for a given w a length is a projection.
    """
    start, end = np.asarray(base, np.float64), np.asarray(moved, np.float64)
    shift = (end - start).mean(0)
    for _ in range(ROUNDS):
        lengths = np.maximum(0, ((start + shift) * end).sum(1, keepdims=True))
        new = (lengths * end - start).mean(0)
        if np.abs(new - shift).max() < 1e-12:
            break
        shift = new
    return np.asarray(shift)


def left_over(
    base: Rows, moved: Rows, *, folds: int = 5, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(left, moved) (Q,): of each query the squared distance from normalise(base + w) to moved, and from base to moved.

    w is fitted on the queries of the other folds, so that a direction of many numbers cannot learn a few queries by
    heart; folds 1 fits it on all. `explained_share` is 1 - sum(left) / sum(moved). Raises BeholderError for fewer
    queries than folds, or than two.
    """
    start, end = np.asarray(base, np.float64), np.asarray(moved, np.float64)
    if len(start) < max(2, folds):
        raise BeholderError(f"{len(start)} queries", f"{max(2, folds)} at least", "Take more queries, or fewer folds.")
    fold_of = np.random.default_rng(seed).permutation(len(start)) % folds
    left = np.empty(len(start))
    for fold in range(folds):
        held = fold_of == fold
        fitted = ~held if folds > 1 else held
        shift = shift_of_texts(start[fitted], end[fitted])
        left[held] = np.square(shifted(start[held], shift, 1.0) - end[held]).sum(1)
    return left, np.square(end - start).sum(1)


def explained_share(left: Rows, moved: Rows) -> float:
    """How much of the way from base to tuned one shared vector goes, 1: all of it. Below 0 where it leads away; 0
    where nothing moved."""
    whole = float(moved.sum())
    return 1 - float(left.sum()) / whole if whole > 0 else 0.0
