"""Rank gain: what hand-worked rankings are worth, what changes nothing, and what is refused."""

import math

import numpy as np
import pytest

from indexes.errors import BeholderError
from rl.rewriting.rank_gain import beauty_weights, correlation, ranks, utility


def test_the_utility_of_ranks_one_and_three_of_four() -> None:
    scores, weights = np.array([[0.9, 0.5, 0.7, 0.1]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    assert ranks(scores).tolist() == [[1, 3, 2, 4]]
    assert utility(scores, weights)[0] == pytest.approx((1 + (1 - math.log(3) / math.log(4))) / 2)


def test_weights_count_the_more_beautiful_one_more() -> None:
    scores = np.array([[0.9, 0.5, 0.7, 0.1]])
    weights = beauty_weights(np.array([True, True, False, False]), np.array([1.0, 0.0, 0.5, 0.5]), 0.5)
    assert weights.tolist() == [1.0, 0.5, 0.0, 0.0]
    assert utility(scores, weights[None])[0] == pytest.approx((1 + 0.5 * (1 - math.log(3) / math.log(4))) / 1.5)


def test_only_the_order_counts_and_top_and_bottom_are_one_and_nought() -> None:
    generator = np.random.default_rng(0)
    scores, weights = generator.standard_normal((5, 30)), (generator.random((5, 30)) < 0.2).astype(float)
    weights[:, 0] = 1
    assert utility(3 * scores + 7, weights).tolist() == utility(scores, weights).tolist()
    assert utility(np.exp(scores), weights).tolist() == utility(scores, weights).tolist()
    one = np.zeros((2, 30))
    one[0, scores[0].argmax()], one[1, scores[1].argmin()] = 1, 1
    assert utility(scores[:2], one).tolist() == pytest.approx([1, 0])


def test_ties_go_to_the_lower_column() -> None:
    assert ranks(np.array([[0.5, 0.5, 0.9]])).tolist() == [[2, 3, 1]]


@pytest.mark.parametrize(
    ("scores", "weights", "found"),
    [
        ([[1.0, float("nan")]], [[1.0, 0.0]], "NaN"),
        ([[1.0, 2.0]], [[0.0, 0.0]], "without a relevant"),
        ([[1.0, 2.0]], [[1.0, -1.0]], "without a relevant"),
        ([[1.0]], [[1.0]], "scores"),
    ],
)
def test_what_has_no_rank_is_refused(scores: list[list[float]], weights: list[list[float]], found: str) -> None:
    with pytest.raises(BeholderError, match=found):
        utility(np.array(scores), np.array(weights))


def test_correlation_leaves_out_what_is_no_number() -> None:
    values = np.array([1.0, 2.0, float("nan"), 3.0])
    assert correlation(values, np.array([2.0, 4.0, 100.0, 6.0])) == pytest.approx(1)
    assert correlation(values, np.full(4, 5.0)) is None
