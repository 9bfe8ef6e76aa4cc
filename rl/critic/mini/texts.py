"""Questions and answers, and the pictures that they are about."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.conversations import IMAGE, Conversation


@dataclass(frozen=True)
class Text:
    """A question and its answer."""

    question: str
    answer: str
    kind: str = ""


@dataclass(frozen=True)
class Group:
    """Pictures, by their rows of the features, and what is asked of them."""

    rows: tuple[int, ...]
    texts: tuple[Text, ...]
    mirrored: tuple[bool, ...] = ()


def text_of(one: Conversation) -> Text:
    """The first question and answer of a conversation, without the pictures' places."""
    return Text(one.turns[-2].text.replace(IMAGE, "").strip(), one.turns[-1].text, one.kind)
