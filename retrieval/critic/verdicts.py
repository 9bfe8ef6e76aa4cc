"""A critic as judge of two rows of pictures: the interface of `language.judge.Judge`, by what the critic prefers.

Each row is shown as one picture, in both orders, with one question for each aspect. By log-probabilities the orders'
preferences are added up, so that a liking for a place cancels; by words both orders must agree, else the rows are
similar. What each order preferred by itself is kept: it tells whether the critic sees pictures or places.
"""

from collections.abc import Mapping, Sequence

from retrieval.language.judge import BLOCK, Choice, Comparison, Verdict

from .critic import Critic
from .opinions import SIDES, Preference
from .questions import Compared
from .shown import shown_row


class CriticJudge:
    """Verdicts by a critic. questions: by aspect."""

    def __init__(self, critic: Critic, questions: Mapping[str, Compared]) -> None:
        self._critic, self._questions = critic, questions

    @property
    def calls(self) -> int:
        """Of the critic, for one comparison."""
        return 2 * len(self._questions)

    def compare(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """A verdict for each, up to BLOCK comparisons at once."""
        verdicts: list[Verdict] = []
        for start in range(0, len(comparisons), BLOCK):
            block = comparisons[start : start + BLOCK]
            rows = [(shown_row(one.a), shown_row(one.b)) for one in block]
            pairs = [pair for pair in rows for _ in self._questions]
            asked = [
                question.of(" ".join(one.query.split()), len(one.a) == len(one.b) == 1)
                for one in block
                for question in self._questions.values()
            ]
            found = iter(self._critic.compare(pairs, asked))
            verdicts += [_verdict({aspect: next(found) for aspect in self._questions}) for _ in block]
        return verdicts


def _verdict(preferences: Mapping[str, Preference]) -> Verdict:
    every = preferences.values()
    return Verdict(
        choices={aspect: _choice(one) for aspect, one in preferences.items()},
        first={aspect: (_upper(one, 0), _upper(one, 1)) for aspect, one in preferences.items()},
        problems=tuple(problem for one in every for problem in one.problems),
        cached=all(one.cached for one in every),
        said=tuple(
            "; ".join(f"{aspect}: {_said(one, order)}" for aspect, one in preferences.items()) for order in (0, 1)
        ),
        hopeless=any(one.hopeless for one in every),
        means=tuple(one.means for one in every if one.means),
    )


def _choice(one: Preference) -> Choice | None:
    """1: the first row, -1: the second, 0: neither; None where an order gave nothing that can be used."""
    if one.problems:
        return None
    return 0 if one.choice is None else 1 if one.choice == SIDES[0] else -1


def _upper(one: Preference, order: int) -> Choice | None:
    """What one order preferred, as shown; 0 where both were alike to the bit."""
    if one.shown[order] is None:
        return 0 if one.means else None
    return 1 if one.shown[order] == SIDES[0] else -1


def _said(one: Preference, order: int) -> str:
    if one.nats is None:
        return one.said[order] or "nothing" if one.said else "nothing"
    return f"{'A' if one.nats[order] > 0 else 'B'} by {abs(one.nats[order]):.2f} nats"
