"""The constant shift of queries: the same as a sum of scores, its fit to pairs, what of a tuned encoder it explains."""

import numpy as np
import pytest

from indexes.errors import BeholderError
from rl.alignment.shift import direction_of_pairs, explained_share, left_over, shift_of_texts, shifted, unit


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return unit(np.random.default_rng(seed).normal(size=(count, width)))


def test_the_shift_by_hand() -> None:
    """q = (.6, .8, 0), w = (0, .6, .8), lam = .25: (.525730, .832405, .175243), and the scores of four pictures."""
    found = shifted(np.array([[0.6, 0.8, 0.0]]), np.array([0.0, 0.6, 0.8]), 0.25)[0]
    assert found == pytest.approx([0.525730, 0.832405, 0.175243], abs=1e-6)
    pictures = np.array([[0.6, 0.8, 0], [0.8, 0.6, 0], [0, 0.6, 0.8], [1, 0, 0]])
    assert pictures @ found == pytest.approx([0.981362, 0.920027, 0.639638, 0.525730], abs=1e-6)


def test_it_ranks_as_the_sum_of_relevance_and_the_direction() -> None:
    queries, pictures, w = rows(5, 8), rows(40, 8, 1), rows(1, 8, 2)[0]
    for lam in (0.0, 0.3, 2.0):
        plain = queries @ pictures.T + lam * (pictures @ w)
        assert (np.argsort(-shifted(queries, w, lam) @ pictures.T) == np.argsort(-plain)).all()


def slow_direction(lists: list, ridge: float) -> np.ndarray:  # type: ignore[type-arg]
    """The same least squares, pair by pair, as one weighted linear system."""
    parts, weights = [], []
    for vectors, prefer in lists:
        for i, j in np.argwhere(prefer):
            parts.append(vectors[i] - vectors[j])
            weights.append(1 / prefer.sum() / len(lists))
    left = np.array(parts) * np.sqrt(weights)[:, None]
    width = left.shape[1]
    system = np.concatenate([left, np.sqrt(ridge) * np.eye(width)])
    wanted = np.concatenate([np.sqrt(weights), np.zeros(width)])
    return unit(np.linalg.lstsq(system, wanted, rcond=None)[0])


def test_the_direction_is_the_one_of_a_slow_loop_over_pairs() -> None:
    generator = np.random.default_rng(3)
    lists = []
    for size in (3, 6, 4):
        vectors, order = rows(size, 5, size), generator.permutation(size)
        prefer = np.zeros((size, size), bool)
        for i in range(size):
            for j in range(size):
                prefer[i, j] = order[i] < order[j] and generator.random() < 0.8
        lists.append((vectors, prefer))
    for ridge in (1e-3, 0.5):
        np.testing.assert_allclose(direction_of_pairs(lists, ridge), slow_direction(lists, ridge), atol=1e-8)


def test_it_finds_the_direction_that_made_the_preferences() -> None:
    truth, lists = rows(1, 16, 9)[0], []
    for seed in range(60):
        vectors = rows(8, 16, 100 + seed)
        liking = vectors @ truth
        lists.append((vectors, liking[:, None] > liking[None, :]))
    assert direction_of_pairs(lists) @ truth > 0.97


def test_opposite_wishes_leave_no_direction() -> None:
    vectors = rows(4, 6)
    prefer = np.triu(np.ones((4, 4), bool), 1)
    with pytest.raises(BeholderError, match="length 0"):
        direction_of_pairs([(vectors, prefer), (vectors, prefer.T)])
    with pytest.raises(BeholderError, match="no list has a pair"):
        direction_of_pairs([(vectors, np.zeros((4, 4), bool))])


def test_a_constant_shift_is_explained_whole_and_a_turn_of_each_is_not() -> None:
    base, w = rows(60, 12), 0.4 * rows(1, 12, 5)[0]
    constant = shifted(base, w, 1.0)
    np.testing.assert_allclose(shift_of_texts(base, constant), w, atol=1e-6)
    for folds in (1, 5):
        assert explained_share(*left_over(base, constant, folds=folds)) == pytest.approx(1, abs=1e-6)
    own = unit(base + 0.4 * rows(60, 12, 6))  # each its own way
    assert explained_share(*left_over(base, own)) < 0.05
    half = unit(base + w + 0.4 * rows(60, 12, 7))
    assert 0.3 < explained_share(*left_over(base, half)) < 0.7
    assert explained_share(*left_over(base, base)) == 0.0


def test_a_few_queries_are_not_learnt_by_heart() -> None:
    """Six queries that turn at random in 64 dimensions: fitted on themselves a sixth is explained, held out none."""
    base, own = rows(6, 64), unit(rows(6, 64) + 0.5 * rows(6, 64, 8))
    assert explained_share(*left_over(base, own, folds=1)) > 0.1
    assert explained_share(*left_over(base, own, folds=6)) < 0.02
    with pytest.raises(BeholderError, match="1 queries"):
        left_over(base[:1], own[:1])
