"""What the frozen lower blocks of an image tower give for the pictures of an alignment run, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.encoding.encoder import Encoder
from rl.features import cache_name, compute_once

from .model import AlignModel
from .pictures import Gallery, Say

if TYPE_CHECKING:
    from torch import Tensor


def picture_states(gallery: Gallery, model: AlignModel, encoder: Encoder, cache: Path, say: Say) -> NDArray[np.float16]:
    """float16 (N, tokens, width) in the gallery's order, after the blocks that stay.

    Kept in the order of the pictures' names: runs over the same pictures find it again, whatever their lists.
    """
    import torch

    names = gallery.names()
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    blocks = model.towers.frozen_blocks
    path = cache / cache_name("states", encoder.record.image_fingerprint, blocks, sorted(names))
    pixels: NDArray[np.uint8] | None = None
    if not path.is_file():
        pixels = gallery.pixels(encoder, say)
        say(f"{blocks} blocks of the image tower are frozen: reading {len(names):,} pictures once")
    device = next(model.parameters()).device
    model.eval()

    def forward(rows: slice) -> Tensor:
        if pixels is None:
            raise ValueError("the file of states has gone")
        return model.towers.image_states(torch.from_numpy(np.array(pixels[order[rows]])).to(device))

    kept = compute_once(path, len(names), forward)
    states: NDArray[np.float16] = np.array(kept)[np.argsort(order)]
    return states
