"""Questions and answers, and the pictures that they are about."""

from __future__ import annotations

import math
from dataclasses import dataclass

from retrieval.conversations import IMAGE, Conversation


@dataclass(frozen=True)
class Text:
    """A question and its answer. `aim`: the number that the answer follows from, where it does from one: of a level
    the attribute's value in [-1, 1], of two pictures by how much what was asked for holds more of the second; NaN."""

    question: str
    answer: str
    kind: str = ""
    aim: float = math.nan


@dataclass(frozen=True)
class Group:
    """Pictures, by their rows of the features, and what is asked of them."""

    rows: tuple[int, ...]
    texts: tuple[Text, ...]
    mirrored: tuple[bool, ...] = ()


def text_of(one: Conversation, aim: float = math.nan) -> Text:
    """The first question and answer of a conversation, without the pictures' places."""
    return Text(one.turns[-2].text.replace(IMAGE, "").strip(), one.turns[-1].text, one.kind, aim)
