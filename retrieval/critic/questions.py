"""The questions that critics are asked, by kind and aspect. Answers are kept by their words: never edit one in place
where results rest on it."""

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
