"""Protects percentiles: hand-derived ranks, ties, direction, a frozen table that maps its own values to themselves."""

import numpy as np
import pytest

from indexes.records.percentiles import CLIP, KNOTS, Quantiles, drift, frozen, normal_scores, percentiles


def oracle(values):
    """(mid-rank - 1/2) / N by counting."""
    values = np.asarray(values, float)
    return [((values < v).sum() + ((values == v).sum() + 1) / 2 - 0.5) / len(values) for v in values]


def test_mid_ranks_by_hand():
    np.testing.assert_allclose(percentiles(np.array([10, 30, 20])), [1 / 6, 5 / 6, 3 / 6])
    np.testing.assert_allclose(percentiles(np.array([1, 1, 2, 3])), [0.25, 0.25, 0.625, 0.875])
    np.testing.assert_allclose(percentiles(np.array([7.0])), [0.5])
    assert percentiles(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("distinct", [3, 40, 10**6])
def test_percentiles_agree_with_counting_and_average_one_half(distinct):
    values = np.random.default_rng(distinct).integers(0, distinct, 300).astype(np.float32)
    found = percentiles(values)
    np.testing.assert_allclose(found, oracle(values), atol=1e-12)
    assert found.mean() == pytest.approx(0.5, abs=1e-12)


def test_any_rising_change_of_the_scores_changes_no_percentile():
    values = np.random.default_rng(1).normal(size=200)
    np.testing.assert_array_equal(percentiles(values), percentiles(np.exp(3 * values) - 8))


def test_where_lower_is_better_the_lowest_score_stands_highest():
    values = np.array([4.0, 1.0, 9.0])
    np.testing.assert_allclose(percentiles(values, lower_is_better=True), [0.5, 5 / 6, 1 / 6])
    table = frozen(values, lower_is_better=True)
    np.testing.assert_allclose(table.of(values), [0.5, 5 / 6, 1 / 6])
    assert table.of([-100.0, 100.0]).tolist() == pytest.approx([5 / 6, 1 / 6])


def test_normal_scores_are_the_normal_quantiles_cut_at_three():
    # 0.975 -> 1.96 and 0.8413 -> 1 are in every table of the normal distribution.
    np.testing.assert_allclose(normal_scores([0.5, 0.975, 0.025, 0.841344746]), [0, 1.959964, -1.959964, 1], atol=1e-6)
    assert normal_scores([0.0, 1.0, 1e-9]).tolist() == [-CLIP, CLIP, -CLIP]
    assert normal_scores([0.5]).dtype == np.float32


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize("count", [1, 2, 500, 20_000])
def test_a_frozen_table_maps_its_own_values_to_their_percentiles(count, lower_is_better):
    values = np.random.default_rng(count).gamma(2, size=count).astype(np.float32)
    table = frozen(values, lower_is_better=lower_is_better)
    off = np.abs(table.of(values) - percentiles(values, lower_is_better=lower_is_better)).max()
    assert off <= (1e-12 if count <= KNOTS else 1 / KNOTS)
    assert table.count == count
    assert Quantiles.from_dict(table.to_dict()) == table
    z = normal_scores(table.of(values)) - normal_scores(percentiles(values, lower_is_better=lower_is_better))
    assert np.abs(z).max() < 0.1, "the tails, where the normal quantile is steep, have knots of their own"


def test_values_beyond_the_table_stand_with_its_ends_and_nan_stays():
    table = frozen(np.array([1.0, 2.0, 3.0, 4.0]))
    found = table.of([-5, 1, 2.5, 9, np.nan])
    np.testing.assert_allclose(found, [0.125, 0.125, 0.5, 0.875, np.nan])
    assert np.isnan(frozen(np.empty(0)).of([np.nan])).all()
    assert frozen(np.empty(0)).of([3.0]).tolist() == [0.5]


def test_drift_is_the_greatest_difference_in_percentile_points():
    table = frozen(np.arange(100.0))
    assert drift(np.arange(100.0), table) == pytest.approx(0, abs=1e-9)
    # All new pictures stand above the old ones: the old best was at 99.5 and is at 49.75 now.
    assert drift(np.concatenate([np.arange(100.0), np.full(100, 500.0)]), table) == pytest.approx(49.75)
    assert drift(np.empty(0), table) == 0


@pytest.mark.parametrize(
    "content",
    [
        {"count": 2, "values": [1, 0], "shares": [0.2, 0.7]},
        {"count": 2, "values": [0, 1], "shares": [0.2, 1.7]},
        {"count": 3, "values": [0, 1, 2], "shares": [0.2, 0.7, 0.3]},
        {"count": 2, "values": [0, 1], "shares": [0.2]},
        {"count": 1, "values": [0, 1], "shares": [0.2, 0.7]},
        {"count": 2, "values": [0, float("inf")], "shares": [0.2, 0.7]},
        {"count": "2", "values": [0], "shares": [0.2]},
    ],
)
def test_a_table_that_is_none_is_refused(content):
    with pytest.raises((ValueError, TypeError)):
        Quantiles.from_dict(content)
