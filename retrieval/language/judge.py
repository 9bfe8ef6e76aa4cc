"""The judge: a model that looks at two rows of results for one query, asked twice with the rows swapped.

Kinds (2406.09397, the comparison of judge prompts; the wording is ours, its prompts are not public in readable form):
`ranker` says which row is better, `cp-scorer` sees both rows and scores each from 1 to 5, `scorer` sees one row at a
time. Order consistency: a ranker that contradicts itself when the rows are swapped has said "similar"; scores of both
orders are added up. What cannot be read after one correction is `None`, never "similar": failures are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from indexes.errors import BeholderError

from .chat_exchange import Answer, Failure, Question
from .chat_schema import Schema, object_schema
from .judge_sheet import Picture, sheet
from .prompt import Prompt, read_prompt

ASPECTS = "accuracy", "aesthetics", "diversity"
KINDS = "ranker", "scorer", "cp-scorer"
BLOCK = 32  # comparisons whose sheets are held at once: some 2 MB each
Choice = Literal[-1, 0, 1]  # 1: row A is better, -1: row B, 0: similar


@dataclass(frozen=True)
class Comparison:
    """One thing to judge: a query and two rows of pictures (uint8 (H, W, 3)), best place first."""

    query: str
    a: Sequence[Picture]
    b: Sequence[Picture]


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one comparison. `choices`: by aspect, None where nothing could be read. `first`: which row
    each of the two calls preferred, as shown (1: the upper one), the material of position bias. `problems`: why.
    `said`: the two answers as they came. `hopeless`: nothing will be answered after this, so it need not be asked.
    `means`: by what a critic's choices were read (critic/opinions.py), one for each that was."""

    choices: dict[str, Choice | None]
    first: dict[str, tuple[Choice | None, Choice | None]]
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)  # of A and B in [1, 5], where there are any
    problems: tuple[str, ...] = ()
    cached: bool = False
    said: tuple[str, ...] = ()
    hopeless: bool = False
    means: tuple[str, ...] = ()


class Asks(Protocol):
    """A model that sees pictures: `chat.ChatClient`."""

    def ask_many(self, questions: Sequence[Question]) -> list[Answer | Failure]: ...


class Judge:
    """Asks a model for verdicts. Raises BeholderError for a kind that is none."""

    def __init__(self, model: Asks, kind: str = "ranker", aspects: Sequence[str] = ASPECTS, prompt: str = "") -> None:
        if kind not in KINDS:
            raise BeholderError(f"there is no kind of judge {kind!r}", ", ".join(KINDS), "Example: ranker")
        self.kind, self.aspects = kind, tuple(aspects)
        self.prompt: Prompt = read_prompt(prompt or f"judge-{kind}-1")
        self._model = model
        self._schema = _schema(kind, self.aspects, '"reason"' in self.prompt.system)

    def compare(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """A verdict for each, two calls each, up to BLOCK comparisons at once."""
        read = _verdict_of_scores if self.kind != "ranker" else _verdict_of_choices
        verdicts = []
        for start in range(0, len(comparisons), BLOCK):
            questions = [question for one in comparisons[start : start + BLOCK] for question in self._questions(one)]
            answers = self._model.ask_many(questions)
            for place in range(0, len(answers), 2):
                verdicts.append(read(self.kind, self.aspects, answers[place], answers[place + 1]))
        return verdicts

    def _questions(self, one: Comparison) -> list[Question]:
        system, user = self.prompt.filled({"query": " ".join(one.query.split())})
        shown = [[one.a], [one.b]] if self.kind == "scorer" else [[one.a, one.b], [one.b, one.a]]
        return [Question(system, user, (sheet(rows),), self._schema) for rows in shown]


def merged(first: Choice | None, swapped: Choice | None) -> Choice | None:
    """The verdict on A of two calls that each say which of the rows as shown is better (1: upper, -1: lower, 0:
    neither); A was above in the first. The same winner twice wins, contradiction is similar, unread is unread."""
    if first is None or swapped is None:
        return None
    return first if first == -swapped else 0


def _schema(kind: str, aspects: Sequence[str], reason: bool) -> Schema:
    """reason: the prompt asks for a sentence, before the choice: what is said first is what the choice rests on."""
    words: dict[str, Schema] = {"reason": {"type": "string"}} if reason else {}
    if kind == "ranker":
        return object_schema(words | {aspect: {"type": "integer", "enum": [1, 2]} for aspect in aspects})
    scores: dict[str, Schema] = {aspect: {"type": "integer", "minimum": 1, "maximum": 5} for aspect in aspects}
    if kind == "scorer":
        return object_schema(words | scores)
    return object_schema(words | {"row_1": object_schema(scores), "row_2": object_schema(scores)})


def _verdict_of_choices(kind: str, aspects: Sequence[str], *answers: Answer | Failure) -> Verdict:
    said: list[Any] = [one.value if isinstance(one, Answer) else None for one in answers]
    first: dict[str, tuple[Choice | None, Choice | None]] = {
        aspect: (_upper(said[0], aspect), _upper(said[1], aspect)) for aspect in aspects
    }
    return Verdict(
        choices={aspect: merged(*pair) for aspect, pair in first.items()},
        first=first,
        problems=_problems(answers),
        cached=_cached(answers),
        said=_said(answers),
        hopeless=_hopeless(answers),
    )


def _upper(value: Any, aspect: str) -> Choice | None:
    if value is None:
        return None
    return 1 if value[aspect] == 1 else -1


def _verdict_of_scores(kind: str, aspects: Sequence[str], *answers: Answer | Failure) -> Verdict:
    values: list[Any] = [one.value if isinstance(one, Answer) else None for one in answers]
    choices: dict[str, Choice | None] = {}
    first: dict[str, tuple[Choice | None, Choice | None]] = {}
    scores: dict[str, tuple[float, float]] = {}
    for aspect in aspects:
        if None in values:
            choices[aspect], first[aspect] = None, (None, None)
            continue
        if kind == "scorer":
            a, b = float(values[0][aspect]), float(values[1][aspect])
            first[aspect] = (None, None)  # rows were shown alone: there is no position
        else:
            upper, lower = ([value[row][aspect] for value in values] for row in ("row_1", "row_2"))
            a, b = (upper[0] + lower[1]) / 2, (lower[0] + upper[1]) / 2
            first[aspect] = (_sign(upper[0] - lower[0]), _sign(upper[1] - lower[1]))
        scores[aspect] = a, b
        choices[aspect] = _sign(a - b)
    return Verdict(choices, first, scores, _problems(answers), _cached(answers), _said(answers), _hopeless(answers))


def _sign(difference: float) -> Choice:
    return 0 if difference == 0 else 1 if difference > 0 else -1


def _problems(answers: Sequence[Answer | Failure]) -> tuple[str, ...]:
    return tuple(one.reason for one in answers if isinstance(one, Failure))


def _said(answers: Sequence[Answer | Failure]) -> tuple[str, ...]:
    return tuple(one.text if isinstance(one, Answer) else one.said for one in answers)


def _hopeless(answers: Sequence[Answer | Failure]) -> bool:
    return any(isinstance(one, Failure) and one.hopeless for one in answers)


def _cached(answers: Sequence[Answer | Failure]) -> bool:
    return all(isinstance(one, Answer) and one.cached for one in answers)
