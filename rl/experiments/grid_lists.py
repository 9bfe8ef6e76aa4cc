"""Preference lists of the cascade over a gallery in memory: what rl/lists/cascade.py makes of an index, for experiments
that make many tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from rl.grids import Variant, grid, grid_chains, grid_prefer, needed, pairs_of
from rl.lists.cascade import mixed
from rl.preferences import PreferenceList

AT_ONCE = 256


@dataclass(frozen=True)
class Grid:
    """How lists are made; fields as those of rl.lists.cascade.CascadeConfig."""

    u: int = 5
    v: int = 5
    stride: int = 10
    depth: int = 0
    mix: float = 0.5
    variant: Variant = "rows-then-columns"

    @property
    def needed(self) -> int:
        return self.depth or needed(self.u, self.v, self.stride)


def grid_lists(
    texts: Sequence[str],
    queries: NDArray[np.floating[Any]],
    vectors: NDArray[np.floating[Any]],
    sha256s: Sequence[str],
    beauty: NDArray[np.floating[Any]],
    chosen: Grid,
) -> Iterator[PreferenceList]:
    """A list for each query: texts (Q), their vectors (Q, D) for the teacher, pictures (N, D) with beauty (N,).

    The text is what the student is given; the teacher's vector may be of another one. Copies are taken once. Levels,
    for losses that take them, fall by a half with each row and column. Raises BeholderError for too few pictures.
    """
    first = np.sort(np.unique(np.asarray(sha256s), return_index=True)[1])
    if len(first) < chosen.needed:
        raise BeholderError(f"{len(first)} pictures", f"{chosen.needed} for this grid", "Lower the stride.")
    names, rows, known = np.asarray(sha256s)[first], np.asarray(vectors)[first], np.asarray(beauty)[first]
    better, worse = pairs_of(grid_prefer(chosen.u, chosen.v, chosen.variant))
    levels = tuple(
        (chosen.u + chosen.v - 2 - row - column) / 2 for row in range(chosen.u) for column in range(chosen.v)
    )
    chains = tuple(tuple(chain) for chain in grid_chains(chosen.u, chosen.v, chosen.variant))
    for start in range(0, len(texts), AT_ONCE):
        scores = np.asarray(queries[start : start + AT_ONCE]) @ rows.T
        for text, row in zip(texts[start : start + AT_ONCE], scores, strict=True):
            top = np.argsort(-row, kind="stable")[: chosen.needed]
            order = top[np.argsort(-mixed(row[top], known[top], chosen.mix), kind="stable")]
            cells = grid(known[order], chosen.u, chosen.v, chosen.stride)
            if cells is None:  # cannot be: there are as many as are needed
                raise BeholderError(f"{len(order)} pictures", f"{chosen.needed}")
            picked = order[cells.reshape(-1)]
            yield PreferenceList(
                text, tuple(names[picked].tolist()), tuple(better), tuple(worse), chains, levels, {"from": "grid"}
            )
