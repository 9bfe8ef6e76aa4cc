"""Groups as tensors: the pictures once, and behind them all texts side by side, which see the pictures and not each
other. To each text it is as if it stood alone behind the pictures, as it does when the critic is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .model import ANSWER, ASK, BEGIN, END, IMAGE, PAD, SEEN
from .texts import Group

NOTHING = -100  # no target
FEW = "compare", "better", "style", "object", "depiction"  # answers of one word that matters


@dataclass(frozen=True)
class Packed:
    """`ids`, `positions`, `targets` and `text` (which text of all a target belongs to; -1: none) are (B, L) int64,
    `mask` is (B, 1, L, L) bool: who sees whom. `seen` (pictures, 2): row and place of the token behind each picture;
    `pairs` (P, 2): which two of these are shown together. `weights` (texts,): how much an answer counts; `asked`
    (texts, 2): row and place of the token that it is said behind; `aims` (texts,): what it follows from, or NaN.
    A target is the token *at* its place; what comes before it must foretell it."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor
    text: torch.Tensor
    seen: torch.Tensor
    pairs: torch.Tensor
    weights: torch.Tensor
    asked: torch.Tensor
    aims: torch.Tensor

    def to(self, device: str) -> Packed:
        return Packed(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class Packer:
    """Packs groups for one tokenizer and number of tokens of a picture."""

    def __init__(self, tokenizer: Any, tokens: int, drop: float = 0.0, emphasis: float = 1.0) -> None:
        self.tokens, self.drop, self.emphasis = tokens, drop, emphasis
        names = (BEGIN, END, PAD, IMAGE, SEEN, ASK, ANSWER)
        self.begin, self.end, self.pad, self.image, self.seen, self.ask, self.answer = (
            tokenizer.convert_tokens_to_ids(name) for name in names
        )
        self._read = lru_cache(1 << 17)(lambda text: tuple(tokenizer(text, add_special_tokens=False)["input_ids"]))

    def pack(self, groups: Sequence[Group], drawn: np.random.Generator | None = None) -> Packed:
        """`drawn`: hides a share `drop` of the pictures' tokens from all others."""
        rows = [self._row(group) for group in groups]
        length = max(len(ids) for ids, *_ in rows)
        shape = len(rows), length
        ids, segments = np.full(shape, self.pad), np.full(shape, -1)
        positions, targets, text = np.zeros(shape, np.int64), np.full(shape, NOTHING), np.full(shape, -1)
        count = 0
        for place, (one, segment, position, asked) in enumerate(rows):
            ids[place, : len(one)], segments[place, : len(one)], positions[place, : len(one)] = one, segment, position
            answered = np.flatnonzero(asked >= 0)
            targets[place, answered], text[place, answered] = one[answered], count + asked[answered]
            count += len(groups[place].texts)
        mask = self._mask(segments, ids, drawn)
        seen = np.argwhere(ids == self.seen)
        pairs = np.flatnonzero(seen[1:, 0] == seen[:-1, 0])[:, None] + np.arange(2)
        few = [one.kind in FEW for group in groups for one in group.texts]
        weights = np.where(few, self.emphasis, 1.0).astype(np.float32)
        asked = np.argwhere(ids == self.answer)
        aims = np.array([one.aim for group in groups for one in group.texts], np.float32)
        parts = ids, positions, mask, targets, text, seen, pairs, weights, asked, aims
        return Packed(*(torch.from_numpy(one) for one in parts))

    def _row(self, group: Group) -> tuple[NDArray[np.int64], ...]:
        """ids, segment (0: pictures), position, and the number of the text that an answer's token belongs to."""
        prefix = [self.begin]
        for _ in group.rows:
            prefix += [self.image] * self.tokens + [self.seen]
        ids, segment, asked = list(prefix), [0] * len(prefix), [-1] * len(prefix)
        positions = list(range(len(prefix)))
        for number, one in enumerate(group.texts):
            question = [self.ask, *self._read(one.question), self.answer]
            answer = [*self._read(f" {one.answer}"), self.end]
            ids += question + answer
            segment += [number + 1] * (len(question) + len(answer))
            asked += [-1] * len(question) + [number] * len(answer)
            positions += range(len(prefix), len(prefix) + len(question) + len(answer))
        return tuple(np.array(one, np.int64) for one in (ids, segment, positions, asked))

    def _mask(
        self, segments: NDArray[np.int64], ids: NDArray[np.int64], drawn: np.random.Generator | None
    ) -> NDArray[np.bool_]:
        length = segments.shape[1]
        before = np.tri(length, dtype=np.bool_)
        pictures = segments == 0
        if drawn is not None and self.drop:
            pictures &= (ids != self.image) | (drawn.random(segments.shape) >= self.drop)
        seen = (segments[:, :, None] == segments[:, None, :]) & (segments > 0)[:, None, :]
        mask: NDArray[np.bool_] = ((seen | pictures[:, None, :]) & before) | np.eye(length, dtype=np.bool_)
        return mask[:, None]


def batch_features(features: NDArray[np.float16], groups: Sequence[Group]) -> torch.Tensor:
    """(pictures, tokens, D) float32 of the groups' pictures, in the order of their tokens."""
    wanted = []
    for group in groups:
        mirrored = group.mirrored or (False,) * len(group.rows)
        wanted += [features[row, int(turned)] for row, turned in zip(group.rows, mirrored, strict=True)]
    return torch.from_numpy(np.asarray(np.stack(wanted), np.float32))
