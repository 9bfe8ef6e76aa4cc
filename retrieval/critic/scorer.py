"""A critic as a scorer named `critic:NAME`: the rating that it expects to give, from 1 (bad) to 5 (excellent).

Read from the log-probabilities of the five words of its answer, not from a word (chances.py). Local critics alone:
servers seldom tell log-probabilities, and five words are too coarse to sort by.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.scoring.card import CRITIC, PIXELS, ScorerCard
from retrieval.sources.images import Picture

from .critic import Critic, load_critic
from .questions import RATE
from .shown import MAX_SIDE_PX, shown


class CriticScorer:
    """The expected rating of pictures by a critic; NaN where it gives none."""

    def __init__(self, card: ScorerCard, critic: Critic) -> None:
        self.card, self._critic = card, critic

    def score_pictures(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """float32 (N,) in [1, 5]."""
        return np.array(self._critic.rate([shown(one) for one in pictures]), np.float32)


def load_critic_scorer(name: str) -> CriticScorer:
    """The scorer of `critic:FOLDER`, `critic:hf:MODEL` or `critic:` and a critic in the box. Its name keeps the last
    part of the path, its fingerprint the weights. Raises BeholderError for a critic behind a server, or none."""
    spec = name.removeprefix(CRITIC)
    if spec.startswith("llm:"):
        raise BeholderError(f"{name} is behind a server", "a critic here", "Example: --scorer critic:work/critic")
    critic = load_critic(spec)
    short = re.sub(r"[^A-Za-z0-9._+-]", "-", Path(critic.name).name)[:80]
    card = ScorerCard(
        name=f"{CRITIC}{short}",
        kind=PIXELS,
        model=f"expected rating over excellent 5, good, fair, poor, bad 1, asked: {RATE}",
        normalisation=f"RGB, longest side at most {MAX_SIDE_PX} px (box filter), then the model's own",
        unit="rating",
        source="Wu et al. 2023 (Q-Align, 2312.17090)",
        licence="that of the model",
        checkpoint_sha256=critic.identity,
        low=1.0,
        high=5.0,
        max_side_px=MAX_SIDE_PX,
    )
    return CriticScorer(card, critic)
