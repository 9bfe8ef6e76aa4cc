"""Titles of known paintings -> formal analyses, as PaintingForm (arXiv 2408.00491) was made: models are asked whether
they know the painting; which elements of form fit it, of which those are kept that several models name; and for an
analysis of the whole and of each element that names neither title nor painter.

So what is learned is what language models know of famous works, not what they saw: such a file says so in its origin.
Deliberate differences: prompts and list of elements are ours (the paper shows its pipeline as a figure only); text that
names title or painter is left out, not mended.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from retrieval.conversations import ASSISTANT, IMAGE, USER, Conversation, Turn
from retrieval.critic.conversation_readers import drawn
from retrieval.language.chat_exchange import Failure
from retrieval.language.chat_schema import object_schema

from .written_data import Progress, Writers, Written, failed, refuses

KNOWN, CHOSEN, ANALYSED = "critic-known-1", "critic-elements-1", "critic-analysis-1"
ELEMENTS = (
    "composition", "colour", "light and shadow", "line", "shape and form", "space and perspective", "texture",
    "brushwork", "balance", "contrast", "rhythm", "figures and gesture",
)  # fmt: skip
KNOWN_SCHEMA = object_schema({"known": {"type": "boolean"}})
CHOSEN_SCHEMA = object_schema({"elements": {"type": "array", "items": {"type": "string", "enum": list(ELEMENTS)}}})
ANALYSED_SCHEMA = object_schema({"analysis": {"type": "string"}})
MOST_ELEMENTS = 5
WORDS = 40, 300  # of an analysis
T = TypeVar("T")
WHOLE = (
    "Write a formal analysis of this painting.",
    "Analyse the form of this painting.",
    "How is this painting made to work? Give a formal analysis.",
)
PART = (
    "Analyse the {element} of this painting.",
    "How does this painting use {element}?",
    "Write a formal analysis of this painting, of its {element} alone.",
)


@dataclass(frozen=True)
class Painting:
    """A painting by name. `sha256`: of its picture's file, "" where not known."""

    picture: str
    title: str
    artist: str
    split: str = "train"
    sha256: str = ""

    def named(self, element: str = "") -> dict[str, str]:
        """What a prompt is given."""
        names = {"title": self.title, "artist": self.artist}
        return {**names, "element": element} if element else names


def from_titles(
    paintings: Sequence[Painting], writers: Writers, *, source: str, licence: str, agree: int = 2,
    progress: Progress | None = None,
) -> Written:  # fmt: skip
    """Conversations about the paintings that the writing model (the first) knows. An element counts where at least
    `agree` models (all, where there are fewer) name it, among those that know the painting."""
    written = Written()
    least = min(agree, len(writers.models))
    known: dict[str, list[Painting]] = {}
    for model in writers.models:
        said = writers.ask(model, KNOWN, [one.named() for one in paintings], 0, KNOWN_SCHEMA, progress)
        known[model] = [one for one, answer in _answered(paintings, said, written) if answer["known"]]
    author = next(iter(writers.models))
    written.rejected["paintings that the writing model does not know"] += len(paintings) - len(known[author])
    votes: dict[Painting, Counter[str]] = {one: Counter() for one in known[author]}
    for model, ones in known.items():
        asked: list[Any] = [{**one.named(), "elements": list(ELEMENTS)} for one in ones]
        said = writers.ask(model, CHOSEN, asked, MOST_ELEMENTS, CHOSEN_SCHEMA, progress)
        for one, answer in _answered(ones, said, written):
            if one in votes:
                votes[one].update(dict.fromkeys(answer["elements"][:MOST_ELEMENTS], 1))
    wanted: list[tuple[Painting, str]] = []
    for one, counts in votes.items():
        agreed = [element for element in ELEMENTS if counts[element] >= least]
        written.rejected["elements that too few models name"] += len(counts) - len(agreed)
        wanted += [(one, element) for element in ("", *agreed)]
    said = writers.ask(author, ANALYSED, [one.named(part) for one, part in wanted], 0, ANALYSED_SCHEMA, progress)
    for (one, part), answer in _answered(wanted, said, written):
        text = " ".join(answer["analysis"].split())
        reason = _wrong(text, one)
        if reason is None:
            written.conversations.append(_conversation(one, part, text, source, licence))
        else:
            written.rejected[reason] += 1
    written.rejected = +written.rejected  # without zeros
    return written


def names_in(text: str, painting: Painting) -> list[str]:
    """The title or words of the painter's name that a text gives away: the title as it stands where it is two words or
    more or longer than eight letters, words of the name from four letters on."""
    lowered = text.lower()
    names: list[str] = re.findall(r"[^\W\d_]{4,}", painting.artist.lower())
    title = " ".join(re.sub(r"\W*\b(?:1[0-9]|20)\d\d\b.*", "", painting.title.lower()).split())
    if " " in title or len(title) > 8:
        names.append(title)
    return [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lowered)]


def _answered(asked: Sequence[T], said: Sequence[Any], written: Written) -> Iterator[tuple[T, Mapping[str, Any]]]:
    for one, answer in zip(asked, said, strict=True):
        if isinstance(answer, Failure):
            written.rejected[failed(answer)] += 1
        else:
            yield one, answer.value


def _wrong(text: str, painting: Painting) -> str | None:
    if refuses(text):
        return "a refusal in place of an analysis"
    if not WORDS[0] <= len(text.split()) <= WORDS[1]:
        return f"an analysis of fewer than {WORDS[0]} or more than {WORDS[1]} words"
    if names_in(text, painting):
        return "names the title or the painter"
    if IMAGE in text:
        return f"says {IMAGE}"
    return None


def _conversation(painting: Painting, part: str, text: str, source: str, licence: str) -> Conversation:
    asked = drawn(PART, painting.picture + part).format(element=part) if part else drawn(WHOLE, painting.picture)
    turns = (Turn(USER, f"{IMAGE}\n{asked}"), Turn(ASSISTANT, text))
    sha256s = (painting.sha256,) if painting.sha256 else ()
    name = f"{source}-{painting.picture}-{part or 'whole'}"
    return Conversation((painting.picture,), turns, source, licence, painting.split, "formal", name, sha256s)
