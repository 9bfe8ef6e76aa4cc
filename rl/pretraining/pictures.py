"""A split read into memory: what the towers take for every picture and caption of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.encoding.encoder import Encoder
from rl.captions import Example
from rl.features import cache_name
from rl.pixels import decode_all

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pictures:
    """Pictures of a split as the towers take them: pixels (N, S, S, 3), token ids (C, T) of all different
    captions, the captions of each picture, and keys (N,) of what they share.
    """

    pixels: NDArray[np.uint8]
    tokens: Tensor
    captions_of: list[list[int]]
    keys: Tensor
    name: str


def read_pictures(
    encoder: Encoder, examples: Sequence[Example], cache: Path, split: str, say: Callable[[str], None]
) -> Pictures:
    """The pixels are decoded once, into a file of `cache`."""
    import torch

    numbers: dict[str, int] = {}
    captions_of = [[numbers.setdefault(caption, len(numbers)) for caption in e.captions] for e in examples]
    keys: dict[str, int] = {}
    shared = torch.tensor([keys.setdefault(example.key, len(keys)) for example in examples])
    say(f"{split}: {len(examples):,} pictures, {len(numbers):,} captions")
    pixels = decode_all([example.picture for example in examples], encoder.preprocessing, cache)
    tokens = torch.cat([encoder.tokenize(part) for part in _parts(list(numbers), 1024)])
    name = cache_name(split, [str(example.picture) for example in examples], list(numbers))
    return Pictures(pixels, tokens, captions_of, shared, name)


def _parts(texts: list[str], size: int) -> list[list[str]]:
    return [texts[at : at + size] for at in range(0, len(texts), size)]
