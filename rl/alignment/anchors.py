"""Where the base has what must be kept: its vectors of the captioned texts and pictures, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexes.records.shards import EncoderRecord
from rl.features import cache_name, compute_once, texts_once

from .config import AlignConfig
from .data import AlignData

if TYPE_CHECKING:
    from torch import Tensor

    from .model import AlignModel
    from .retention import Measure


@dataclass(frozen=True)
class Rows:
    """Vectors (n, D) of some numbers (n,), which rise."""

    numbers: NDArray[np.int64]
    vectors: Tensor

    def of(self, numbers: Sequence[int]) -> Tensor:
        """float32 (m, D)."""
        import torch

        return self.vectors[torch.from_numpy(np.searchsorted(self.numbers, np.asarray(numbers, np.int64)))]


@dataclass(frozen=True)
class Anchors:
    """The base's vectors of captions by number, of their pictures by row; None where they are not asked for."""

    texts: Rows | None
    pictures: Rows | None

    def of(self, texts: Sequence[int], pictures: Sequence[int]) -> dict[str, Tensor]:
        found = {} if self.texts is None else {"anchor_texts": self.texts.of(texts)}
        return found if self.pictures is None else {**found, "anchor_pictures": self.pictures.of(pictures)}


def base_anchors(
    config: AlignConfig,
    data: AlignData,
    measure: Measure,
    model: AlignModel,
    record: EncoderRecord,
    cache: Path,
    say: Callable[[str], None],
) -> Anchors:
    """By the model as it is now, the base `record`; kept in `cache`."""
    import torch

    device = next(model.parameters()).device
    texts = pictures = None
    if config.trains_text and config.anchor_weight:
        numbers = np.unique([text for one in data.captioned for text in one.captions]).astype(np.int64)
        path = cache / cache_name("anchors", record.text_fingerprint, [data.texts[number] for number in numbers])
        if not path.is_file():
            say(f"the anchor: reading {len(numbers):,} captions once by the base")
        tokens = measure.texts[torch.from_numpy(numbers)]
        texts = Rows(numbers, texts_once(path, tokens, lambda some: model.eval().text_vectors(some.to(device))))
    if config.trains_image:
        numbers = np.unique([one.picture for one in data.captioned]).astype(np.int64)
        names = data.gallery.names()
        path = cache / cache_name("anchors", record.image_fingerprint, [names[row] for row in numbers])
        if not path.is_file():
            say(f"the anchor: reading {len(numbers):,} pictures once by the base")
        kept = compute_once(
            path, len(numbers), lambda rows: torch.from_numpy(measure.picture_vectors(model, numbers[rows]))
        )
        pictures = Rows(numbers, torch.from_numpy(np.array(kept)).float())
    return Anchors(texts, pictures)
