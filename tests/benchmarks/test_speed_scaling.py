"""Protects the fitted exponents: laws that are known beforehand, a slow fit, and a run over small sizes."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.measures.power_law import fit_power_law
from benchmarks.runs import Number, read_run
from benchmarks.speed.scaling import MEASURES, Size, SpeedScalingConfig, curves, measure, numbers_of
from indexes.errors import BeholderError

COUNTS = [1000, 2000, 4000, 8000]


def test_a_law_without_noise_comes_back_exactly() -> None:
    fitted = fit_power_law(COUNTS, [3e-5 * count**1.5 for count in COUNTS])
    assert fitted.exponent == pytest.approx(1.5)
    assert fitted.scale == pytest.approx(3e-5)
    assert (fitted.low, fitted.high) == (pytest.approx(1.5), pytest.approx(1.5))
    assert fitted.at(16_000) == pytest.approx(3e-5 * 16_000**1.5)
    assert fit_power_law(COUNTS, [7.0] * 4).exponent == pytest.approx(0)


def test_the_fit_is_that_of_numpys_polynomials() -> None:
    generator = np.random.default_rng(0)
    costs = np.array([float(count) for count in COUNTS]) * np.exp(generator.normal(0, 0.2, 4))
    (slope, shift), covariance = np.polyfit(np.log(COUNTS), np.log(costs), 1, cov=True)
    fitted = fit_power_law(COUNTS, costs)
    assert fitted.exponent == pytest.approx(slope)
    assert fitted.scale == pytest.approx(np.exp(shift))
    assert fitted.high == pytest.approx(slope + 4.303 * np.sqrt(covariance[0, 0])), "two degrees of freedom"


def test_about_95_of_100_intervals_hold_the_exponent() -> None:
    generator, held = np.random.default_rng(1), 0
    for _ in range(400):
        fitted = fit_power_law(COUNTS, np.array(COUNTS) ** 1.2 * np.exp(generator.normal(0, 0.3, 4)))
        held += (fitted.low or 0) <= 1.2 <= (fitted.high or 0)
    assert 0.92 < held / 400 < 0.98


def test_two_points_have_no_interval_and_what_cannot_be_fitted_is_refused() -> None:
    assert fit_power_law([10, 20], [1, 2]).low is None
    with pytest.raises(BeholderError, match="two counts"):
        fit_power_law([10, 10], [1, 2])
    with pytest.raises(BeholderError, match="above 0"):
        fit_power_law([10, 20], [1, 0])


def test_numbers_hold_each_size_and_an_exponent_of_each_cost() -> None:
    sizes = [Size(count, "Flat", {name: Number(count**0.5, "s") for name in MEASURES}, 1.0) for count in COUNTS]
    numbers = numbers_of(sizes)
    assert numbers["exponent of one query"].value == pytest.approx(0.5)
    assert numbers["exponent of build"].n == 4
    assert numbers["4,000: queries/s"].value == pytest.approx(1000 / 4000**0.5)


def test_a_run_over_small_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.scaling.TURN_S", 0.02)
    monkeypatch.setattr("benchmarks.speed.scaling.TUNING", 50)
    monkeypatch.setattr("benchmarks.speed.scaling.ASKED", 50)
    out = tmp_path / "scaling.json"
    words = [word for count in (4000, 1000, 2000) for word in ("--count", str(count))]
    more = ["--width", "16", "--repeats", "2", "--factory", "IVF16,SQ8", "--out", str(out)]
    result = CliRunner().invoke(app, ["speed", "scaling", *words, *more])
    assert result.exit_code == 0, result.exception
    run = read_run(out)
    assert run.data["vectors"] == [1000, 2000, 4000]
    assert run.data["factories"] == ["IVF16,SQ8"] * 3
    assert 0.9 < run.numbers["exponent of index in memory"].value < 1.1, "bytes a vector are the same"
    assert curves(run)[0].points[0] == (1000.0, 1.0, "")
    assert "<svg" in (tmp_path / "scaling.svg").read_text()


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(BeholderError, match=r"2 counts.*at least 3"):
        measure(SpeedScalingConfig(count=(100, 200, 200)))
    with pytest.raises(BeholderError, match="factory 'Tree'"):
        SpeedScalingConfig(factory="Tree")
    with pytest.raises(BeholderError, match="width 0, count 5"):
        SpeedScalingConfig(count=(5, 20, 30), width=0)
