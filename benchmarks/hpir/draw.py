"""Groups of pictures drawn from human scores, and pictures parted into train and test. Pure: a seed goes in."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Groups = list[tuple[Ints, Ints]]

TRIES = 200  # draws for each group that is wanted, before the gap is said to be too large
BLOCK = 4096  # draws at once


def draw_groups(scores: Floats, size: int, gap: float, count: int, seed: int) -> Groups:
    """`count` different pairs of groups of `size` rows of `scores` (N,), without a common row, whose means differ by at
    least `gap`, in random order. count 0: all pairs of single pictures.

    Raises BeholderError where there are not so many.
    """
    if size < 1 or gap < 0 or count < 0 or (count == 0 and size > 1):
        found = f"groups of {size}, gap {gap:g}, {count} items"
        raise BeholderError(found, "size from 1, gap from 0, and --items where a group has several pictures")
    if len(scores) < 2 * size:
        raise BeholderError(f"{len(scores)} pictures", f"{2 * size} for two groups of {size}", "Choose smaller groups.")
    generator = np.random.default_rng(seed)
    drawn = _pairs(scores, gap, count, generator) if size == 1 else _groups(scores, size, gap, count, generator)
    if not drawn or len(drawn) < count:
        found = f"{len(drawn)} of {count} items" if count else "no two pictures"
        raise BeholderError(
            f"{found} differ by {gap:g}", "a gap that scores have", "Choose a smaller --gap or --items."
        )
    return drawn


def _pairs(scores: Floats, gap: float, count: int, generator: np.random.Generator) -> Groups:
    first, second = np.triu_indices(len(scores), 1)
    distance = np.abs(scores[first] - scores[second])
    far = np.flatnonzero((distance >= gap) & (distance > 0))
    if count:
        far = np.sort(generator.permutation(far)[:count])
    turned = generator.random(len(far)) < 0.5  # A is not always the earlier picture
    a, b = np.where(turned, second[far], first[far]), np.where(turned, first[far], second[far])
    return [(np.array([one]), np.array([other])) for one, other in zip(a, b, strict=True)]


def _groups(scores: Floats, size: int, gap: float, count: int, generator: np.random.Generator) -> Groups:
    found: dict[frozenset[tuple[int, ...]], tuple[Ints, Ints]] = {}
    for _ in range(0, TRIES * count, BLOCK):
        rows = np.argsort(generator.random((BLOCK, len(scores))), axis=1)[:, : 2 * size]
        means = scores[rows].reshape(BLOCK, 2, size).mean(axis=2)
        distance = np.abs(means[:, 0] - means[:, 1])
        for draw in rows[(distance >= gap) & (distance > 0)]:
            a, b = np.sort(draw[:size]), np.sort(draw[size:])
            found.setdefault(frozenset((tuple(a.tolist()), tuple(b.tolist()))), (a, b))
            if len(found) == count:
                return list(found.values())
    return list(found.values())


def draw_share(names: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of the different names, at least one where there are any; the order they come in does not matter.

    Raises BeholderError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise BeholderError(f"a test share of {share:g}", "above 0, at most 1", "Correct --test-share.")
    ordered = sorted(set(names))
    count = min(len(ordered), max(1, round(share * len(ordered))))
    return {ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))[:count]}
