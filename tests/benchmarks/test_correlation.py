"""Agreement with people: hand-worked cases, an independent oracle, and what must not matter."""

import numpy as np
import pytest

from benchmarks.measures.correlation import (
    bootstrap_pictures,
    choice_agreement,
    inversions,
    kendall,
    mid_ranks,
    pair_accuracy,
    pearson,
    spearman,
)
from indexes.errors import BeholderError


def slow_pair_accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    right, total = 0.0, 0
    for i in range(len(scores)):
        for j in range(i):
            if truth[i] != truth[j]:
                total += 1
                product = (scores[i] - scores[j]) * (truth[i] - truth[j])
                right += 1.0 if product > 0 else 0.5 if product == 0 else 0.0
    return right / total


def test_mid_ranks_share_the_mean_of_ties() -> None:
    assert mid_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_spearman_without_ties_is_the_textbook_formula() -> None:
    # 1 - 6 sum d^2 / (n (n^2 - 1)): ranks 1 2 3 4 5 against 2 1 4 3 5 give d^2 = 4, 1 - 24 / 120 = .8
    truth = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    assert spearman(np.array([2.0, 1.0, 4.0, 3.0, 5.0]), truth) == pytest.approx(0.8)
    assert spearman(truth**3, truth) == pytest.approx(1.0)
    assert spearman(-truth, truth) == pytest.approx(-1.0)


def test_constant_scores_agree_with_nobody() -> None:
    truth = np.arange(6.0)
    assert spearman(np.ones(6), truth) == 0
    assert pair_accuracy(np.ones(6), truth) == 0.5


def test_pair_accuracy_is_that_of_a_slow_loop_with_ties_on_both_sides() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores, truth = (generator.integers(0, 6, 15).astype(float) for _ in range(2))
        assert pair_accuracy(scores, truth) == pytest.approx(slow_pair_accuracy(scores, truth))


def slow_tau_b(scores: np.ndarray, truth: np.ndarray) -> float:
    concordance = first = second = 0.0
    for i in range(len(scores)):
        for j in range(i):
            a, b = np.sign(scores[i] - scores[j]), np.sign(truth[i] - truth[j])
            concordance, first, second = concordance + a * b, first + a * a, second + b * b
    return concordance / np.sqrt(first * second)


def test_kendall_is_tau_b_of_a_slow_loop_and_pearson_is_numpys() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        scores, truth = (generator.integers(0, 6, 15).astype(float) for _ in range(2))
        assert kendall(scores, truth) == pytest.approx(slow_tau_b(scores, truth))
        assert pearson(scores, truth) == pytest.approx(np.corrcoef(scores, truth)[0, 1])
    # ranks 1 2 3 4 5 against 2 1 4 3 5: two of ten pairs against each other, (8 - 2) / 10
    assert kendall(np.array([2.0, 1.0, 4.0, 3.0, 5.0]), np.arange(5.0)) == pytest.approx(0.6)
    assert kendall(np.ones(4), np.arange(4.0)) == pearson(np.ones(4), np.arange(4.0)) == 0


def test_inversions_are_those_of_a_slow_loop() -> None:
    generator = np.random.default_rng(2)
    for count in (0, 1, 2, 7, 33, 100):
        ranks = generator.integers(0, max(count, 1), count)
        slow = sum(ranks[i] > ranks[j] for j in range(count) for i in range(j))
        assert inversions(ranks) == slow


def test_groups_are_never_compared() -> None:
    truth = np.array([1.0, 2.0, 3.0, 101.0, 102.0, 103.0])
    groups = np.array([0, 0, 0, 1, 1, 1])
    scores = truth.copy()
    shifted = scores - 500 * groups  # wrong between groups, right within each
    assert kendall(shifted, truth, groups) == pearson(shifted, truth, groups) == pytest.approx(1)
    assert pair_accuracy(shifted, truth, groups) == spearman(shifted, truth, groups) == 1
    assert pair_accuracy(shifted, truth) < 1


def test_judgements_that_do_not_differ_say_nothing() -> None:
    assert np.isnan(pair_accuracy(np.arange(3.0), np.ones(3)))
    with pytest.raises(BeholderError, match="nothing to compare"):
        bootstrap_pictures(lambda rows: pair_accuracy(np.arange(3.0)[rows], np.ones(3)), 3)


def test_draws_that_say_nothing_are_left_out_of_the_interval() -> None:
    scores = truth = np.arange(3.0)  # one draw in nine is one picture three times
    found = bootstrap_pictures(lambda rows: pair_accuracy(scores[rows], truth[rows]), 3)
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    rare = bootstrap_pictures(lambda rows: 1.0 if len(set(rows.tolist())) == 3 else float("nan"), 3)
    assert (rare.mean, rare.low, rare.high) == (1, None, None)


def test_choices_by_hand() -> None:
    # a > b > c by score. a-b: 3 to 1, b-c: 0 to 2, a-c: 1 to 0: right 3 + 0 + 1 of 7.
    scores, pairs = np.array([3.0, 2.0, 1.0]), np.array([[0, 1], [1, 2], [0, 2]])
    wins = np.array([[3.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    assert choice_agreement(scores, pairs, wins) == pytest.approx(4 / 7)
    assert choice_agreement(-scores, pairs, wins) == pytest.approx(3 / 7)
    assert choice_agreement(np.ones(3), pairs, wins) == pytest.approx(0.5)
    # Picture a drawn twice, c not at all: only a-b is left, whatever its weight.
    assert choice_agreement(scores, pairs, wins, np.array([2.0, 1.0, 0.0])) == pytest.approx(3 / 4)


def test_a_bootstrap_interval_covers_the_statistic_and_repeats_by_seed() -> None:
    values = np.random.default_rng(0).normal(size=200)
    first = bootstrap_pictures(lambda rows: float(values[rows].mean()), 200, seed=3)
    assert first == bootstrap_pictures(lambda rows: float(values[rows].mean()), 200, seed=3)
    # The mean's interval is about 1.96 s / sqrt(n) to each side.
    half = 1.96 * values.std() / np.sqrt(200)
    assert first.low == pytest.approx(values.mean() - half, rel=0.2, abs=0.03)
    assert first.high == pytest.approx(values.mean() + half, rel=0.2, abs=0.03)
