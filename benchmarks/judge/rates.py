"""What verdicts on pairs of rows add up to, as pure functions: rates of 2406.09397's system table, its order
consistency, position bias, and agreement with people.

A choice is 1 (A is better), 0 (similar), -1 (B is better) or None (nothing could be read). Of N choices that were read,
W wins, S similar and L losses of A:

    win = W / N    win-and-similar = (W + S) / N    half-credit = (W + S / 2) / N    decided = W / (W + L)

The paper's captions use the first two and once call similar half a win; all are printed, none is called the win rate
alone. half-credit(A, B) + half-credit(B, A) = 1 and win(A, B) + win-and-similar(B, A) = 1. What was not read is counted
beside N, never in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

Floats = npt.NDArray[np.float64]
Choice = int | None
Call = tuple[Choice, Choice]  # which row each of two calls preferred, as shown: 1 upper, -1 lower, 0 neither


@dataclass(frozen=True)
class Tally:
    """Counts of choices. Rates are in [0, 1]; they raise BeholderError where nothing was read."""

    wins: int
    similar: int
    losses: int
    unread: int = 0

    @classmethod
    def of(cls, choices: Sequence[Choice]) -> "Tally":
        return cls(*(sum(one == value for one in choices) for value in (1, 0, -1, None)))

    @property
    def n(self) -> int:
        """N, the choices that were read."""
        return self.wins + self.similar + self.losses

    @property
    def win(self) -> float:
        return self.wins / self._some

    @property
    def win_and_similar(self) -> float:
        return (self.wins + self.similar) / self._some

    @property
    def half_credit(self) -> float:
        return (self.wins + self.similar / 2) / self._some

    @property
    def decided(self) -> float | None:
        """The share of wins among wins and losses; None where all are similar."""
        return self.wins / (self.wins + self.losses) if self.wins + self.losses else None

    @property
    def turned(self) -> "Tally":
        """The same with A and B exchanged."""
        return Tally(self.losses, self.similar, self.wins, self.unread)

    @property
    def _some(self) -> int:
        if not self.n:
            raise BeholderError(f"no verdict can be read ({self.unread} could not)", "at least one", "See the answers.")
        return self.n


def read(choices: Sequence[Choice]) -> Floats:
    """(N,) those that were read, 1, 0 or -1."""
    return np.array([one for one in choices if one is not None], np.float64)


def wins(choices: Sequence[Choice]) -> Floats:
    """(N,) 1 for a win of A, else 0: its mean is `Tally.win`."""
    return np.asarray(read(choices) > 0, np.float64)


def wins_and_similar(choices: Sequence[Choice]) -> Floats:
    """(N,) 1 for a win or similar: its mean is `Tally.win_and_similar`."""
    return np.asarray(read(choices) >= 0, np.float64)


def half_credits(choices: Sequence[Choice]) -> Floats:
    """(N,) 1, 1/2 or 0: its mean is `Tally.half_credit`."""
    return (read(choices) + 1) / 2


def consistent(calls: Sequence[Call]) -> Floats:
    """(n,) of pairs whose calls were both read: 1 where both orders gave the same winner (or both none), else 0. Its
    mean is the order consistency: 1 for a judge that sees only pictures, 1/2 for one that guesses, 0 for one that sees
    only places."""
    return np.array([float(first == -swapped) for first, swapped in calls if first is not None and swapped is not None])


def first_position(calls: Sequence[Call]) -> tuple[Floats, int]:
    """(P,) of each pair the share of its calls that took the upper row, among calls that took a row; and the number of
    these calls. Their mean is the first-position rate: 1/2 without position bias. Pairs, because the two calls on one
    pair are no independent draws: a judge that sees only pictures takes the upper row exactly once."""
    taken = [[one for one in pair if one] for pair in calls]  # neither None nor 0
    rates = [sum(one > 0 for one in pair) / len(pair) for pair in taken if pair]
    return np.array(rates, np.float64), sum(map(len, taken))


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Agreement of two raters of the same K things beyond chance, (p_o - p_e) / (1 - p_e), at most 1 (Cohen 1960); None
    where chance alone agrees always: both raters know one word only."""
    if len(first) != len(second) or not len(first):
        raise BeholderError(f"{len(first)} labels against {len(second)}", "as many of both, at least one")
    one, other = np.asarray(first), np.asarray(second)
    observed = float((one == other).mean())
    chance = sum(float((one == label).mean() * (other == label).mean()) for label in np.union1d(one, other))
    return (observed - chance) / (1 - chance) if chance < 1 - 1e-12 else None


def people_kappa(votes: Sequence[Sequence[int]]) -> float | None:
    """Cohen's kappa of two different voters on one item, every ordered pair of votes on an item counting alike and
    every item alike. None where no item has two votes, or all votes are the same word.

    Both sides have the same shares of labels, as each pair counts in both orders.
    """
    pairs = [list(permutations(item, 2)) for item in votes if len(item) > 1]
    if not pairs:
        return None
    labels = sorted({vote for item in votes for vote in item})
    table = np.zeros((len(labels), len(labels)))
    for ordered in pairs:
        for one, other in ordered:
            table[labels.index(one), labels.index(other)] += 1 / len(ordered)
    table /= table.sum()
    chance = float((table.sum(0) * table.sum(1)).sum())
    return (float(np.trace(table)) - chance) / (1 - chance) if chance < 1 - 1e-12 else None


def people_choice(votes: Sequence[int]) -> int | None:
    """What people said of an item: the word with most votes, 0 (similar) where A and B tie; None without votes."""
    if not votes:
        return None
    a, b, same = (sum(vote == value for vote in votes) for value in (1, -1, 0))
    if same > max(a, b) or a == b:
        return 0
    return 1 if a > b else -1
