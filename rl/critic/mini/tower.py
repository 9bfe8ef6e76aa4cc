"""timm's ViT as transformers' ViTModel, that LLaVA can hold: same numbers under other names.

The embeddings of places are resampled for another picture size here, once, as ViTModel does it only when asked to at
every call, and LLaVA does not ask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from indexes.errors import BeholderError, FormatError
from retrieval.scoring.own_heads import BOX

Tensors = Mapping[str, torch.Tensor]
PREFIX = "visual.trunk."  # of the image tower in open_clip's files
BOXED = "open_clip_model.safetensors"


def read_tower(name: str) -> dict[str, torch.Tensor]:
    """float32 tensors of a ViT by timm's names: of an encoder in the box, or of a file. Raises BeholderError for a name
    that is neither; FormatError for a file without a ViT."""
    from safetensors.torch import load_file

    path = BOX / name / BOXED if (BOX / name / BOXED).is_file() else Path(name)
    if not path.is_file():
        raise BeholderError(f"there is no tower {name!r}", "an encoder in the box, or a .safetensors file", "Check it.")
    tensors = load_file(str(path))
    own = {key.removeprefix(PREFIX): value.float() for key, value in tensors.items() if key.startswith(PREFIX)}
    found = own or {key: value.float() for key, value in tensors.items()}
    if not {"pos_embed", "cls_token", "patch_embed.proj.weight", "norm.weight"} <= set(found):
        raise FormatError(f"{path} holds no ViT", "tensors by timm's names", "Check the file.")
    return found


def convert_tower(tensors: Tensors, side: int, heads: int) -> tuple[Any, dict[str, torch.Tensor]]:
    """(ViTConfig, state of a ViTModel without a pooling layer) for pictures of side x side pixels."""
    from transformers import ViTConfig

    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    config = ViTConfig(
        hidden_size=width,
        intermediate_size=tensors["blocks.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=depth,
        num_attention_heads=heads,
        image_size=side,
        patch_size=patch,
        layer_norm_eps=1e-6,  # timm's
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    state = {
        "embeddings.cls_token": tensors["cls_token"],
        "embeddings.position_embeddings": resample(tensors["pos_embed"], side // patch),
    }
    for part in ("weight", "bias"):
        state[f"embeddings.patch_embeddings.projection.{part}"] = tensors[f"patch_embed.proj.{part}"]
        state[f"layernorm.{part}"] = tensors[f"norm.{part}"]
        for place in range(depth):
            theirs, ours = f"blocks.{place}", f"layers.{place}"
            for name, value in zip("qkv", tensors[f"{theirs}.attn.qkv.{part}"].chunk(3), strict=True):
                state[f"{ours}.attention.{name}_proj.{part}"] = value.clone()
            for theirs_of, ours_of in NAMES.items():
                state[f"{ours}.{ours_of}.{part}"] = tensors[f"{theirs}.{theirs_of}.{part}"]
    return config, state


NAMES = {
    "attn.proj": "attention.o_proj",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def resample(places: torch.Tensor, across: int) -> torch.Tensor:
    """(1, 1 + across^2, D) embeddings of places from those (1, 1 + N^2, D) of another grid, the first token's kept;
    bicubic with antialiasing, as timm does it."""
    old = math.isqrt(places.shape[1] - 1)
    if old == across:
        return places
    grid = places[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(across, across), mode="bicubic", antialias=True)
    return torch.cat([places[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
