"""Pictures changed at random in training, as the paper ablates them (Wen et al. 2024, 2406.09397): seeded, off by
default, for colour jitter and erasing change the very thing that is labelled.

Constants are ours, the paper's are not public in readable form: those of torchvision, milder where they would change
what a picture is liked for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from retrieval.encoding.encoder import Encoder

AUGMENTATIONS = ("flip-crop", "auto-augment", "colour-jitter", "random-erase")  # in the order in which they are applied
CROP_AREA = (0.5, 1.0)  # share of the picture; torchvision's own 0.08 leaves scraps that no caption tells
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
ERASE_AREA = (0.02, 0.2)


def augmented(pixels: Tensor, kinds: Sequence[str], seeds: Sequence[Sequence[int]]) -> Tensor:
    """uint8 (B, S, S, 3) of the same: each picture by its own seed, whatever else is in the batch; the global generator
    stays as it was."""
    import numpy as np
    import torch

    change, changed = _change(tuple(kind for kind in AUGMENTATIONS if kind in kinds), int(pixels.shape[1])), []
    with torch.random.fork_rng(devices=[]):
        for picture, seed in zip(pixels, seeds, strict=True):
            torch.manual_seed(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
            changed.append(change(picture.permute(2, 0, 1)).permute(1, 2, 0))
    return torch.stack(changed)


@lru_cache(maxsize=4)
def _change(kinds: tuple[str, ...], size: int) -> Any:
    """A function of uint8 (3, S, S) to the same."""
    from torchvision.transforms import v2

    made: dict[str, Any] = {
        "flip-crop": v2.Compose(
            [v2.RandomResizedCrop(size, scale=CROP_AREA, antialias=True), v2.RandomHorizontalFlip()]
        ),
        "auto-augment": v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
        "colour-jitter": v2.ColorJitter(**JITTER),
        "random-erase": v2.RandomErasing(p=0.5, scale=ERASE_AREA, value=128),
    }
    return v2.Compose([made[kind] for kind in kinds])


class ImageReference:
    """A still copy of an encoder's image tower: with augmentation the reference must see what the policy sees, and its
    logits cannot be computed once."""

    def __init__(self, encoder: Encoder) -> None:
        self.preprocessing = encoder.preprocessing
        self.visual = copy.deepcopy(encoder.model.visual).eval().requires_grad_(False)

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 (N, D), unit rows, of uint8 (N, S, S, 3); no gradient."""
        import torch

        from rl.pixels import normalise

        with torch.no_grad():
            vectors = self.visual(normalise(pixels, self.preprocessing))
        return torch.nn.functional.normalize(vectors.float(), dim=-1)
