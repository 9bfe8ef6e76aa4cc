"""Claims about pictures in words, both ways: phrases for a level of an attribute, and what a text claims.

The words are those of claim_words.tsv: about, says, phrase, where `says` is low, middle or high of one picture, more or
less of two; the first phrase of each is the plainest. Every phrase can stand after "the picture is". A text is read
with the same table: the longest phrase counts ("moderately bright" is not "bright"), what is denied is not a claim
("not dark" may be anything else), and an attribute of which two levels are said is said nothing of.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike

from indexes.errors import BeholderError
from retrieval.conversations import Claim

LEVELS = "low", "middle", "high"
MORE, LESS = "more", "less"
SIDES = "first", "second"
RATINGS = "bad", "poor", "fair", "good", "excellent"  # rising; the words of critics that score
DENIED = re.compile(r"(?:\b(?:not|never|hardly|without|no|isn't|nothing)\s+(?:at all\s+|very\s+|really\s+|too\s+)?)$")
SIDE = re.compile(r"\b(first|second|left|right|1st|2nd|picture (?:1|2|one|two)|image (?:1|2|one|two))\b")
FIRST = {"first", "left", "1st", "picture 1", "picture one", "image 1", "image one"}

Words = Mapping[str, Mapping[str, tuple[str, ...]]]
Cuts = Mapping[str, tuple[float, ...]]  # what parts the levels of an attribute, rising


@cache
def claim_words() -> Words:
    """about -> says -> phrases, the plainest first."""
    text = resources.files(__package__).joinpath("claim_words.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    words: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in rows:
        says = words.setdefault(row["about"], {})
        says[row["says"]] = (*says.get(row["says"], ()), row["phrase"])
    return words


def cuts_of(values: ArrayLike, parts: int = 3) -> tuple[float, ...]:
    """What parts values into so many parts of one size: `parts - 1` quantiles. Raises BeholderError for fewer values
    than parts, or values that are all but equal: levels of them would mean nothing."""
    numbers = np.asarray(values, np.float64)
    if len(numbers) < parts:
        raise BeholderError(f"{len(numbers)} values", f"at least {parts}, to be parted", "Give more pictures.")
    cuts = tuple(float(cut) for cut in np.quantile(numbers, np.arange(1, parts) / parts))
    if len(set(cuts)) < len(cuts) or not cuts[-1] < numbers.max():
        raise BeholderError("values that are nearly all equal", "values that differ", "Leave this attribute out.")
    return cuts


def level_of(value: float, cuts: Sequence[float], names: Sequence[str] = LEVELS) -> str:
    """The level of a value: below or at the first cut the first name, and so on."""
    return names[int(np.searchsorted(np.asarray(cuts), value, side="left"))]


def claims_in(text: str) -> list[Claim]:
    """The levels that a text claims of one picture, in the order of the table."""
    found: dict[str, dict[str, str]] = {}
    for about, says, phrase in _said(text, LEVELS):
        found.setdefault(about, {})[says] = phrase
    return [
        Claim(about, says, phrase=phrase)
        for about in claim_words()
        if len(levels := found.get(about, {})) == 1
        for says, phrase in levels.items()
    ]


def level_said(text: str, about: str) -> str | None:
    """The level of one attribute that a text claims; None where it says none, or two."""
    return next((claim.says for claim in claims_in(text) if claim.about == about), None)


def side_said(text: str) -> str | None:
    """ "first" or "second", where a text names one of two pictures: the one before "than" where it names both."""
    lowered = text.lower()
    named = [_side(match[1]) for match in SIDE.finditer(lowered.partition(" than ")[0])]
    if not named:
        other = [_side(match[1]) for match in SIDE.finditer(lowered)]
        named = [SIDES[1 - SIDES.index(side)] for side in other]  # "darker than the first"
    return named[0] if len(set(named)) == 1 else None


def label_said(text: str, labels: Sequence[str]) -> str | None:
    """The one of several labels that a text names, the longest where one is part of another; None for none, or two."""
    names = sorted(labels, key=len, reverse=True)
    found = {match[0] for match in re.finditer(_any_of(names), text.lower())} if names else set()
    by_name = {name.lower(): name for name in names}
    return by_name[found.pop()] if len(found) == 1 else None


def rating_said(text: str) -> str | None:
    """The one rating word of RATINGS that a text says; None for none, or two."""
    return label_said(text, RATINGS)


def _side(name: str) -> str:
    return SIDES[0] if name in FIRST else SIDES[1]


def _said(text: str, levels: Sequence[str]) -> list[tuple[str, str, str]]:
    pattern, meanings = _table()
    lowered = text.lower()
    return [
        (*meanings[match[0]], match[0])
        for match in pattern.finditer(lowered)
        if meanings[match[0]][1] in levels and not DENIED.search(lowered[: match.start()])
    ]


@cache
def _table() -> tuple[re.Pattern[str], Mapping[str, tuple[str, str]]]:
    meanings = {
        phrase: (about, says)
        for about, levels in claim_words().items()
        for says, phrases in levels.items()
        for phrase in phrases
    }
    return re.compile(_any_of(sorted(meanings, key=len, reverse=True))), meanings


def _any_of(names: Sequence[str]) -> str:
    """Any of these as whole words; the first that fits is taken, so the longest must come first."""
    return rf"(?<![\w-])(?:{'|'.join(re.escape(name.lower()) for name in names)})(?![\w-])"
