"""Preference lists from a teacher's scores over a whole gallery: pictures from its top, its middle and the rest.

Pairs are those that the teacher tells clearly: at least `gap` places apart. Pictures that are the same file count once.
Drawn from (seed, the list's number) alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from rl.preferences import PreferenceList


@dataclass(frozen=True)
class Tiers:
    """How many pictures of a list come from the first `ends[0]` places, from those up to `ends[1]`, from the rest."""

    taken: tuple[int, int, int] = (10, 7, 7)
    ends: tuple[int, int] = (32, 200)
    gap: int = 16  # places that a pair is apart, at least

    def __post_init__(self) -> None:
        first, second = self.ends
        if not (0 < first < second) or min(self.taken) < 0 or self.taken[0] > first or self.taken[1] > second - first:
            raise BeholderError(
                f"{self.taken} pictures of tiers that end at {self.ends}", "tiers that hold them", "Change the tiers."
            )


def tiered_lists(
    queries: Sequence[str],
    scores: NDArray[np.floating[Any]],
    sha256s: Sequence[str],
    tiers: Tiers,
    *,
    draws: int,
    seed: int,
    provenance: dict[str, Any],
) -> Iterator[PreferenceList]:
    """`draws` lists for each of the queries (Q,) by scores (Q, N) of pictures (N,), higher is better.

    Raises BeholderError where the gallery is no larger than the upper tiers.
    """
    names, first = np.unique(np.array(sha256s), return_index=True)
    if len(names) < tiers.ends[1] + tiers.taken[2]:
        raise BeholderError(f"{len(names)} pictures", f"more than {tiers.ends[1] + tiers.taken[2]}", "Name more.")
    for number, query in enumerate(queries):
        order = np.argsort(-scores[number, first], kind="stable")
        for draw in range(draws):
            generator = np.random.default_rng((seed, number, draw))
            places = drawn_places(tiers, len(names), generator)
            better, worse = np.nonzero(places[None, :] - places[:, None] >= tiers.gap)
            yield PreferenceList(
                query,
                tuple(str(names[order[place]]) for place in places),
                tuple(better.tolist()),
                tuple(worse.tolist()),
                levels=tuple((-places).astype(float).tolist()),
                provenance={**provenance, "draw": draw, "places": places.tolist()},
            )


def drawn_places(tiers: Tiers, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Places (L,) in an order of `size` pictures, rising."""
    starts, ends = (0, *tiers.ends), (*tiers.ends, size)
    parts = [
        start + generator.choice(end - start, count, replace=False)
        for start, end, count in zip(starts, ends, tiers.taken, strict=True)
    ]
    return np.sort(np.concatenate(parts)).astype(np.int64)
