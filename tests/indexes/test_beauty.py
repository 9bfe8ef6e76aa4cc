"""Protects the maths of beauty: one inner product in more dimensions, what spread is, and which search parameters a
weight gets."""

import math

import numpy as np
import pytest

from indexes.errors import BeholderError
from indexes.records.beauty import (
    Step,
    augmented,
    augmented_queries,
    longest_row,
    padded_width,
    parameters_at,
    spread_of,
    weights_of,
)


def test_the_added_dimensions_give_relevance_plus_beauty_whatever_the_width(vectors):
    x, q, rng = vectors(50, 24), vectors(7, 24, seed=3), np.random.default_rng(0)
    z = rng.uniform(-3, 3, (50, 2)).astype(np.float32)
    weights = np.array([0.07, -0.2], np.float32)
    found = augmented_queries(q, weights) @ augmented(x, z).T
    np.testing.assert_allclose(found, q @ x.T + weights @ z.T, atol=1e-6)
    assert augmented(x, z).shape[1] == augmented_queries(q, weights).shape[1] == 32
    np.testing.assert_allclose(augmented(x, z)[0, 24:26], z[0] / math.sqrt(24), rtol=1e-6)


@pytest.mark.parametrize(("dimension", "scorers", "width"), [(256, 0, 256), (50, 0, 50), (256, 1, 288), (254, 2, 256)])
def test_widths_are_padded_only_with_scorers(dimension, scorers, width):
    assert padded_width(dimension, scorers) == width


def test_no_row_is_longer_than_its_bound(vectors):
    z = np.full((5, 3), 3, np.float32)
    lengths = np.linalg.norm(augmented(vectors(5, 16), z), axis=1)
    assert lengths.max() == pytest.approx(longest_row(16, 3), rel=1e-5)


def test_spread_is_the_median_deviation_within_the_top_tenth(vectors):
    x, q = vectors(400, 16), vectors(9, 16, seed=5)
    top = np.sort((q.astype(float) @ x.T.astype(float)), axis=1)[:, -40:]
    blocks = [(np.arange(150), x[:150]), (np.arange(150, 400), x[150:])]
    value, used = spread_of(q, blocks, 400)
    assert value == pytest.approx(np.median(top.std(axis=1)), rel=1e-4)
    assert used == 9


def test_spread_of_few_pictures_uses_two_and_of_one_is_nothing(vectors):
    x, q = vectors(5, 8), vectors(3, 8, seed=2)
    top = np.sort(q @ x.T, axis=1)[:, -2:]
    assert spread_of(q, [(np.arange(5), x)], 5)[0] == pytest.approx(np.median(top.std(axis=1)), rel=1e-4)
    assert spread_of(q, [(np.arange(1), x[:1])], 1)[0] == 0
    assert spread_of(q, [], 0)[0] == 0


def test_spread_asks_fewer_queries_of_many_pictures(vectors, monkeypatch):
    monkeypatch.setattr("indexes.records.beauty.SPREAD_PRODUCTS", 40 * 200)
    assert spread_of(vectors(100, 8), [(np.arange(200), vectors(200, 8))], 200)[1] == 40


def test_weights_follow_the_order_of_the_index():
    np.testing.assert_allclose(weights_of({"b": 2}, ["a", "b"], 0.03), [0, 0.06], rtol=1e-6)
    for wrong in (float("nan"), float("inf"), "1", True):
        with pytest.raises(BeholderError, match="beauty b:"):
            weights_of({"b": wrong}, ["b"], 0.03)


def steps(**values):
    return {int(name.replace("m", "-").replace("p", "")): Step(v and {"nprobe": v}, 0.99) for name, v in values.items()}


STEPS = {"a": steps(m4=40, m2=20, m1=10, p1=5, p2=9, p4=None), "b": steps(m4=4, m2=2, m1=1, p1=1, p2=2, p4=4)}


@pytest.mark.parametrize(
    ("beauty", "nprobe"),
    [
        ({}, 3),
        ({"a": 0.0}, 3),
        ({"a": 1}, 5),
        ({"a": 0.4}, 5),
        ({"a": 1.2}, 9),
        ({"a": -1}, 10),
        ({"a": -3}, 40),
        ({"a": 2}, 9),
        ({"a": 2.1}, None),  # at 4 nothing met the target
        ({"b": 4}, 4),
        ({"b": 4.01}, None),
        ({"a": 1, "b": -1}, 9),  # both at the sum of their sizes, 2
        ({"a": -2, "b": 2}, 40),
        ({"b": 3, "a": -1.5}, None),
    ],
)
def test_a_weight_gets_the_effort_of_the_steps_around_it(beauty, nprobe):
    found = parameters_at(beauty, STEPS, {"nprobe": 3})
    assert found == (None if nprobe is None else {"nprobe": nprobe})


def test_a_weight_between_two_steps_gets_the_greater_effort_of_both():
    assert parameters_at({"c": 1.5}, {"c": steps(p1=30, p2=8, p4=9)}, {"nprobe": 3}) == {"nprobe": 30}
    assert parameters_at({"c": 0.5}, {"c": steps(p1=2)}, {"nprobe": 3}) == {"nprobe": 3}


def test_without_measured_steps_search_is_exact():
    assert parameters_at({"c": 1}, STEPS, {"nprobe": 3}) is None
