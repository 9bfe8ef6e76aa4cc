"""Grounded conversations: critiques of pictures in which every statement is measured or labelled, and stands beside the
text as a claim that a program can check.

Pure: facts of pictures in, conversations out; the same seed and picture give the same words whatever other pictures
there are. Levels are tertiles (ratings: fifths) of the training pictures, kept by the caller and used again for others.
Words are those of retrieval/critic/claim_words.tsv, sentences those of grounded_templates.tsv.
"""

import csv
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

import numpy as np

from indexes.errors import BeholderError
from retrieval.conversations import ASSISTANT, IMAGE, USER, Claim, Conversation, Turn
from retrieval.critic.claims import LESS, LEVELS, MORE, RATINGS, SIDES, Cuts, claim_words, cuts_of, level_of
from retrieval.critic.conversation_readers import DESCRIBE

KINDS = "caption", "level", "look", "critique", "style", "object", "depiction", "rating", "compare"
APPEAL = "appeal"
MOST_CLAIMS = 4  # of a look: more are a list, not a sentence
STANDS_OUT = 0.85  # the percentile (or 1 - it) from which an attribute stands out


@dataclass(frozen=True)
class Measured:
    """A number of a picture. Numbers of one scale may be compared: a scorer's own, or one group of people's scores."""

    value: float
    scale: str


@dataclass(frozen=True)
class Facts:
    """What is known of a picture: captions, labels (style, object, depiction) and measured attributes."""

    picture: str
    sha256: str
    source: str
    licence: str
    split: str
    captions: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Measured] = field(default_factory=dict)  # about -> number


@dataclass(frozen=True)
class Scales:
    """Cuts between levels, cuts between ratings, and the training values of each scale, rising, for percentiles."""

    levels: Cuts
    ratings: Cuts
    values: Mapping[str, tuple[float, ...]]

    def percentile(self, number: Measured) -> float:
        """Share of the training values below this one, in [0, 1]."""
        values = self.values[number.scale]
        return bisect_left(values, number.value) / len(values)


def scales_of(facts: Sequence[Facts], steps: int = 200) -> Scales:
    """The scales of training pictures; values are kept as `steps` + 1 quantiles. Scales that cannot be parted are left
    out, and what is measured on them is not spoken of."""
    by_scale: dict[str, list[float]] = {}
    abouts: dict[str, str] = {}
    for one in facts:
        for about, number in one.measured.items():
            by_scale.setdefault(number.scale, []).append(number.value)
            abouts[number.scale] = about
    levels: dict[str, tuple[float, ...]] = {}
    ratings: dict[str, tuple[float, ...]] = {}
    values: dict[str, tuple[float, ...]] = {}
    for scale, numbers in sorted(by_scale.items()):
        try:
            levels[scale] = cuts_of(numbers)
            if abouts[scale] == APPEAL:
                ratings[scale] = cuts_of(numbers, len(RATINGS))
        except BeholderError:
            levels.pop(scale, None)
            continue
        values[scale] = tuple(float(value) for value in np.quantile(numbers, np.linspace(0, 1, steps + 1)))
    return Scales(levels, ratings, values)


class Writer:
    """Writes conversations about pictures from their facts."""

    def __init__(self, scales: Scales, seed: int = 0, captions: int = 2) -> None:
        self.scales, self.seed, self.captions = scales, seed, captions

    def about(self, facts: Facts, kinds: Sequence[str]) -> Iterator[Conversation]:
        """All conversations of one picture, of these kinds; `compare` needs two."""
        writers: dict[str, Callable[[Facts, random.Random], Iterator[tuple[str, str, tuple[Claim, ...]]]]] = {
            "caption": self._captions,
            "level": self._levels,
            "look": self._look,
            "critique": self._critique,
            "style": self._label,
            "object": self._label,
            "depiction": self._label,
            "rating": self._rating,
        }
        for kind in kinds:
            if kind not in writers or (kind in ("style", "object", "depiction") and kind not in facts.labels):
                continue
            drawn = random.Random(f"{self.seed}/{kind}/{facts.sha256}")
            told = facts if kind not in ("style", "object", "depiction") else _only(facts, kind)
            for number, (asked, said, claims) in enumerate(writers[kind](told, drawn)):
                yield _conversation([facts], asked, said, claims, kind, f"{facts.sha256[:16]}-{kind}-{number}")

    def compared(self, one: Facts, other: Facts, about: str) -> Conversation | None:
        """Which of two has more, or less, of an attribute; None where it was not measured of both on one scale, or is
        the same."""
        first, second = one.measured.get(about), other.measured.get(about)
        if first is None or second is None or first.scale != second.scale or first.value == second.value:
            return None
        drawn = random.Random(f"{self.seed}/{about}/{one.sha256}/{other.sha256}")
        word = drawn.choice(claim_words()[about][way := drawn.choice((MORE, LESS))])
        more = SIDES[int(second.value > first.value)]
        side = more if way == MORE else SIDES[1 - SIDES.index(more)]
        asked = _filled(_drawn("compare", "question", drawn), word=word)
        said = _filled(_drawn("compare", "answer", drawn), word=word, side=side)
        phrase = side if side in said else side.capitalize()
        claim = Claim(about, more, (0, 1), (_rounded(first.value), _rounded(second.value)), phrase)
        name = f"{one.sha256[:16]}-{other.sha256[:16]}-{about}"
        return _conversation([one, other], asked, said, (claim,), "compare", name)

    def _captions(self, facts: Facts, drawn: random.Random) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
        for caption in drawn.sample(facts.captions, min(self.captions, len(facts.captions))):
            said = _sentence(caption)
            yield drawn.choice(DESCRIBE), said, (Claim("caption", caption, phrase=said),)

    def _levels(self, facts: Facts, drawn: random.Random) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
        """One forced question for each measured attribute; the options come in any order."""
        for about in sorted(facts.measured):
            claim = self._claim(facts, about, drawn)
            if claim is not None:
                options = [claim_words()[about][level][0] for level in drawn.sample(LEVELS, 3)]
                asked = _filled(_drawn("level", "question", drawn), **dict(zip("abc", options, strict=True)))
                yield asked, _filled(_drawn("level", "answer", drawn), claim=claim.phrase), (claim,)

    def _look(self, facts: Facts, drawn: random.Random) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
        claims = self._claims(facts, drawn)
        if claims:
            said = _filled(_drawn("look", "answer", drawn), claims=_listed([claim.phrase for claim in claims]))
            yield _drawn("look", "question", drawn), said, claims

    def _critique(self, facts: Facts, drawn: random.Random) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
        """What it shows, how it looks, what stands out, and what people think: as far as it is known."""
        sentences: list[str] = []
        claims: list[Claim] = []
        subject = _subject(facts, drawn)
        if subject is not None:
            # A caption is a sentence of its own ("two dogs run"), a label is none.
            part = "told" if subject.about == "caption" else "shows"
            sentences.append(_filled(_drawn("critique", part, drawn), subject=subject.phrase))
            first = subject.phrase if subject.phrase in sentences[0] else _capital(subject.phrase)
            claims.append(replace(subject, phrase=first))
        outstanding = self._outstanding(facts, drawn)
        look = self._claims(facts, drawn, outstanding[0].about if outstanding is not None else "")
        if not look:
            return
        sentences.append(_filled(_drawn("critique", "look", drawn), claims=_listed([claim.phrase for claim in look])))
        claims += look
        if outstanding is not None:
            claim, share = outstanding
            text = _drawn("critique", "stands", drawn)
            sentences.append(_filled(text, claim=claim.phrase, share=str(share), rest=str(100 - share)))
            claims.append(claim)
        appeal = self._claim(facts, APPEAL, drawn)
        if appeal is not None:
            sentences.append(_filled(_drawn("critique", APPEAL, drawn), claim=appeal.phrase))
            claims.append(appeal)
        yield _drawn("critique", "question", drawn), " ".join(sentences), tuple(claims)

    def _label(self, facts: Facts, drawn: random.Random) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
        ((kind, label),) = facts.labels.items()
        said = _filled(_drawn(kind, "answer", drawn), label=label)
        phrase = label if label in said else _capital(label)
        yield _drawn(kind, "question", drawn), said, (Claim(kind, label, phrase=phrase),)

    def _rating(self, facts: Facts, drawn: random.Random) -> Iterator[tuple[str, str, tuple[Claim, ...]]]:
        number = facts.measured.get(APPEAL)
        if number is None or number.scale not in self.scales.ratings:
            return
        rating = level_of(number.value, self.scales.ratings[number.scale], RATINGS)
        said = _filled(_drawn("rating", "answer", drawn), label=rating)
        phrase = rating if rating in said else rating.capitalize()
        claim = Claim("rating", rating, measured=(_rounded(number.value),), phrase=phrase)
        yield _drawn("rating", "question", drawn), said, (claim,)

    def _claims(self, facts: Facts, drawn: random.Random, but: str = "") -> tuple[Claim, ...]:
        """Claims of up to four attributes, in any order; appeal is no look."""
        abouts = [about for about in sorted(facts.measured) if about not in (APPEAL, but)]
        chosen = drawn.sample(abouts, min(len(abouts), MOST_CLAIMS))
        return tuple(claim for about in chosen if (claim := self._claim(facts, about, drawn)) is not None)

    def _claim(self, facts: Facts, about: str, drawn: random.Random) -> Claim | None:
        number = facts.measured.get(about)
        if number is None or number.scale not in self.scales.levels:
            return None
        says = level_of(number.value, self.scales.levels[number.scale])
        return Claim(about, says, (0,), (_rounded(number.value),), drawn.choice(claim_words()[about][says]))

    def _outstanding(self, facts: Facts, drawn: random.Random) -> tuple[Claim, int] | None:
        """The most extreme of the attributes, and how many of 100 training pictures are less so."""
        found: list[tuple[float, str, str]] = []
        for about, number in facts.measured.items():
            if about == APPEAL or number.scale not in self.scales.values:
                continue
            share = self.scales.percentile(number)
            found.append((share, about, LEVELS[2]) if share >= 0.5 else (1 - share, about, LEVELS[0]))
        share, about, says = max(found, default=(0.0, "", ""))
        if share < STANDS_OUT:
            return None
        phrase = drawn.choice(claim_words()[about][says])
        return Claim(about, says, (0,), (_rounded(facts.measured[about].value),), phrase), min(99, int(100 * share))


@cache
def templates() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(kind, part) -> sentences with holes."""
    text = resources.files(__package__).joinpath("grounded_templates.tsv").read_text(encoding="utf-8")
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        key = row["kind"], row["part"]
        found[key] = (*found.get(key, ()), row["text"])
    return found


def _drawn(kind: str, part: str, drawn: random.Random) -> str:
    return drawn.choice(templates()[kind, part])


def _filled(text: str, **values: str) -> str:
    """The sentence with its holes filled; `{Name}` is the value of `name` with a capital."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value).replace(f"{{{name.capitalize()}}}", _capital(value))
    return text


def _conversation(
    facts: Sequence[Facts], asked: str, said: str, claims: tuple[Claim, ...], kind: str, name: str
) -> Conversation:
    turns = (Turn(USER, f"{IMAGE * len(facts)}\n{asked}"), Turn(ASSISTANT, said, claims))
    first = facts[0]
    pictures, sha256s = (tuple(getattr(one, part) for one in facts) for part in ("picture", "sha256"))
    return Conversation(pictures, turns, first.source, first.licence, first.split, kind, name, sha256s)


def _only(facts: Facts, label: str) -> Facts:
    return Facts(
        facts.picture, facts.sha256, facts.source, facts.licence, facts.split, labels={label: facts.labels[label]}
    )


def _subject(facts: Facts, drawn: random.Random) -> Claim | None:
    """What the picture shows as a claim, by its caption or its labels."""
    if facts.captions:
        caption = drawn.choice(facts.captions)
        words = caption.strip().rstrip(" .").strip()
        return Claim("caption", caption, phrase=words[:1].lower() + words[1:] if words[1:2].islower() or
                     words[1:2] == " " else words)  # fmt: skip
    if "object" in facts.labels:
        label = facts.labels["object"]
        return Claim("object", label, phrase=_with_article(label))
    if "style" in facts.labels:
        label = facts.labels["style"]
        return Claim("style", label, phrase=f"a work of {label}")
    return None


def _sentence(caption: str) -> str:
    """A tokenised caption as people write: no space before its full stop, and one at the end."""
    words = " ".join(caption.split())
    for mark in (" .", " ,", " ;", " :", " !", " ?"):
        words = words.replace(mark, mark[1])
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
