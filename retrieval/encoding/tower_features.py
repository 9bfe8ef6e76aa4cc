"""What an image tower holds of a picture between its blocks: layout and look, which its vector for words has let go."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .encoder import Encoder

PARTS = 3  # class token, mean and standard deviation of the patches


def tower_features(encoder: Encoder, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (B, 2 * PARTS * W) of uint8 (B, S, S, 3): class token, mean and standard deviation over the patches,
    after the middle block and after the last one with its norm; W is the tower's width.

    Raises BeholderError for an encoder whose image tower is not a Vision Transformer of timm.
    """
    import torch
    from timm.models.vision_transformer import VisionTransformer

    trunk: Any = getattr(encoder.model.visual, "trunk", None)
    if not isinstance(trunk, VisionTransformer) or trunk.num_prefix_tokens != 1:
        raise BeholderError(
            f"the image tower of {encoder.name} cannot be looked into",
            "a Vision Transformer of timm with one class token, as beholder-mini has",
            "Use --features vectors.",
        )
    middle = len(trunk.blocks) // 2 - 1
    with torch.inference_mode():
        last, found = trunk.forward_intermediates(
            encoder.normalised(pixels), indices=[middle], output_fmt="NLC", return_prefix_tokens=True
        )
        patches, prefix = found[0]
        tokens = torch.cat([prefix, patches], dim=1)
        parts = [part for states in (tokens, last) for part in _summary(states)]
        features: NDArray[np.float32] = torch.cat(parts, dim=1).float().cpu().numpy()
    return features


def _summary(tokens: Any) -> list[Any]:
    """Three (B, W) of tokens (B, 1 + patches, W)."""
    return [tokens[:, 0], tokens[:, 1:].mean(dim=1), tokens[:, 1:].std(dim=1)]
