"""How the critic does on pictures that it does not learn from: forced choices by likelihood, and captions.

Quicker than answers in words, which `beholder bench critique` measures: all possible answers stand behind one picture.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.critic.claims import LEVELS, MORE, SIDES, claim_words, level_of
from rl.critic.grounded import Writer
from rl.critic.grounded_facts import DEV

from .config import MiniConfig
from .facts import Pictures
from .forward import answer_losses, precision_of
from .pack import Packer, batch_features
from .texts import Group, Text, text_of

AT_ONCE = 8  # groups


@dataclass(frozen=True)
class Question:
    """A group whose texts are the possible answers to one question after another, `ways` each; `right`: which ones."""

    group: Group
    ways: int
    right: tuple[int, ...]
    abouts: tuple[str, ...]


def level_questions(pictures: Pictures, most: int) -> list[Question]:
    """For each of up to `most` dev pictures, its level of each measured attribute."""
    found = []
    for row in _rows(pictures, most):
        facts = pictures.facts[row]
        known = {
            about: number for about, number in sorted(facts.measured.items()) if number.scale in pictures.scales.levels
        }
        drawn = random.Random(f"dev/{facts.sha256}")
        texts: list[Text] = []
        for about in known:
            plain = [claim_words()[about][level][0] for level in LEVELS]
            options = drawn.sample(plain, 3)
            asked = f"Is this picture {options[0]}, {options[1]} or {options[2]}?"
            texts += [Text(asked, f"It is {phrase}.", "level") for phrase in plain]
        right = tuple(LEVELS.index(level_of(one.value, pictures.scales.levels[one.scale])) for one in known.values())
        if texts:
            found.append(Question(Group((row,), tuple(texts)), len(LEVELS), right, tuple(known)))
    return found


def pair_questions(pictures: Pictures, most: int) -> list[Question]:
    """Random pairs of dev pictures of one set, without regard to how unlike they are."""
    drawn = random.Random("dev/pairs")
    by_source: dict[str, list[int]] = {}
    for row in pictures.rows(DEV):
        by_source.setdefault(pictures.facts[row].source, []).append(row)
    found = []
    for first in _rows(pictures, most):
        second = drawn.choice(by_source[pictures.facts[first].source])
        one, other = pictures.facts[first].measured, pictures.facts[second].measured
        abouts = [
            about
            for about in sorted(set(one) & set(other))
            if one[about].scale == other[about].scale and one[about].value != other[about].value
        ]
        texts = [
            Text(f"Which one is {word}: the first or the second?", f"The {side} one.", "compare")
            for word in (claim_words()[about][MORE][0] for about in abouts)
            for side in SIDES
        ]
        right = tuple(int(other[about].value > one[about].value) for about in abouts)
        if texts:
            found.append(Question(Group((first, second), tuple(texts)), len(SIDES), right, tuple(abouts)))
    return found


def dev_figures(model: Any, packer: Packer, config: MiniConfig, pictures: Pictures, features: Any) -> dict[str, float]:
    """Balanced accuracy of levels, accuracy of pairs, nats of a caption's word piece, as far as dev has any."""
    figures: dict[str, float] = {}
    for name, questions in (
        ("levels", level_questions(pictures, config.dev_pictures)),
        ("pairs", pair_questions(pictures, config.dev_pictures)),
    ):
        if not questions:
            continue
        losses = iter(_losses(model, packer, config, [one.group for one in questions], features))
        said: dict[str, list[tuple[int, int]]] = {}
        for one in questions:
            for about, right in zip(one.abouts, one.right, strict=True):
                said.setdefault(about, []).append((int(np.argmin([next(losses) for _ in range(one.ways)])), right))
        parts = {about: _balanced(both) for about, both in said.items()}
        figures[name] = float(np.mean(list(parts.values())))
        figures |= {f"{name} {about}": value for about, value in parts.items()}
    writer = Writer(pictures.scales)
    rows = [row for row in _rows(pictures, config.dev_pictures) if pictures.facts[row].captions]
    captions = [Group((row,), tuple(map(text_of, writer.about(pictures.facts[row], ["caption"])))) for row in rows]
    if captions:
        total = sum(_losses(model, packer, config, captions, features))
        pieces = sum(int((packer.pack([one]).targets >= 0).sum()) for one in captions)
        figures["caption nats"] = total / pieces
    return figures


def _rows(pictures: Pictures, most: int) -> list[int]:
    rows = pictures.rows(DEV)
    return rows if len(rows) <= most else sorted(random.Random("dev").sample(rows, most))


def _losses(model: Any, packer: Packer, config: MiniConfig, groups: Sequence[Group], features: Any) -> list[float]:
    found: list[float] = []
    for start in range(0, len(groups), AT_ONCE):
        block = groups[start : start + AT_ONCE]
        shown = batch_features(features, block).to(config.device)
        with precision_of(config.precision, config.device):
            found += answer_losses(model, packer.pack(block).to(config.device), shown).tolist()
    return found


def _balanced(both: Sequence[tuple[int, int]]) -> float:
    """The mean over right answers of the share that was found."""
    shares = [np.mean([said == one for said, right in both if right == one]) for one in {right for _, right in both}]
    return float(np.mean(shares))
