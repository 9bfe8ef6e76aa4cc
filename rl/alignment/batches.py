"""Which examples a step holds, and their tensors.

Everything is drawn from (seed, place in the run) alone, so that resuming, micro-batches and processes change nothing
of what a step holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder

from .augment import augmented
from .config import AlignConfig
from .data import CAPTIONS, LISTS, PICTURES, WORDS, AlignData, RankedList

if TYPE_CHECKING:
    from torch import Tensor

    from .anchors import Anchors, Rows

Place = tuple[int, list[tuple[int, int]], int]


class Plan:
    """The examples of a run in order: place n belongs to step n // queries. A map-style dataset of steps * queries."""

    def __init__(self, config: AlignConfig, data: AlignData) -> None:
        self.config, self.lists, self.captioned = config, len(data.train), data.captioned
        self.beside = config.contrastive_batch // config.queries if config.uses_captions else 0
        if self.beside and len(self.captioned) < config.contrastive_batch:
            found = f"{len(self.captioned)} captioned pictures"
            raise BeholderError(found, f"at least --contrastive-batch {config.contrastive_batch}", "Lower it.")
        self._order = lru_cache(maxsize=4)(self._permutation)

    def __len__(self) -> int:
        return self.config.steps * self.config.queries

    def __getitem__(self, place: int) -> Place:
        """The number of a list; (captioned picture, text) pairs beside it; the step."""
        epoch, row = divmod(place, self.lists)
        generator = np.random.default_rng((self.config.seed, WORDS, place))
        beside = []
        # Whole steps of an epoch only, so that no picture meets itself in a batch
        per_epoch = len(self.captioned) // max(1, self.config.contrastive_batch) * self.config.contrastive_batch
        for at in range(place * self.beside, (place + 1) * self.beside):
            turn, seat = divmod(at, per_epoch)
            example = int(self._order(CAPTIONS, turn, len(self.captioned))[seat])
            said = self.captioned[example].captions
            beside.append((example, said[int(generator.integers(0, len(said)))]))  # the draw of `choice`, quicker
        return int(self._order(LISTS, epoch, self.lists)[row]), beside, place // self.config.queries

    def _permutation(self, stream: int, epoch: int, size: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.config.seed, stream, epoch)).permutation(size)


@dataclass(frozen=True)
class Augment:
    """What is done to pictures."""

    kinds: tuple[str, ...]
    seed: int


class Collator:
    """Places of a plan to the tensors of a (micro-)batch.

    `texts` is LongTensor (T, context) of token ids, or float (T, F) of features where the text tower is frozen;
    `pictures` float (N, D) vectors, or uint8 (N, S, S, 3) pixels where the image tower trains. The batch holds
    texts (B + C, ...), queries first; pictures of the lists, of which list_pictures (B, L) are the places, then those
    of the C captions; prefer (B, L, L), levels (B, L), chains (B, c, n), reference (B, L) logits; keys (C,); labels
    (B,), which count queries for the trainer (-100: a query without pairs); with anchors, anchor_texts and
    anchor_pictures (C, D), each for a tower that trains; where `queries` are given, base_queries (B, D), from which the
    reference's logits follow for whatever pictures there are.
    """

    def __init__(
        self,
        data: AlignData,
        texts: Tensor,
        pictures: NDArray[Any],
        reference: list[NDArray[np.float32]],
        anchors: Anchors | None = None,
        augment: Augment | None = None,
        queries: Rows | None = None,
        *,
        once: bool,
    ) -> None:
        self.data, self.texts, self.pictures, self.reference = data, texts, pictures, reference
        self.anchors, self.augment, self.queries = anchors, augment, queries
        self.once = once  # each picture of a batch once: pixels are dear, vectors are not

    def __call__(self, places: Sequence[Place]) -> dict[str, Tensor]:
        import torch

        lists = [self.data.train[number] for number, _, _ in places]
        beside = [pair for _, pairs, _ in places for pair in pairs]
        captioned = [self.data.captioned[example] for example, _ in beside]
        batch = padded(lists)
        rows = np.concatenate([batch.pop("rows").ravel(), np.array([one.picture for one in captioned], np.int64)])
        if self.once:
            rows, seats = np.unique(rows, return_inverse=True)
        else:
            seats = np.arange(len(rows))
        size = batch["prefer"].shape[:2]
        length = size[1]
        reference = np.zeros(size, np.float32)
        for row, (number, _, _) in enumerate(places):
            reference[row, : len(self.reference[number])] = self.reference[number]
        texts = np.array([one.query for one in lists] + [text for _, text in beside], np.int64)
        split = len(lists) * length
        batch["list_pictures"] = seats[:split].reshape(size)
        batch["caption_pictures"] = seats[split:]
        batch["reference"] = reference
        batch["keys"] = np.array([one.key for one in captioned], np.int64)
        batch["labels"] = np.where(batch["prefer"].any((1, 2)), 1, -100)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()}
        tensors["texts"] = self.texts[torch.from_numpy(texts)]
        tensors["pictures"] = torch.from_numpy(np.array(self.pictures[rows]))
        if self.anchors is not None:
            said = [text for _, text in beside]
            tensors |= self.anchors.of(said, [one.picture for one in captioned])
        if self.augment is not None:
            step = places[0][2]
            seeds = [(self.augment.seed, PICTURES, step, int(row)) for row in rows]
            tensors["pictures"] = augmented(tensors["pictures"], self.augment.kinds, seeds)
        if self.queries is not None:
            tensors["base_queries"] = self.queries.of([one.reference for one in lists])
        return tensors


def padded(lists: Sequence[RankedList]) -> dict[str, NDArray[Any]]:
    """rows, levels (B, L), prefer (B, L, L), chains (B, c, n; -1 after the end) of lists; padding has no preference."""
    size, length = len(lists), max(len(one.pictures) for one in lists)
    chains = max(1, max(len(one.chains) for one in lists))
    longest = max([2, *(len(chain) for one in lists for chain in one.chains)])
    rows, levels = np.zeros((size, length), np.int64), np.zeros((size, length), np.float32)
    prefer = np.zeros((size, length, length), bool)
    places = np.full((size, chains, longest), -1, np.int64)
    for row, one in enumerate(lists):
        count = len(one.pictures)
        rows[row, :count], levels[row, :count], prefer[row, :count, :count] = one.pictures, one.levels, one.prefer
        for number, chain in enumerate(one.chains):
            places[row, number, : len(chain)] = chain
    return {"rows": rows, "levels": levels, "prefer": prefer, "chains": places}


def tokens_of(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """LongTensor (T, context)."""
    import torch

    return torch.cat([encoder.tokenize(texts[at : at + 1024]) for at in range(0, len(texts), 1024)])
