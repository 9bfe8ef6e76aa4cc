"""Protects the intervals: against a slow loop, the normal approximation, their coverage, and pairing."""

import numpy as np
import pytest

from benchmarks.measures.stats import bootstrap_mean, bootstrap_median, paired_difference, paired_medians
from indexes.errors import BeholderError


def test_interval_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).random(4000)
    interval = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.n == 4000
    # 2,000 resamples place an end to about 5 % of the half width
    assert interval.high - interval.mean == pytest.approx(half, rel=0.15)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.15)


def test_interval_equals_a_slow_loop() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.5, 0.25])
    generator = np.random.default_rng(7)
    means = []
    for _ in range(2000):
        drawn = generator.integers(0, 5, 5)
        means.append(sum(values[place] for place in drawn) / 5)
    interval = bootstrap_mean(values, seed=7)
    assert interval.low == pytest.approx(np.quantile(means, 0.025))
    assert interval.high == pytest.approx(np.quantile(means, 0.975))


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(3)
    held = 0
    for trial in range(200):
        interval = bootstrap_mean(generator.random(80) < 0.3, seed=trial, resamples=400)
        held += interval.low <= 0.3 <= interval.high
    assert 0.90 <= held / 200 <= 0.99  # binomial: 0.95 +- 0.03 at two sigma


def test_same_seed_same_interval_and_blocks_do_not_show() -> None:
    values = np.random.default_rng(1).random(5000)  # several blocks of draws
    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5) != bootstrap_mean(values, seed=6)


def test_pairing_removes_what_queries_have_in_common() -> None:
    generator = np.random.default_rng(2)
    before = generator.random(300)
    after = before + 0.01 + generator.normal(0, 0.01, 300)
    difference = paired_difference(after, before)
    assert difference.excludes(0)
    assert difference.mean == pytest.approx((after - before).mean())
    assert difference.high - difference.low < 0.01
    # unpaired, the same change is lost in the spread between queries
    assert bootstrap_mean(before).high > bootstrap_mean(after).low


def test_one_query_has_no_interval_and_none_is_refused() -> None:
    single = bootstrap_mean([0.4])
    assert (single.low, single.high, single.n) == (None, None, 1)
    assert not single.excludes(0)
    with pytest.raises(BeholderError):
        bootstrap_mean([])
    with pytest.raises(BeholderError, match="same queries"):
        paired_difference([1.0, 2.0], [1.0])


def test_medians_equal_a_slow_loop_and_are_paired() -> None:
    values = np.array([1.0, 7.0, 2.0, 40.0, 3.0, 5.0])
    generator = np.random.default_rng(7)
    medians = [float(np.median(values[generator.integers(0, 6, 6)])) for _ in range(2000)]
    interval = bootstrap_median(values, seed=7)
    assert interval.mean == 4.0
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(medians, [0.025, 0.975])))
    gap = paired_medians(values + 2, values)
    assert (gap.mean, gap.low, gap.high) == (2, 2, 2), "what queries have in common cancels"
    assert bootstrap_median([3.0]).low is None
    with pytest.raises(BeholderError, match="the same queries"):
        paired_medians([1.0], [1.0, 2.0])
