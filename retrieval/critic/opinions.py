"""What a critic's answers come to: its rating of a picture, its preference between two; by log-probabilities where they
are known, else by words. Which of the two it was is told, and what could not be used is not filled in.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from retrieval.language.chances import expected_rating, preferred
from retrieval.language.chat_exchange import Answer, Failure, one_line

from .claims import RATINGS, rating_said, side_said
from .said import checked

Choice = Literal["first", "second"]
SIDES: tuple[Choice, Choice] = ("first", "second")
CHANCES, WORDS = "log-probabilities", "words"
UNTOLD = "no rating"


@dataclass(frozen=True)
class Rating:
    """A rating in [1, 5], NaN where there is none, and by what it was read. `fallback`: why there is none."""

    value: float
    means: str = ""
    fallback: str = ""


@dataclass(frozen=True)
class Preference:
    """Which of two pictures is preferred by both orders together; None for neither, and where an order gave nothing
    that can be used (`problems`, one for each such order).

    shown: what each order preferred, as shown, so a critic that sees only places says the same twice. nats: by how much
    each order prefers the first of the two, wherever it was shown; None by words. said: the answers in words, "" where
    there are none. hopeless: nothing will be answered after this.
    """

    choice: Choice | None
    shown: tuple[Choice | None, Choice | None] = (None, None)
    means: str = ""
    nats: tuple[float, float] | None = None
    problems: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    cached: bool = False
    hopeless: bool = False


def rating_of(answer: Answer | Failure) -> Rating:
    """The rating of an answer: expected over its log-probabilities, else the one word of RATINGS that it says."""
    answer = _meant(answer)
    if isinstance(answer, Failure):
        return Rating(float("nan"), "", answer.reason.partition(":")[0])
    expected = expected_rating(answer.chances)
    if expected == expected:
        return Rating(expected, CHANCES)
    word = rating_said(answer.text)
    return Rating(float("nan"), "", UNTOLD) if word is None else Rating(1.0 + RATINGS.index(word), WORDS)


def preference_of(straight: Answer | Failure, swapped: Answer | Failure) -> Preference:
    """The preference of two answers, the second to the same question with the pictures exchanged. By log-probabilities
    only where both orders have them."""
    both = _meant(straight), _meant(swapped)
    said = tuple(one.text if isinstance(one, Answer) else one.said for one in both)
    cached = all(isinstance(one, Answer) and one.cached for one in both)
    chances = [one.chances if isinstance(one, Answer) else None for one in both]
    nats = preferred(*chances)
    if nats is not None:
        by, shown = sum(nats), (_likelier(chances[0]), _likelier(chances[1]))
        return Preference(None if by == 0 else SIDES[int(by < 0)], shown, CHANCES, nats, said=said, cached=cached)
    first, second = (_side(one) for one in both)
    if first is None or second is None:
        problems = tuple(_problem(one) for one in both if _side(one) is None)
        hopeless = any(isinstance(one, Failure) and one.hopeless for one in both)
        return Preference(None, (first, second), problems=problems, said=said, cached=cached, hopeless=hopeless)
    return Preference(first if first != second else None, (first, second), WORDS, said=said, cached=cached)


def told(means: Iterable[str]) -> str:
    """How many opinions were read by what: "12 by log-probabilities, 3 by words"; "" where none could be read."""
    counts = Counter(means)
    return ", ".join(f"{counts[means]:,} by {means}" for means in (CHANCES, WORDS) if counts[means])


def _meant(answer: Answer | Failure) -> Answer | Failure:
    """The answer, or why it is none: a refusal may hold any word. One without words has its log-probabilities alone."""
    reason = checked(answer.text).fallback if isinstance(answer, Answer) and answer.text else ""
    return Failure(reason, said=answer.text) if reason and isinstance(answer, Answer) else answer


def _likelier(chances: Sequence[float] | None) -> Choice | None:
    if chances is None or chances[0] == chances[1]:
        return None
    return SIDES[int(chances[0] < chances[1])]


def _side(answer: Answer | Failure) -> Choice | None:
    said = side_said(answer.text) if isinstance(answer, Answer) else None
    return None if said is None else SIDES[int(said != SIDES[0])]


def _problem(answer: Answer | Failure) -> str:
    if isinstance(answer, Failure):
        return answer.reason
    return f"unusable answer: it names neither: {one_line(answer.text)}"
