"""How likely words were as what a model behind a server says, read from the log-probabilities that servers list beside
an answer's tokens (`logprobs`, `top_logprobs`).

Servers list only the likeliest tokens of each place. A word that is not among them is held to be as likely as it can
have been at most: no likelier than the last one listed, nor than all that is not listed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .chat_schema import THOUGHTS

MOST, FEW = 20, 5  # likeliest tokens of a place: OpenAI's most, and that of servers that refuse as many
LEAST_LEFT = 1e-9  # of what is not listed: sums of rounded shares pass 1
AROUND = " \t\r\n\"'*_.,:;!?()[]{}"  # what may stand in a token beside a word
SPACES = str.maketrans("\u0120\u2581", "  ")  # as tokenizers write the space before a word; some servers hand them on


def listed_chances(reply: Any, words: Sequence[str]) -> tuple[float, ...] | None:
    """The log-probability of each word in the place where an answer says one of them. reply: a chat completion.

    None where it lists no log-probabilities, and where the answer says none of the words, or several: which of their
    places decides could not be told. Thoughts before an answer do not count.
    """
    try:
        listed = reply["choices"][0]["logprobs"]["content"]
        tokens = [str(one["token"]).translate(SPACES) for one in listed]
        said = THOUGHTS.sub(lambda thought: " " * len(thought[0]), "".join(tokens)).lower()
        found = list(re.finditer(rf"\b(?:{'|'.join(map(re.escape, words))})\b", said))
        if len({match[0] for match in found}) != 1:
            return None
        ends = np.cumsum([len(token) for token in tokens])
        place = listed[int(np.searchsorted(ends, found[0].start(), side="right"))]
        likeliest = {str(one["token"]): float(one["logprob"]) for one in (*place["top_logprobs"], place)}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    return _chances_of(likeliest, words)


def _chances_of(likeliest: Mapping[str, float], words: Sequence[str]) -> tuple[float, ...] | None:
    """The log-probability of each word, of tokens that may begin it, in any spelling; the bound for one that no token
    begins. None for numbers that are no log-probabilities."""
    if any(math.isnan(value) or value > 1e-3 for value in likeliest.values()):
        return None
    chances = [-math.inf] * len(words)
    for token, value in likeliest.items():
        piece = token.translate(SPACES).strip(AROUND).lower()
        begun = [number for number, word in enumerate(words) if piece and word.startswith(piece)]
        if len(begun) == 1:  # else it begins another word, or says nothing of which one
            chances[begun[0]] = float(np.logaddexp(chances[begun[0]], value))
    left = 1 - sum(math.exp(value) for value in likeliest.values())
    bound = min(min(likeliest.values()), math.log(max(left, LEAST_LEFT)))
    if all(value == -math.inf for value in chances):
        return None
    return tuple(max(value, bound) for value in chances)
