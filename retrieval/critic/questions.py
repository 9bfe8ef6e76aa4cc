"""The questions that critics are asked, by kind and aspect. Answers are kept by their words: never edit one in place
where results rest on it."""

import json
from dataclasses import dataclass

from indexes.errors import BeholderError

KINDS = {
    "critique": "Write a short critique of this picture.",
    "formal": (
        "Give a formal analysis of this picture: its composition, its use of line, light and shadow, its colours and "
        "the space that it makes. Say only what can be seen."
    ),
    "emotion": "Which emotion does this picture evoke, and what in it does so?",
}
ASPECTS = "composition", "colour", "light", "focus", "subject", "mood", "style"
ASPECT = "Write a short critique of the {aspect} of this picture."
RATE = "In one word, how good does this picture look: excellent, good, fair, poor or bad?"
BETTER = "Of these two pictures, which one looks better, the first or the second?"
_FOUND = "Both pictures were found for the query {query}. Which one "
_ROWS = "Each of the two pictures shows a row of results for the query {query}. Which row "
_SIDES = ", the first or the second?"


@dataclass(frozen=True)
class Compared:
    """A question about two pictures, or about two rows of pictures that are shown as one picture each."""

    pictures: str
    rows: str = ""

    def of(self, query: str, single: bool) -> str:
        """The question for a query, which is put in as one string of data."""
        text = self.pictures if single or not self.rows else self.rows
        return text.replace("{query}", json.dumps(query, ensure_ascii=False))


# Of `lmm@CRITIC`, and by aspect of a critic as judge.
RANKED = Compared(f"{_FOUND}answers it better, or, where both do, looks better{_SIDES}")
JUDGED = {
    "accuracy": Compared(f"{_FOUND}shows more of what was asked for{_SIDES}",
                         f"{_ROWS}shows more of what was asked for{_SIDES}"),
    "aesthetics": Compared(BETTER, f"{_ROWS}looks better{_SIDES}"),
    "diversity": Compared(f"{_FOUND}has more different things in it{_SIDES}", f"{_ROWS}is more varied{_SIDES}"),
}  # fmt: skip


def questions(kind: str, aspects: tuple[str, ...] = ()) -> dict[str, str]:
    """What is asked -> the question: the kind itself, or its aspects one by one. Raises BeholderError for an unknown
    kind or aspect, and aspects of another kind than critique."""
    if kind not in KINDS:
        raise BeholderError(f"there is no kind of critique {kind!r}", ", ".join(KINDS), "Example: --kind formal")
    unknown = next((one for one in aspects if one not in ASPECTS), None)
    if unknown is not None:
        raise BeholderError(f"there is no aspect {unknown!r}", ", ".join(ASPECTS), "Example: --aspect composition")
    if aspects and kind != "critique":
        raise BeholderError(f"--aspect with --kind {kind}", "aspects of a critique", "Leave one of them out.")
    return {one: ASPECT.format(aspect=one) for one in dict.fromkeys(aspects)} or {kind: KINDS[kind]}
