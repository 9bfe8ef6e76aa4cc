"""What a training step uses, drawn from (seed, stage, step) alone: resuming needs no generator's state, and
processes that share a batch draw the same whole batch and take their slices of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl.pixels import crop_boxes


@dataclass(frozen=True)
class Batch:
    """B pictures by number, M captions of each by number with weights of sum 1, crop boxes."""

    pictures: NDArray[np.int64]  # (B,)
    captions: NDArray[np.int64]  # (B, M)
    weights: NDArray[np.float32]  # (B, M)
    boxes: NDArray[np.float32]  # (B, 5), see pixels.crop_boxes

    def part(self, rows: slice) -> "Batch":
        return Batch(self.pictures[rows], self.captions[rows], self.weights[rows], self.boxes[rows])


def steps_per_epoch(pictures: int, batch: int) -> int:
    """Whole batches; a set smaller than a batch is one batch of all of it."""
    return max(1, pictures // batch)


def shown_of(counts: Sequence[int], shares: Sequence[float]) -> int:
    """How many pictures an epoch shows."""
    return sum(round(count * share) for count, share in zip(counts, shares, strict=True))


def epoch_order(
    counts: Sequence[int], shares: Sequence[float], epoch: int, *, seed: int, stage: int
) -> NDArray[np.int64]:
    """The pictures of an epoch in random order: of each source's counts[i] pictures the share shares[i] in (0, 1].

    Pictures of a source lie one after another, sources in order. A share walks through the source from epoch to epoch,
    so that after 1 / share epochs each picture was seen once.
    """
    shown, first = [], 0
    for source, (count, share) in enumerate(zip(counts, shares, strict=True)):
        size = round(count * share)
        fixed = np.random.default_rng((seed, stage, 0, 0, source)).permutation(count)
        shown.append(first + fixed[(epoch * size + np.arange(size)) % count])
        first += count
    return np.random.default_rng((seed, stage, epoch)).permutation(np.concatenate(shown))


def draw_batch(
    captions_of: Sequence[Sequence[int]],
    step: int,
    *,
    counts: Sequence[int],
    shares: Sequence[float],
    batch: int,
    captions: int,
    mixing: float,
    min_crop_area: float,
    flip: bool,
    seed: int,
    stage: int,
) -> Batch:
    """The batch of a step (counted from 0 over all epochs): every epoch is another order, see epoch_order."""
    per_epoch = steps_per_epoch(shown_of(counts, shares), batch)
    epoch, place = divmod(step, per_epoch)
    order = epoch_order(counts, shares, epoch, seed=seed, stage=stage)
    pictures = order[place * batch : (place + 1) * batch]
    generator = np.random.default_rng((seed, stage, epoch, place + 1))
    chosen = np.empty((len(pictures), captions), np.int64)
    for row, picture in enumerate(pictures):
        said = captions_of[picture]
        chosen[row] = generator.choice(said, captions, replace=len(said) < captions)
    weights = generator.dirichlet([mixing] * captions, len(pictures)).astype(np.float32)
    return Batch(pictures, chosen, weights, crop_boxes(generator, len(pictures), min_crop_area, flip))
