"""Protects the definitions of the metrics: against slow loops, hand-derived literals and exhaustive
enumeration.
"""

from itertools import permutations

import numpy as np
import pytest

from benchmarks.measures import metrics
from indexes.errors import BeholderError

HITS = np.array([[0, 1, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)
RELEVANT = np.array([2, 3, 1])  # the second query's third picture and the third's only one were not found


def random_rankings(seed: int, queries: int = 40, pictures: int = 23) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and relevance with at least one relevant picture per query."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 6, (queries, pictures)).astype(np.float32)
    relevance = generator.random((queries, pictures)) < 0.2
    relevance[np.arange(queries), generator.integers(0, pictures, queries)] = True
    return scores, relevance


def slow_order(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda column: (-scores[column], column))


def slow_average_precision(flags: list[bool], relevant: int) -> float:
    total, found = 0.0, 0
    for rank, flag in enumerate(flags, start=1):
        if flag:
            found += 1
            total += found / rank
    return total / relevant


def test_literals_by_hand() -> None:
    np.testing.assert_array_equal(metrics.hit_rate(HITS, 1), [0, 1, 0])
    np.testing.assert_array_equal(metrics.hit_rate(HITS, 5), [1, 1, 0])
    np.testing.assert_allclose(metrics.recall(HITS, RELEVANT, 2), [1 / 2, 2 / 3, 0])
    # (1/2 + 2/4) / 2 = 1/2;  (1/1 + 2/2) / 3 = 2/3
    np.testing.assert_allclose(metrics.average_precision(HITS, RELEVANT), [1 / 2, 2 / 3, 0])
    np.testing.assert_allclose(metrics.r_precision(HITS, RELEVANT), [1 / 2, 2 / 3, 0])


def test_ndcg_and_first_rank_by_hand() -> None:
    # gains 1/log2(1 + rank): 1, 0.6309, 0.5, 0.4307, ...; the most for 2 is 1.6309, for 3 it is 2.1309
    np.testing.assert_allclose(
        metrics.ndcg(HITS, RELEVANT, 5), [(0.630930 + 0.430677) / 1.630930, 1.630930 / 2.130930, 0], atol=1e-6
    )
    np.testing.assert_allclose(metrics.ndcg(HITS, RELEVANT, 1), [0, 1, 0])
    np.testing.assert_allclose(metrics.ndcg(HITS, RELEVANT, 100), metrics.ndcg(HITS, RELEVANT, 5))
    np.testing.assert_array_equal(metrics.first_rank(HITS[:2]), [2, 1])
    with pytest.raises(BeholderError, match="whole rankings"):
        metrics.first_rank(HITS)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_chance_of_ndcg_is_the_mean_over_all_orders(k: int) -> None:
    for relevant in (1, 2, 4):
        flags = [True] * relevant + [False] * (5 - relevant)
        hits = np.array([[flags[place] for place in order] for order in permutations(range(5))])
        expected = metrics.ndcg(hits, np.full(len(hits), relevant), k).mean()
        assert metrics.chance_ndcg(np.array([relevant]), 5, k) == pytest.approx(expected)


def test_metrics_equal_slow_loops_with_ties() -> None:
    scores, relevance = random_rankings(seed=1)
    hits = metrics.ranked_hits(scores, relevance)
    counts = relevance.sum(axis=1)
    for query in range(len(scores)):
        flags = [bool(relevance[query, column]) for column in slow_order(scores[query])]
        assert list(hits[query]) == flags
        relevant = sum(flags)
        assert metrics.average_precision(hits, counts)[query] == pytest.approx(slow_average_precision(flags, relevant))
        assert metrics.r_precision(hits, counts)[query] == pytest.approx(sum(flags[:relevant]) / relevant)
        for k in (1, 5, 10, 100):
            assert metrics.hit_rate(hits, k)[query] == float(any(flags[:k]))
            assert metrics.recall(hits, counts, k)[query] == pytest.approx(sum(flags[:k]) / relevant)


def test_recall_and_hit_rate_agree_only_when_one_picture_is_relevant() -> None:
    scores, _ = random_rankings(seed=2, pictures=40)
    one = np.eye(40, dtype=bool)
    hits = metrics.ranked_hits(scores, one)
    np.testing.assert_array_equal(metrics.hit_rate(hits, 5), metrics.recall(hits, np.ones(40, np.int64), 5))


def test_cutting_the_ranking_never_raises_average_precision() -> None:
    scores, relevance = random_rankings(seed=3)
    counts = relevance.sum(axis=1)
    whole = metrics.average_precision(metrics.ranked_hits(scores, relevance), counts)
    cut = metrics.average_precision(metrics.ranked_hits(scores, relevance, k=7), counts)
    assert (cut <= whole).all()
    assert (cut < whole).any()


@pytest.mark.parametrize(("pictures", "relevant"), [(5, 2), (6, 1), (6, 3), (4, 4), (1, 1)])
def test_chance_equals_the_mean_over_all_orders(pictures: int, relevant: int) -> None:
    flags = [True] * relevant + [False] * (pictures - relevant)
    orders = np.array(list(permutations(flags)))
    counts = np.full(len(orders), relevant)
    one = np.array([relevant])
    assert metrics.chance_average_precision(one, pictures)[0] == pytest.approx(
        metrics.average_precision(orders, counts).mean()
    )
    assert metrics.chance_r_precision(one, pictures)[0] == pytest.approx(metrics.r_precision(orders, counts).mean())
    for k in (1, 2, 10):
        assert metrics.chance_hit_rate(one, pictures, k)[0] == pytest.approx(metrics.hit_rate(orders, k).mean())


def test_zero_shot_counts_the_best_class_and_ties_go_to_the_lower() -> None:
    scores = np.array([[0.1, 0.9, 0.3], [0.5, 0.5, 0.1], [0.2, 0.2, 0.8]])
    np.testing.assert_array_equal(metrics.zero_shot_top1(scores, np.array([1, 1, 2])), [1, 0, 1])


def test_knn_recall_is_the_share_of_the_exact_ids_found() -> None:
    exact = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    found = np.array([[4, 3, 9, 1], [5, 6, 7, 8]])
    np.testing.assert_allclose(metrics.knn_recall(found, exact, 4), [3 / 4, 1])
    np.testing.assert_allclose(metrics.knn_recall(found[:, :2], exact, 4), [2 / 4, 2 / 4])
    np.testing.assert_allclose(metrics.knn_recall(found, exact, 2), [0, 1])


def test_nonsense_is_refused() -> None:
    with pytest.raises(BeholderError, match="k is 0"):
        metrics.hit_rate(HITS, 0)
    with pytest.raises(BeholderError, match="no relevant picture"):
        metrics.average_precision(HITS, np.array([1, 0, 1]))
    with pytest.raises(BeholderError, match="NaN"):
        metrics.ranked_hits(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
