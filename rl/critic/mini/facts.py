"""The pictures that the small critic learns from and is looked at on, with what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.conversations import split_by_picture
from rl.critic.grounded import APPEAL, Facts, Scales, scales_of
from rl.critic.grounded_facts import DEV, TRAIN, facts_of, read_kept

from .config import MiniConfig
from .further import Further, read_further


@dataclass(frozen=True)
class Pictures:
    """Pictures in the order of their features, and levels cut on the training pictures.

    `values`: (pictures, attributes) in [-1, 1], twice the training percentile less 1; NaN where nothing was measured.
    """

    facts: tuple[Facts, ...]
    scales: Scales
    attributes: tuple[str, ...]
    values: NDArray[np.float32] = field(repr=False)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    further: Further = field(default_factory=Further)

    def rows(self, split: str) -> list[int]:
        return [row for row, one in enumerate(self.facts) if one.split == split]


def read_pictures(config: MiniConfig) -> Pictures:
    """Training pictures and dev. Levels are those that `align critic data --grounded` cuts for the same sets. Raises
    BeholderError where pictures or scores are missing."""
    scores = read_kept([Path(one) for one in config.embeddings], config.scorers)
    facts, missing = facts_of(Path(config.data), config.sources, (TRAIN, DEV), scores)
    if missing:
        raise BeholderError(f"{missing} pictures under {config.data} are missing", "all of the sets", "Bring them.")
    scales = scales_of([one for one in facts if one.split == TRAIN])
    told = with_dev(facts, config.dev_share)
    further = read_further(config.conversations, Path(config.data), told)
    told += further.pictures
    attributes = (*config.scorers, *([APPEAL] if APPEAL not in config.scorers else []))
    values = _values(told, scales, attributes)
    return Pictures(tuple(told), scales, attributes, values, scores.fingerprints, further)


def with_dev(facts: Sequence[Facts], share: float) -> list[Facts]:
    """Facts of which sets without dev pictures of their own give up a share: the same as in files of conversations."""
    from retrieval.conversations import ASSISTANT, USER, Conversation, Turn

    own = {one.source for one in facts if one.split == DEV}
    turns = (Turn(USER, "<image>\n?"), Turn(ASSISTANT, "-"))
    found = []
    for one in facts:
        if one.source in own:
            found.append(one)
            continue
        asked = Conversation((one.picture,), turns, one.source, split=one.split, sha256s=(one.sha256,))
        kept, _ = split_by_picture([asked], share)
        found.append(replace(one, split=kept[0].split))
    return found


def _values(facts: Sequence[Facts], scales: Scales, attributes: Sequence[str]) -> NDArray[np.float32]:
    values = np.full((len(facts), len(attributes)), np.nan, np.float32)
    for row, one in enumerate(facts):
        for column, about in enumerate(attributes):
            number = one.measured.get(about)
            if number is not None and number.scale in scales.values:
                values[row, column] = 2 * scales.percentile(number) - 1
    return values
