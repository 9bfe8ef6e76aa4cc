"""From a re-ranked list to preferences: the strided u x v grid of the paper, its pairs and chains, and what any set of
preferences must satisfy.

Wen et al. 2024 (2406.09397): pictures are taken at intervals from the re-ranked list and arranged in a matrix; along a
row they are ordered by aesthetics, from row to row by semantics, and pairs are read off both orders. The sizes and
which pairs count are not public in readable form; "rows-then-columns" is our reading, the others are variants. A pair
of one row may go against semantics and one of two rows against aesthetics: two teachers are meant to be heard.

Pure. Cells of a grid are numbered along its rows: cell r * v + c.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

Variant = Literal["rows-then-columns", "product", "rows"]
VARIANTS: tuple[str, ...] = get_args(Variant)


def needed(u: int, v: int, stride: int) -> int:
    """Length of the list that a grid is taken from."""
    return 1 + (u * v - 1) * stride


def grid(aesthetics: NDArray[np.floating], u: int, v: int, stride: int) -> NDArray[np.int64] | None:
    """(u, v) places in a list of `aesthetics` (K,) that is ordered best first by the mix of both teachers; None where
    K < needed(u, v, stride).

    Places 0, stride, 2 stride ... fill the rows in order, so all of a row precede the next one in the list; within a
    row the more beautiful come first, equal ones in the list's order. Raises BeholderError for sizes below 1 and for
    scores that are NaN.
    """
    if min(u, v, stride) < 1:
        raise BeholderError(f"u, v, stride = {u}, {v}, {stride}", "1 or more each")
    if np.isnan(aesthetics).any():
        raise BeholderError(f"{int(np.isnan(aesthetics).sum())} aesthetic scores are NaN", "a number for each picture")
    if len(aesthetics) < needed(u, v, stride):
        return None
    rows = (np.arange(u * v) * stride).reshape(u, v)
    order = np.argsort(-aesthetics[rows], axis=1, kind="stable")
    return np.take_along_axis(rows, order, 1)


def grid_prefer(u: int, v: int, variant: Variant = "rows-then-columns") -> NDArray[np.bool_]:
    """bool (u v, u v): whether cell i is preferred to cell j.

    rows: earlier in the same row, u C(v, 2) pairs. rows-then-columns: these, and earlier in the same column, v C(u, 2)
    more. product: no later in row and column and not the same cell, C(u+1, 2) C(v+1, 2) - u v pairs, which is the
    transitive closure of the second.
    """
    rows, columns = np.divmod(np.arange(u * v), v)
    above, left = rows[:, None] < rows[None, :], columns[:, None] < columns[None, :]
    same_row, same_column = rows[:, None] == rows[None, :], columns[:, None] == columns[None, :]
    pairs: dict[str, NDArray[np.bool_]] = {
        "rows": same_row & left,
        "rows-then-columns": (same_row & left) | (same_column & above),
        "product": (above | same_row) & (left | same_column) & ~(same_row & same_column),
    }
    if variant in pairs:
        return pairs[variant]
    raise BeholderError(f"pairs {variant!r}", f"one of {', '.join(VARIANTS)}")


def grid_chains(u: int, v: int, variant: Variant = "rows-then-columns") -> list[list[int]]:
    """The rows of a grid, and its columns where they count: cells best first, each a total order. For Plackett-Luce,
    which needs one; of a product order they are the longest that are read off its sides."""
    cells = np.arange(u * v).reshape(u, v)
    rows = cells.tolist()
    return [chain for chain in (rows if variant == "rows" else rows + cells.T.tolist()) if len(chain) > 1]


def level_prefer(levels: NDArray[np.floating], gap: float = 0.0) -> NDArray[np.bool_]:
    """bool (L, L): whether i's level (L,) is above j's by more than `gap`; equal ones are tied. NaN: no preference."""
    with np.errstate(invalid="ignore"):
        return np.asarray(levels[:, None] - levels[None, :] > gap)


def level_chain(levels: NDArray[np.floating]) -> list[list[int]]:
    """One chain of all pictures by falling level, where no two are equal; none otherwise."""
    known = np.asarray(levels, np.float64)
    if np.isnan(known).any() or len(np.unique(known)) < len(known) or len(known) < 2:
        return []
    return [np.argsort(-known).tolist()]


def check_order(prefer: NDArray[np.bool_], what: str) -> None:
    """Raises BeholderError unless the preferences (L, L) have no picture above itself, by any way round."""
    left = np.arange(len(prefer))
    part = prefer
    while len(left):
        free = ~(part.any(axis=0) & part.any(axis=1))  # at an end of what is left
        if not free.any():
            raise BeholderError(f"{what} prefers {len(left)} pictures to each other in a circle", "an order")
        left, part = left[~free], part[np.ix_(~free, ~free)]


def pairs_of(prefer: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """(better, worse): the places of every pair, rising."""
    better, worse = np.nonzero(prefer)
    return better.tolist(), worse.tolist()


def prefer_of(better: Sequence[int], worse: Sequence[int], size: int) -> NDArray[np.bool_]:
    """The matrix (size, size) of pairs. The inverse of `pairs_of`."""
    prefer = np.zeros((size, size), bool)
    prefer[list(better), list(worse)] = True
    return prefer
