"""Questions of `beholder critique` that grounded conversations do not ask: aspects, kinds, better of two. What was
measured answers them; for what nobody measured the critic learns to say that it cannot tell, which is counted as a
refusal wherever critics are asked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from retrieval.critic.claims import SIDES, claim_words, level_of
from retrieval.critic.questions import ASPECT, BETTER, KINDS, RATE
from rl.critic.grounded import APPEAL, Facts, Scales

ATTRIBUTES = {
    "colour": ("saturation", "colourfulness", "warmth"),
    "light": ("brightness", "contrast"),
    "composition": ("complexity",),
}
UNKNOWN = "I cannot tell."  # retrieval/rewriting/checks.py reads it as a refusal
SHARE = 0.5  # of visits that one of these questions is asked at


def asked_of(facts: Facts, scales: Scales, drawn: random.Random) -> Iterator[tuple[str, str, str]]:
    """(kind, question, answer) of one picture: none, or one."""
    if drawn.random() >= SHARE:
        return
    what = drawn.choice(("colour", "light", "composition", "style", "formal", "emotion", "focus", "mood", "rating"))
    if what in ATTRIBUTES:
        yield "aspect", ASPECT.format(aspect=what), _said(facts, scales, ATTRIBUTES[what], drawn)
    elif what == "formal":
        every = [about for group in ATTRIBUTES.values() for about in group]
        yield "formal", KINDS["formal"], _said(facts, scales, every, drawn)
    elif what == "emotion":
        yield "emotion", KINDS["emotion"], UNKNOWN
    elif what == "style" and "style" in facts.labels:
        yield "aspect", ASPECT.format(aspect=what), f"The style is {facts.labels['style']}."
    elif what == "rating" and APPEAL in facts.measured and facts.measured[APPEAL].scale in scales.ratings:
        from retrieval.critic.claims import RATINGS

        number = facts.measured[APPEAL]
        yield "rating", RATE, f"{level_of(number.value, scales.ratings[number.scale], RATINGS).capitalize()}."
    elif what in ("focus", "mood"):
        yield "aspect", ASPECT.format(aspect=what), UNKNOWN


def better_of(one: Facts, other: Facts) -> Iterator[tuple[str, str, str]]:
    """Which of two looks better to people, where they were asked of both on one scale."""
    first, second = one.measured.get(APPEAL), other.measured.get(APPEAL)
    if first is None or second is None or first.scale != second.scale or first.value == second.value:
        return
    yield "better", BETTER, f"The {SIDES[int(second.value > first.value)]} one."


def _said(facts: Facts, scales: Scales, abouts: Sequence[str], drawn: random.Random) -> str:
    phrases = []
    for about in abouts:
        number = facts.measured.get(about)
        if number is not None and number.scale in scales.levels:
            level = level_of(number.value, scales.levels[number.scale])
            phrases.append(drawn.choice(claim_words()[about][level]))
    if not phrases:
        return UNKNOWN
    listed = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return f"It is {listed}."
