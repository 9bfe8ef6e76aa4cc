"""What the frozen parts of the towers give for a split, from files that are made the first time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rl.features import cache_name, compute_once
from rl.towers import Towers

from .pictures import Pictures

if TYPE_CHECKING:
    from torch import Tensor


class Frozen:
    """States and features under the weights whose file has the digest `start`."""

    def __init__(self, towers: Towers, start: str, cache: Path, say: Callable[[str], None]) -> None:
        self.towers, self.start, self.cache, self.say = towers, start, cache, say
        self.device = towers.encoder.device

    def states(self, pictures: Pictures, split: str, mirrored: bool) -> NDArray[np.float16]:
        """float16 (N, tokens, width) after the frozen blocks."""
        import torch

        def forward(rows: slice) -> Tensor:
            pixels = torch.from_numpy(np.array(pictures.pixels[rows])).to(self.device)
            return self.towers.image_states(pixels.flip(2) if mirrored else pixels)

        self.towers.model.eval()
        name = cache_name("states", self.start, pictures.name, self.towers.frozen_blocks, mirrored)
        side = "mirrored states" if mirrored else "states"
        return compute_once(self.cache / name, len(pictures.pixels), forward, self._counter(f"{split} {side}"))

    def image_features(self, pictures: Pictures, split: str) -> Tensor:
        import torch

        states = self.states(pictures, split, False) if self.towers.frozen_blocks else None

        def forward(rows: slice) -> Tensor:
            if states is not None:
                return self.towers.image_features(torch.from_numpy(np.array(states[rows])).to(self.device).float())
            return self.towers.image_features(
                self.towers.image_states(torch.from_numpy(np.array(pictures.pixels[rows])).to(self.device))
            )

        path = self.cache / cache_name("pictures", self.start, pictures.name)
        count = len(pictures.pixels)
        return torch.from_numpy(
            np.array(compute_once(path, count, forward, self._counter(f"{split} pictures")))
        ).float()

    def text_features(self, pictures: Pictures, split: str) -> Tensor:
        """float (C, F). Captions go through by length, which saves half of the padding's time."""
        import torch

        tokens = pictures.tokens
        order = tokens.ne(0).sum(1).argsort(stable=True)

        def forward(rows: slice) -> Tensor:
            return self.towers.text_features(tokens[order[rows]].to(self.device))

        path = self.cache / cache_name("captions", self.start, pictures.name)
        by_length = torch.from_numpy(
            np.array(compute_once(path, len(tokens), forward, self._counter(f"{split} captions")))
        )
        features = torch.empty_like(by_length)
        features[order] = by_length
        return features.float()

    def _counter(self, what: str) -> Callable[[int, int], None]:
        last = [time.perf_counter()]

        def progress(done: int, total: int) -> None:
            if done == total or time.perf_counter() - last[0] > 10:
                last[0] = time.perf_counter()
                self.say(f"{what}: {done:,}/{total:,}")

        return progress
