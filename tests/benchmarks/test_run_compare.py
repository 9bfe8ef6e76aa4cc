"""Protects comparisons of runs: paired where the queries are the same, else both intervals, and what must be said."""

import numpy as np
import pytest

from benchmarks.measures.stats import Interval, bootstrap_mean, paired_difference, unpaired_difference
from benchmarks.per_query import PerQuery
from benchmarks.reports.compare import PAIRED, REPEATS, UNPAIRED, compared, remarks, table_of
from benchmarks.runs import Number, Run
from indexes.errors import BeholderError

DRAWN = np.random.default_rng(5)
BEFORE = (DRAWN.random(400) < 0.5).astype(float)
AFTER = np.where(DRAWN.random(400) < 0.1, 1.0, BEFORE)  # a tenth of the queries found, whatever they were before


def run_of(name: str, numbers: dict[str, Number], **data: object) -> Run:
    return Run(name, "beholder bench retrieval t.tsv", {"cpu": "A"}, 0, data, numbers)


def of(values: np.ndarray) -> Number:
    return Number.of(bootstrap_mean(values))


def test_the_same_queries_are_paired_and_narrower_than_unpaired() -> None:
    after, before = run_of("a", {"x": of(AFTER)}), run_of("b", {"x": of(BEFORE)})
    paired = compared(after, before, {"x": PerQuery(AFTER, "q")}, {"x": PerQuery(BEFORE, "q")})[0]
    expected = paired_difference(AFTER, BEFORE)
    assert paired.how == PAIRED
    assert paired.change.value == pytest.approx(100 * expected.mean)
    assert (paired.change.low, paired.change.high) == pytest.approx((100 * expected.low, 100 * expected.high))
    for others in ({}, {"x": PerQuery(BEFORE, "other queries")}):
        unpaired = compared(after, before, {"x": PerQuery(AFTER, "q")}, others)[0]
        assert unpaired.how == UNPAIRED
        assert unpaired.change.value == pytest.approx(paired.change.value)
        wide, narrow = (one.change.high - one.change.low for one in (unpaired, paired))  # type: ignore[operator]
        assert wide > 1.5 * narrow
    assert paired.sure
    assert not unpaired.sure


def test_unpaired_by_hand() -> None:
    gap = unpaired_difference(Interval(0.7, 0.6, 0.74, 50), Interval(0.5, 0.47, 0.53, 80))
    assert gap.mean == pytest.approx(0.2)
    assert gap.low == pytest.approx(0.2 - np.sqrt(0.1**2 + 0.03**2))
    assert gap.high == pytest.approx(0.2 + np.sqrt(0.04**2 + 0.03**2))
    assert gap.n == 50
    assert unpaired_difference(Interval(0.7, None, None, 1), Interval(0.5, 0.4, 0.6, 9)).low is None


def test_unpaired_intervals_hold_what_they_promise() -> None:
    """Oracle: of two independent samples of known means the interval holds the true gap in about 95 of 100 draws."""
    draws = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        one, two = (bootstrap_mean(draws.random(60) < p, seed=seed, resamples=400) for p in (0.6, 0.3))
        gap = unpaired_difference(one, two)
        assert gap.low is not None
        assert gap.high is not None
        held += gap.low <= 0.3 <= gap.high
    assert 180 <= held <= 200


def test_medians_are_compared_as_medians() -> None:
    ranks, others = np.array([1.0, 2.0, 30.0]), np.array([1.0, 5.0, 6.0])
    after, before = run_of("a", {"median rank": Number(2.0, "")}), run_of("b", {"median rank": Number(5.0, "")})
    values = ({"median rank": PerQuery(one, "q", of_ranks=True)} for one in (ranks, others))
    assert compared(after, before, *values)[0].change.value == -3.0


def test_repeats_give_no_interval_and_other_units_are_not_compared() -> None:
    speed = Number(12.0, "ms", 11.0, 13.0, 3, spread="range")
    after = run_of("a", {"search": speed, "n": Number(1.0, "GiB"), "new": Number(1.0)})
    before = run_of("b", {"search": Number(15.0, "ms", 14.0, 16.0, 3, spread="range"), "n": Number(1.0, "MiB")})
    found = compared(after, before, {}, {})
    assert [(one.name, one.change.value, one.change.low, one.how) for one in found] == [("search", -3.0, None, REPEATS)]
    table = table_of(after, before, found)
    assert table.columns == ("measure", "a", "b", "difference", "how")
    assert table.rows == (("search", "12.0 ms", "15.0 ms", "-3.00 ms", REPEATS),)
    said = remarks(after, Run("b", "", {"cpu": "B"}, 0, {}, before.numbers), found)
    assert any("not the same machine" in line for line in said)
    assert any(line.startswith("2 numbers are in one of the runs only: n, new") for line in said)


def test_other_data_is_said() -> None:
    numbers = {"x": of(BEFORE)}
    after, before = run_of("a", numbers, split="val", pictures=9), run_of("b", numbers, split="dev", pictures=9)
    said = remarks(after, before, compared(after, before, {}, {}))
    assert said[0] == "Warning: not the same data: split (val against dev)."
    assert any(line.startswith("unpaired:") for line in said)


def test_runs_of_different_benchmarks_are_refused() -> None:
    with pytest.raises(BeholderError, match="no number in common"):
        compared(run_of("a", {"x": Number(1.0)}), run_of("b", {"y": Number(1.0)}), {}, {})
