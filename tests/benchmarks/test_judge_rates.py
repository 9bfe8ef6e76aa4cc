"""Protects the tallies of the judge: literals of the method reference, identities, and kappa worked out by hand."""

import numpy as np
import pytest

from benchmarks.judge import rates as judge_rates
from benchmarks.judge.rates import Tally, cohen_kappa, people_choice, people_kappa
from indexes.errors import BeholderError

W, S, L = 60, 30, 60
CHOICES = [1] * W + [0] * S + [-1] * L


def test_rates_of_the_method_reference() -> None:
    tally = Tally.of(CHOICES)
    assert tally == Tally(60, 30, 60)
    assert tally.win == pytest.approx(0.4, abs=1e-12)
    assert tally.win_and_similar == pytest.approx(0.6, abs=1e-12)
    assert tally.half_credit == 0.5
    assert tally.decided == 0.5


def test_exchanging_the_systems_turns_every_rate() -> None:
    tally = Tally(7, 2, 4, 5)
    assert tally.half_credit + tally.turned.half_credit == pytest.approx(1)
    assert tally.win + tally.turned.win_and_similar == pytest.approx(1)
    assert tally.turned.turned == tally


def test_what_was_not_read_is_counted_and_never_filled_in() -> None:
    tally = Tally.of([1, None, None, -1, 1])
    assert (tally.n, tally.unread) == (3, 2)
    assert tally.win == pytest.approx(2 / 3)
    assert judge_rates.half_credits([1, None, 0]).tolist() == [1, 0.5]
    with pytest.raises(BeholderError, match="no verdict can be read"):
        _ = Tally.of([None, None]).half_credit
    assert Tally(0, 3, 0).decided is None


@pytest.mark.parametrize(
    ("values", "rate"), [("wins", "win"), ("wins_and_similar", "win_and_similar"), ("half_credits", "half_credit")]
)
def test_values_per_query_have_the_rate_as_their_mean(values: str, rate: str) -> None:
    choices = [1, 0, -1, None, 1, 1]
    assert getattr(judge_rates, values)(choices).mean() == pytest.approx(getattr(Tally.of(choices), rate))


def test_order_consistency_tells_pictures_from_places() -> None:
    assert judge_rates.consistent([(1, -1), (-1, 1), (0, 0)]).mean() == 1  # the same row twice
    assert judge_rates.consistent([(1, 1), (-1, -1)]).mean() == 0  # the same place twice
    assert judge_rates.consistent([(1, 0), (0, 0)]).mean() == 0.5
    assert len(judge_rates.consistent([(None, 1), (1, None)])) == 0


def test_first_position_rate_counts_calls_that_took_a_row() -> None:
    rates, calls = judge_rates.first_position([(1, 1), (1, -1), (0, -1), (None, 1), (0, 0)])
    assert rates.tolist() == [1, 0.5, 0, 1]
    assert calls == 6


def test_kappa_is_agreement_beyond_chance() -> None:
    # 20 both A, 5 A then B, 10 B then A, 15 both B: p_o = .7, p_e = .5 * .6 + .5 * .4 = .5, kappa = .4
    first, second = [1] * 25 + [-1] * 25, [1] * 20 + [-1] * 5 + [1] * 10 + [-1] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    # Three words: p_o = 5 / 6, p_e = (3 * 2 + 2 * 3 + 1 * 1) / 36 = 13 / 36
    assert cohen_kappa([1, 1, 1, 0, 0, -1], [1, 1, 0, 0, 0, -1]) == pytest.approx((5 / 6 - 13 / 36) / (23 / 36))
    assert cohen_kappa([1, 0, -1], [1, 0, -1]) == 1
    assert cohen_kappa([1, -1], [-1, 1]) == -1
    assert cohen_kappa([1, 1], [1, 1]) is None
    with pytest.raises(BeholderError, match="2 labels against 1"):
        cohen_kappa([1, 1], [1])


def test_kappa_of_random_labels_is_about_nothing() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(-1, 2, (2, 20_000))
    assert abs(cohen_kappa(first.tolist(), second.tolist()) or 0) < 0.02


def test_people_agree_with_each_other_as_far_as_their_votes_do() -> None:
    assert people_kappa([[1, 1], [-1, -1, -1], [0, 0], [1]]) == pytest.approx(1)
    # Pairs: (1,1) on one item, (1,-1) and (-1,1) on the other: p_o = .5; labels 3/4 and 1/4: p_e = .625
    assert people_kappa([[1, 1], [1, -1]]) == pytest.approx((0.5 - 0.625) / 0.375)
    assert people_kappa([[1], [-1]]) is None
    assert people_kappa([[1, 1], [1, 1]]) is None


@pytest.mark.parametrize(
    ("votes", "choice"),
    [([1, 1, -1], 1), ([-1], -1), ([1, -1], 0), ([0, 0, 1], 0), ([1, -1, 0], 0), ([1, 0], 1), ([], None)],
)
def test_people_are_taken_at_their_majority(votes: list[int], choice: int | None) -> None:
    assert people_choice(votes) == choice
