"""What answers of a critic are worth, as pure functions: options chosen, levels claimed, one of two named, emotions.

An answer that cannot be read is an abstention: it is never right, and it is counted.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.measures.correlation import bootstrap_pictures
from benchmarks.measures.stats import Interval
from indexes.errors import BeholderError
from retrieval.critic.claims import SIDES, side_said

Ints = npt.NDArray[np.int64]
WORD = re.compile(r"[^\W_]+")
ABSENT, UNREAD = -2, -1  # not asked; asked, and the answer could not be read
MARKER = re.compile(r"(?:^|(?<=\s))\(?([A-H])(?:[.):]|\s-)\s*(?=\S)")
LETTER = re.compile(
    r"^\W*([A-H])(?:[.):,]|\s*$|\s-)"  # it begins the answer
    r"|\b(?i:option|answer(?:\s+is)?:?|choose|choice(?:\s+is)?:?)\s+\(?([A-H])\b"
    r"|\(([A-H])\)"
)


def read_options(text: str) -> dict[str, str]:
    """Letter -> words of options as AesBench and VLMEvalKit write them: "A. High\\nB) Medium (C) Low". Raises
    BeholderError for fewer than two, and letters out of order."""
    marks = list(MARKER.finditer(text))
    letters = "".join(mark[1] for mark in marks)
    if len(marks) < 2 or letters != "ABCDEFGH"[: len(letters)]:
        raise BeholderError(f"options {text[:60]!r}", "A. ... B. ...", "Check the format.")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[1]: text[mark.end() : end].strip(" \n\t.;,") for mark, end in zip(marks, ends, strict=True)}


def option_said(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that an answer chooses; None for none, two, or a letter beside another option's words.

    A letter counts where it stands as one ("A.", "(B)", "answer is C"): "A dark picture" chooses nothing. Else the
    words of an option, the longest where one holds another.
    """
    letters = {letter for match in LETTER.finditer(answer.strip()) for letter in match.groups() if letter}
    named = _named(answer, options)
    if len(letters) == 1 and letters <= set(options):
        letter = next(iter(letters))
        return None if named and letter not in named else letter
    return next(iter(named)) if not letters and len(named) == 1 else None


def _named(answer: str, options: Mapping[str, str]) -> set[str]:
    """Letters of the options whose words an answer has; words within another option's words are not that option."""
    left = _plain(answer)
    found = set()
    for letter, words in sorted(options.items(), key=lambda item: -len(item[1])):
        plain = _plain(words)
        if plain.strip() and plain in left:
            found.add(letter)
            left = left.replace(plain, "  ")
    return found


def _plain(text: str) -> str:
    """The words alone, a space around each."""
    return f" {' '.join(WORD.findall(text.lower()))} "


def aesbench_overall(perception: float, empathy: float, assessment: float, interpretation: float) -> float:
    """AesBench's overall: the mean of three accuracies in percent (given as shares in [0, 1]) and 100 times AesI (0 to
    2, the mean of relevance, precision and completeness)."""
    return (100 * (perception + empathy + assessment) + 100 * interpretation) / 4


def balanced_accuracy(said: Ints, truth: Ints, levels: int) -> float:
    """Mean over the levels that occur in `truth` (N,) of the share of each that `said` (N,) says too; UNREAD is wrong,
    rows with truth ABSENT are left out. NaN where nothing is left."""
    recalls = [float((said[truth == level] == level).mean()) for level in range(levels) if (truth == level).any()]
    return float(np.mean(recalls)) if recalls else float("nan")


@dataclass(frozen=True)
class Truth:
    """Of claims about N pictures and A attributes: balanced accuracy, mean over attributes, with its interval over
    pictures; of each attribute; and the share of questions whose answer could be read."""

    overall: Interval
    each: Mapping[str, float]
    coverage: float


def truth_of_claims(said: Ints, truth: Ints, names: Sequence[str], levels: int = 3, seed: int = 0) -> Truth:
    """`said` and `truth`: (N, A) levels from 0, UNREAD or ABSENT. Raises BeholderError where nothing was asked."""
    asked = truth >= 0
    if said.shape != truth.shape or truth.shape[1:] != (len(names),) or not asked.any():
        raise BeholderError(f"answers {said.shape} for claims {truth.shape} of {len(names)}", "a claim for each")

    def overall(rows: Ints) -> float:
        parts = [balanced_accuracy(said[rows, place], truth[rows, place], levels) for place in range(len(names))]
        known = [part for part in parts if not np.isnan(part)]
        return float(np.mean(known)) if known else float("nan")

    each = {name: balanced_accuracy(said[:, place], truth[:, place], levels) for place, name in enumerate(names)}
    return Truth(
        bootstrap_pictures(overall, len(said), seed=seed, resamples=1000), each, float((said[asked] >= 0).mean())
    )


@dataclass(frozen=True)
class Judged:
    """One comparison asked in both orders: whether each answer was right (None: could not be read), and how far apart
    the pictures are."""

    straight: bool | None
    swapped: bool | None
    gap: float

    @property
    def right(self) -> float:
        """The share of the two answers that is right."""
        return (float(self.straight is True) + float(self.swapped is True)) / 2

    @property
    def consistent(self) -> bool:
        """Whether both answers name the same picture: both right, or both wrong."""
        return self.straight is not None and self.straight == self.swapped


def judged(answer: str | None, swapped: str | None, expected: str, gap: float) -> Judged:
    """`expected`: the side that is right in the straight order; the other one is where the pictures are exchanged."""
    first, second = (side_said(text) if text is not None else None for text in (answer, swapped))
    other = SIDES[1 - SIDES.index(expected)]
    return Judged(None if first is None else first == expected, None if second is None else second == other, gap)


def by_gap(found: Sequence[Judged], parts: int = 4) -> list[tuple[float, float, float]]:
    """(least gap, greatest gap, accuracy) of each part of the comparisons, from the closest pictures to those furthest
    apart, parts of one size. Empty for fewer comparisons than parts."""
    if len(found) < parts:
        return []
    order = sorted(found, key=lambda one: one.gap)
    shares = np.array_split(np.arange(len(order)), parts)
    return [
        (order[share[0]].gap, order[share[-1]].gap, float(np.mean([order[place].right for place in share])))
        for share in shares
    ]


def emotion_agreement(said: Sequence[str | None], people: Sequence[Sequence[str]]) -> tuple[list[float], list[float]]:
    """For each picture: 1 where the emotion said is the one that most people named (any of them at a tie), and the
    share of the people who named it. ArtEmis's own measure has a classifier read the emotion out of the text; here it
    is the one that the text says."""
    majority, share = [], []
    for emotion, named in zip(said, people, strict=True):
        counts = Counter(named)
        majority.append(float(emotion is not None and counts[emotion] == max(counts.values())))
        share.append(counts[emotion] / len(named) if emotion is not None else 0.0)
    return majority, share
