"""`bench critique pairs`: which of two pictures has more of an attribute, or is preferred by people?

Asked in both orders, as a critic may name a place and not a picture. Pairs are random: without a gap filter some are as
good as equal, so the accuracy is given by quarters of the gap as well.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.runs import Number, Run
from indexes.errors import BeholderError
from retrieval.conversations import Conversation, Reading
from retrieval.critic.claims import side_said

from .critics import Critic, load_critic, unanswered
from .files import CritiqueConfig, ask, choose, claim_of, mean_number, record
from .scores import Judged, by_gap, judged


def measure_pairs(config: CritiqueConfig, *, critic: Critic | None = None) -> Run:
    """The run record of comparisons (kinds compare and choice). `critic`: one already loaded, instead of config.critic.

    Raises BeholderError for a file without pairs of the split.
    """
    critic = critic or load_critic(config.critic, config.settings)
    reading, chosen = choose(config, ("compare", "choice"))
    # Choices of people come in both orders already.
    unlike = {(frozenset(one.pictures), one.turns[0].text): one for one in chosen if len(one.pictures) == 2}
    pairs = list(unlike.values())
    if config.pairs:
        pairs = random.Random(config.seed).sample(pairs, min(config.pairs, len(pairs)))
    if not pairs:
        raise BeholderError(f"{config.conversations} has no pairs of split {config.split}", "kinds compare or choice")
    straight, swapped = ask(config, critic, pairs), ask(config, critic, pairs, swapped=True)
    gaps, expected = _gaps(reading, pairs), [_side(one) for one in pairs]
    found = [
        judged(one.text, other.text, side, gap)
        for one, other, side, gap in zip(straight, swapped, expected, gaps, strict=True)
    ]
    read = [float(right is not None) for one in found for right in (one.straight, one.swapped)]
    first = [_first(one, side) for one, side in zip(found, expected, strict=True)]
    numbers: dict[str, Number] = {
        "accuracy": mean_number([one.right for one in found], config.seed, 0.5),
        "order consistency": mean_number([float(one.consistent) for one in found], config.seed),
        "answers that name a side": Number(float(np.mean(read)), n=len(read)),
        "answers that name the first": Number(float(np.mean(first)), n=len(read), chance=0.5),
    }
    if any(gaps):
        for place, (low, high, accuracy) in enumerate(by_gap(found), 1):
            name = f"accuracy, quarter {place} by gap ({low:.2f} to {high:.2f})"
            numbers[name] = Number(accuracy, n=len(found) // 4, chance=0.5)
    for about in sorted({claim_of(one).about for one in pairs}):
        part = [judge.right for one, judge in zip(pairs, found, strict=True) if claim_of(one).about == about]
        numbers[f"accuracy: {about}"] = mean_number(part, config.seed, 0.5)
    notes = [unanswered([*straight, *swapped]), _single_choices(pairs, found)]
    notes += ["The gap is that of the training percentiles."] if any(gaps) else []
    return record("bench critique pairs", config, critic, reading, pairs, numbers, notes)


def _side(one: Conversation) -> str:
    """The side that the right answer names: of "which is darker", the one with less."""
    side = side_said(one.turns[-1].text)
    if side is None:
        raise BeholderError(f"the answer {one.turns[-1].text!r} names no side", "the first or the second")
    return side


def _first(one: Judged, expected: str) -> float:
    """The share of the two answers that name the first picture; one that names none counts as a half."""
    shares = []
    for right, first_is_right in ((one.straight, expected == "first"), (one.swapped, expected != "first")):
        shares.append(0.5 if right is None else float(right == first_is_right))
    return sum(shares) / 2


def _gaps(reading: Reading, chosen: Sequence[Conversation]) -> list[float]:
    """Difference of the training percentiles of two pictures; 0 where nothing was measured (choices of people)."""
    scales: Mapping[str, Any] = reading.origin.get("scales", {}).get("values", {})
    gaps = []
    for one in chosen:
        claim = claim_of(one)
        values = scales.get(claim.about)
        if values and len(claim.measured) == 2:
            places = np.interp(claim.measured, values, np.linspace(0, 1, len(values)))
            gaps.append(abs(float(places[0] - places[1])))
        else:
            gaps.append(0.0)
    return gaps


def _single_choices(pairs: Sequence[Conversation], found: Sequence[Judged]) -> str:
    """Agreement with single choices of people, where their numbers are known: a note beside the majority's."""
    total = agreed = 0.0
    for one, judge in zip(pairs, found, strict=True):
        claim = claim_of(one)
        if one.kind == "choice" and len(claim.measured) == 2:
            total += sum(claim.measured)
            agreed += judge.right * max(claim.measured) + (1 - judge.right) * min(claim.measured)
    told = f"Agrees with {agreed / max(total, 1):.1%} of {total:.0f} single choices of people"
    return f"{told} (pairs without a majority are left out)." if total else ""
