"""Grids of preferences: the counts and invariants of the construction, against slow oracles."""

import itertools
from math import comb

import numpy as np
import pytest

from indexes.errors import BeholderError
from rl.grids import (
    VARIANTS,
    check_order,
    grid,
    grid_chains,
    grid_prefer,
    level_chain,
    level_prefer,
    needed,
    pairs_of,
    prefer_of,
)

SIZES = [(5, 5), (3, 4), (2, 2), (4, 1)]


def closure(prefer):
    """Everything that follows, by walking."""
    size = len(prefer)
    found = prefer.copy()
    for k, i, j in itertools.product(range(size), repeat=3):
        found[i, j] |= found[i, k] and found[k, j]
    return found


@pytest.mark.parametrize(
    ("size", "counts"), [((5, 5), (100, 200, 50)), ((3, 4), (30, 48, 18)), ((2, 2), (4, 5, 2)), ((4, 1), (6, 6, 0))]
)
def test_the_number_of_pairs(size, counts):
    u, v = size
    found = [int(grid_prefer(u, v, variant).sum()) for variant in ("rows-then-columns", "product", "rows")]
    assert tuple(found) == counts
    assert counts[0] == u * comb(v, 2) + v * comb(u, 2)
    assert counts[1] == comb(u + 1, 2) * comb(v + 1, 2) - u * v


@pytest.mark.parametrize(("u", "v"), SIZES)
def test_preferences_are_an_order(u, v):
    for variant in VARIANTS:
        prefer = grid_prefer(u, v, variant)
        assert not prefer.diagonal().any()
        assert not (prefer & prefer.T).any()
        assert not closure(prefer).diagonal().any()
        check_order(prefer, variant)


@pytest.mark.parametrize(("u", "v"), SIZES)
def test_the_product_order_is_what_follows_from_rows_and_columns(u, v):
    both, product = grid_prefer(u, v, "rows-then-columns"), grid_prefer(u, v, "product")
    assert (both <= product).all()
    np.testing.assert_array_equal(closure(both), product)
    assert (grid_prefer(u, v, "rows") <= both).all()


@pytest.mark.parametrize(("u", "v"), SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_chains_hold_only_preferences_and_all_of_rows_and_columns(u, v, variant):
    prefer = grid_prefer(u, v, variant)
    named = {pair for chain in grid_chains(u, v, variant) for pair in itertools.combinations(chain, 2)}
    assert all(prefer[pair] for pair in named)
    if variant != "product":
        assert len(named) == prefer.sum()


def test_picks_are_strided_and_rows_follow_the_list():
    rng = np.random.default_rng(0)
    aesthetics = rng.random(400)
    cells = grid(aesthetics, 5, 5, 10)
    assert sorted(cells.ravel().tolist()) == list(range(0, 250, 10))
    for above, below in itertools.pairwise(cells):
        assert above.max() < below.min()  # a pair of two rows never goes against the list
    for row in cells:
        assert (np.diff(aesthetics[row]) <= 0).all()  # a pair of one row never goes against aesthetics


def test_a_list_must_be_long_enough():
    assert needed(5, 5, 10) == 241
    assert grid(np.zeros(240), 5, 5, 10) is None
    assert grid(np.zeros(241), 5, 5, 10).shape == (5, 5)


def test_equally_beautiful_pictures_keep_the_list_s_order():
    np.testing.assert_array_equal(grid(np.zeros(9), 3, 3, 1), np.arange(9).reshape(3, 3))


def test_mistakes_are_named():
    with pytest.raises(BeholderError, match="1 or more"):
        grid(np.zeros(9), 0, 3, 1)
    with pytest.raises(BeholderError, match="2 aesthetic scores are NaN"):
        grid(np.array([1, np.nan, np.nan]), 1, 3, 1)
    with pytest.raises(BeholderError, match="one of rows-then-columns"):
        grid_prefer(2, 2, "columns")


def test_levels_give_ties_and_gaps():
    prefer = level_prefer(np.array([3.0, 1.0, 3.0, np.nan]))
    assert pairs_of(prefer) == ([0, 2], [1, 1])
    assert not level_prefer(np.array([3.0, 1.0]), gap=2.0).any()
    assert level_chain(np.array([1.0, 3.0, 2.0])) == [[1, 2, 0]]
    assert level_chain(np.array([1.0, 3.0, 3.0])) == level_chain(np.array([1.0])) == []


def test_circles_are_refused():
    check_order(np.zeros((3, 3), bool), "nothing")
    with pytest.raises(BeholderError, match="votes prefers 3 pictures to each other in a circle"):
        check_order(prefer_of([0, 1, 2, 0], [1, 2, 0, 3], 4), "votes")
    with pytest.raises(BeholderError, match="in a circle"):
        check_order(np.eye(2, dtype=bool), "itself")


def test_pairs_and_matrix_are_each_other_s_inverse():
    prefer = np.triu(np.random.default_rng(1).random((6, 6)) < 0.5, 1)
    np.testing.assert_array_equal(prefer_of(*pairs_of(prefer), 6), prefer)
