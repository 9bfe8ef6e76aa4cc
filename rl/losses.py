"""The contrastive loss of pre-training: label-smoothed, symmetric, with several true partners where a label
repeats.

Pure: tensors in, a scalar out. Wen et al. 2024 (2406.09397), the pre-training loss. Deliberate differences:
the two directions are averaged, not summed, and the smoothed mass of a row is spread evenly over its true
partners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def smoothed_targets(keys: Tensor, smoothing: float) -> Tensor:
    """float32 (B, B), rows sum to 1: (1 - smoothing) shared by the columns with the row's key, smoothing by
    all B.

    `keys` is int64 (B,): rows with equal keys (two pictures of the same style) are true partners of each
    other.
    """
    same = (keys[:, None] == keys[None, :]).float()
    return (1 - smoothing) * same / same.sum(1, keepdim=True) + smoothing / len(keys)


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor | float, keys: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """A scalar: mean cross-entropy of picture -> text and text -> picture, averaged.

    `images` and `texts` are float (B, D), unit rows, row i a pair; `scale` (1 / temperature) multiplies the
    cosines; `keys` int64 (B,) says which rows share a label (default: none do); 0 <= smoothing < 1.
    """
    import torch

    logits = scale * images @ texts.T
    if keys is None:
        keys = torch.arange(len(images), device=images.device)
    targets = smoothed_targets(keys, smoothing)
    by_image = -(targets * logits.log_softmax(1)).sum(1).mean()
    by_text = -(targets * logits.T.log_softmax(1)).sum(1).mean()
    return (by_image + by_text) / 2
