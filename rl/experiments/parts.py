"""An encoder's frozen parts computed once, so that many weights of what lies above them are measured quickly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from rl.features import FORWARD, cache_name, compute_once, texts_once
from rl.pixels import decode_all
from rl.towers import Towers

if TYPE_CHECKING:
    from torch import Tensor

Rows = NDArray[np.float32]
BLOCK = re.compile(r"visual\.trunk\.blocks\.(\d+)\.")


class Parts:
    """Text features under a frozen text tower, picture states after `frozen_blocks` blocks, of the encoder as it is
    when they are first asked for; `use` then puts other weights into the model."""

    def __init__(self, encoder: Encoder, frozen_blocks: int, cache: Path) -> None:
        self.encoder, self.cache = encoder, cache
        self.towers = Towers(encoder, frozen_blocks)
        self._prints = encoder.record.text_fingerprint, encoder.record.image_fingerprint
        self.base: dict[str, Tensor] = {name: one.clone() for name, one in encoder.model.state_dict().items()}

    def texts(self, texts: Sequence[str]) -> Tensor:
        """float32 (T, F)."""
        path = self.cache / cache_name("texts", self._prints[0], list(texts))
        return texts_once(path, self.encoder.tokenize(texts), self.towers.text_features)

    def pictures(self, files: Sequence[Path]) -> NDArray[np.float16]:
        """float16 (N, tokens, width)."""
        import torch

        path = self.cache / cache_name(
            "states", self._prints[1], self.towers.frozen_blocks, [str(one) for one in files]
        )
        pixels = None if path.is_file() else decode_all(files, self.encoder.preprocessing, self.cache)

        def forward(rows: slice) -> Tensor:
            if pixels is None:
                raise ValueError("the file of states has gone")
            return self.towers.image_states(torch.from_numpy(np.array(pixels[rows])))

        return compute_once(path, len(files), forward)

    def holds(self, state: Mapping[str, Tensor]) -> bool:
        """Whether weights differ from the base's only above what was computed once."""
        changed = [name for name, one in self.base.items() if not one.equal(state[name].to(one.dtype))]
        return all(self._above(name) for name in changed)

    def _above(self, name: str) -> bool:
        if name.startswith(("text.proj.", "visual.head.", "visual.trunk.norm.")):
            return True
        block = BLOCK.match(name)
        return block is not None and int(block.group(1)) >= self.towers.frozen_blocks

    def use(self, state: Mapping[str, Tensor]) -> None:
        self.encoder.model.load_state_dict(state)
        self.encoder.model.eval()

    def seen_by(self, encoder: Encoder, files: Sequence[Path]) -> Rows:
        """float32 (N, D), unit rows, of pictures by `encoder`. Raises BeholderError where more of it was tuned."""
        state = encoder.model.state_dict()
        if not self.holds(state):
            below = f"{encoder.name} differs below block {self.towers.frozen_blocks}"
            raise BeholderError(below, "the base's own blocks", "Lower --frozen-blocks.")
        self.use(state)
        return self.picture_vectors(self.pictures(files))

    def text_vectors(self, features: Tensor) -> Rows:
        """float32 (T, D), unit rows, by the weights in use."""
        import torch

        with torch.inference_mode():
            rows = torch.nn.functional.normalize(self.towers.text_head(features).float(), dim=-1)
        found: Rows = rows.numpy()
        return found

    def picture_vectors(self, states: NDArray[np.float16]) -> Rows:
        """float32 (N, D), unit rows, by the weights in use."""
        import torch

        parts = []
        with torch.inference_mode():
            for at in range(0, len(states), FORWARD):
                some = torch.from_numpy(np.array(states[at : at + FORWARD])).float()
                seen = self.towers.image_head(self.towers.image_features(some)).float()
                parts.append(torch.nn.functional.normalize(seen, dim=-1))
        found: Rows = torch.cat(parts).numpy()
        return found
