"""Words by their likelihood: which tokens begin them, their log-probabilities, and what follows from those."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.critic.claims import RATINGS

LEAST = 1e-6  # of all probability: a model that gives all words together less was not about to say any of them
VALUES = np.arange(1.0, len(RATINGS) + 1)  # bad 1 ... excellent 5


def first_tokens(tokenizer: Any, prompt: str, words: Sequence[str]) -> list[list[int]] | None:
    """The tokens that each word may begin with behind a prompt: capital or not, with a space before it or not. None
    where two words share one, or a word has none: their likelihood could not be told apart."""
    before = list(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    groups: list[set[int]] = []
    for word in words:
        found = set()
        for spelt in (word, word.capitalize(), f" {word}", f" {word.capitalize()}"):
            after = list(tokenizer(prompt + spelt, add_special_tokens=False)["input_ids"])
            if after[: len(before)] == before and len(after) > len(before):  # else it melts into the prompt's end
                found.add(after[len(before)])
        groups.append(found)
    # The token of a bare space says nothing of the word behind it.
    shared = set.intersection(*groups) if len(groups) > 1 else set()
    groups = [group - shared for group in groups]
    if not all(groups) or sum(map(len, groups)) > len(set().union(*groups)):
        return None
    return [sorted(group) for group in groups]


def log_chances(logits: ArrayLike, groups: Sequence[Sequence[int]]) -> list[float]:
    """The log-probability of each group of tokens, of logits (vocabulary,)."""
    values = np.asarray(logits, np.float64)
    whole = np.logaddexp.reduce(values)
    return [float(np.logaddexp.reduce(values[list(group)]) - whole) for group in groups]


def expected_rating(chances: Sequence[float] | None) -> float:
    """The mean rating in [1, 5] under log-probabilities of RATINGS, bad to excellent (Wu et al. 2023, Q-Align). NaN
    where there are none, or the model would say none of the words."""
    shares = _shares(chances)
    return float("nan") if shares is None else float(shares @ VALUES)


def preferred(straight: Sequence[float] | None, swapped: Sequence[float] | None) -> tuple[float, float] | None:
    """By how much each order prefers the first picture, in nats; in their mean a liking for a place cancels. Given:
    log-probabilities of (first, second) as shown. None where an order has none."""
    if _shares(straight) is None or _shares(swapped) is None or straight is None or swapped is None:
        return None
    return straight[0] - straight[1], swapped[1] - swapped[0]


def _shares(chances: Sequence[float] | None) -> NDArray[np.float64] | None:
    if chances is None or not np.isfinite(chances).all():
        return None
    share = np.exp(np.asarray(chances, np.float64))
    return share / share.sum() if share.sum() >= LEAST else None
