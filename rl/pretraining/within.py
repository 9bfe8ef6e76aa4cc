"""Labels of one source told apart among themselves: a step's batch gets parts that are contrasted apart from the rest.

In a batch of everything a style competes with captions of other pictures, and hardly with other styles; alone with
its like it does (docs/decisions/0005).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rl.losses import contrastive_loss

from .batches import Batch
from .config import PretrainConfig

if TYPE_CHECKING:
    from torch import Tensor

Part = tuple[slice, float]  # rows of a batch, and the weight of their loss
WHOLE_BATCH: tuple[Part, ...] = ((slice(None), 1.0),)


def add_sources(
    batch: Batch,
    step: int,
    config: PretrainConfig,
    *,
    captions_of: Sequence[Sequence[int]],
    counts: Sequence[int],
    world: int,
    stage: int,
) -> tuple[Batch, list[Part]]:
    """The batch of a step, followed by pictures of each source of `config.head_within`; the parts of the result.

    Drawn from numbers alone, as draw_batch does. Each part's size is a multiple of the processes, as the batch's is.
    """
    batches, parts = [batch], [(slice(0, len(batch.pictures)), 1.0)]
    names = [name for name, _ in config.shares()]
    for name, weight in config.within():
        source = names.index(name)
        size = min(config.within_batch, counts[source]) // world * world
        generator = np.random.default_rng((config.seed, stage, step, 0, 0, source))
        drawn = draw_within(captions_of, source, counts, size, batch.captions.shape[1], generator)
        first = parts[-1][0].stop
        batches.append(drawn)
        parts.append((slice(first, first + size), weight))
    return _joined(batches), parts


def draw_within(
    captions_of: Sequence[Sequence[int]],
    source: int,
    counts: Sequence[int],
    size: int,
    captions: int,
    generator: np.random.Generator,
) -> Batch:
    """`size` different pictures of one source, each whole, with one of its captions: the first of M has all the
    weight, so that the rows fit beside those of draw_batch."""
    pictures = sum(counts[:source]) + generator.choice(counts[source], size, replace=False)
    chosen = np.array([[generator.choice(captions_of[picture])] * captions for picture in pictures])
    weights = np.zeros((size, captions), np.float32)
    weights[:, 0] = 1
    return Batch(pictures, chosen, weights, np.tile(np.array([0, 0, 1, 1, 1], np.float32), (size, 1)))


def loss_of_parts(
    images: Tensor, texts: Tensor, scale: Tensor, keys: Tensor, smoothing: float, parts: Sequence[Part]
) -> Tensor:
    """A scalar: the weighted sum of the parts' contrastive losses, each among its own rows alone."""
    import torch

    losses = [
        weight * contrastive_loss(images[rows], texts[rows], scale, keys[rows], smoothing) for rows, weight in parts
    ]
    return torch.stack(losses).sum()


def _joined(batches: Sequence[Batch]) -> Batch:
    return Batch(
        np.concatenate([batch.pictures for batch in batches]),
        np.concatenate([batch.captions for batch in batches]),
        np.concatenate([batch.weights for batch in batches]),
        np.concatenate([batch.boxes for batch in batches]),
    )
