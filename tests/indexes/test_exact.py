"""Protects the oracle itself: against a sort in plain Python, hand-made ties, and every way to cut the work up."""

import numpy as np
import pytest

from indexes.errors import BeholderError
from indexes.records.exact import best, exact_search


def slow(queries, ids, rows, k):
    """Plain Python: all products, sorted by score (rounded to float32) and then id."""
    answers = []
    for query in queries.astype(float).tolist():
        scored = [
            (-float(np.float32(sum(a * b for a, b in zip(query, row, strict=True)))), i)
            for i, row in zip(ids.tolist(), rows.astype(float).tolist(), strict=True)
        ]
        answers.append([i for _, i in sorted(scored)[:k]])
    return answers


@pytest.mark.parametrize("rows_at_once", [1, 7, 64, 8192])
def test_equals_a_sort_of_everything(vectors, rows_at_once):
    rows, ids = vectors(150, 12).astype(np.float16), np.random.default_rng(1).permutation(1000)[:150]
    rows[40:60] = rows[3]  # ties
    queries = vectors(9, 12, seed=2)
    blocks = [(ids[:70], rows[:70]), (ids[70:70], rows[70:70]), (ids[70:], rows[70:])]
    found = exact_search(queries, blocks, 25, rows=rows_at_once)
    assert found.ids.tolist() == slow(queries, ids, rows, 25)
    assert found.ids.dtype == np.int64
    assert found.scores.dtype == np.float32
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_many_queries_are_cut_into_chunks(vectors, monkeypatch):
    rows, queries = vectors(80, 8), vectors(23, 8, seed=3)
    whole = exact_search(queries, [(np.arange(80), rows)], 5)
    monkeypatch.setattr("indexes.records.exact.QUERY_CHUNK", 4)
    np.testing.assert_array_equal(exact_search(queries, [(np.arange(80), rows)], 5).ids, whole.ids)


def test_equal_scores_keep_the_lower_ids_at_the_kth_place():
    scores = np.array([[0.5, 0.9, 0.5, 0.5, -0.0, 0.0]], np.float32)
    ids = np.array([30, 10, 20, 40, 7, 5])
    assert best(scores, ids, 3).ids.tolist() == [[10, 20, 30]]
    assert best(scores, ids, 6).ids.tolist() == [[10, 20, 30, 40, 5, 7]]
    assert best(scores, ids, 5).ids.tolist() == [[10, 20, 30, 40, 5]], "-0.0 and 0.0 are equal"


def test_negative_scores_are_ordered():
    scores = np.array([[-0.1, -0.9, -0.5, 0.2]], np.float32)
    assert best(scores, np.arange(4), 3).ids.tolist() == [[3, 0, 2]]


def test_k_above_the_count_returns_all(vectors):
    found = exact_search(vectors(2, 8), [(np.arange(3), vectors(3, 8))], 10)
    assert found.ids.shape == (2, 3)
    assert sorted(found.ids[0].tolist()) == [0, 1, 2]
    assert exact_search(vectors(2, 8), [], 10).ids.shape == (2, 0)


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (np.ones((2, 8)), 0, "k = 0"),
        (np.ones((2, 9)), 1, "width 9"),
        (np.ones(8), 1, "shape"),
        (np.full((2, 8), np.nan), 1, "query 0"),
    ],
)
def test_wrong_calls_are_refused(vectors, queries, k, message):
    with pytest.raises(BeholderError, match=message):
        exact_search(queries, [(np.arange(3), vectors(3, 8))], k)
