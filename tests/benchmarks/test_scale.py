"""Protects the arithmetic of `bench scale`: by hand, at a size where every number is easy."""

import pytest

from benchmarks.runs import Number, Run
from benchmarks.speed.scale import Rates, ScaleConfig, needs, rates_of
from indexes.errors import BeholderError

RATES = Rates(
    width=100, pictures_per_core_s=10, build_core_s=36, index_bytes=50, measured=1_000_000, query_core_s=0.001
)


def config(tmp_path, **options):
    return ScaleConfig(tmp_path / "e.json", tmp_path / "i.json", **options)


def test_a_corpus_of_the_measured_size_takes_what_was_measured(tmp_path):
    found = needs(RATES, config(tmp_path, pictures=1_000_000, memory="50MB", cores=2, item_bytes=92))
    assert found.machines == 1
    assert found.vectors_bytes == 208e6
    assert found.items_bytes == 92e6
    assert found.index_bytes == 50e6
    assert found.embed_core_hours == pytest.approx(1e5 / 3600)
    assert found.build_core_hours == pytest.approx(0.01)
    assert found.build_hours == pytest.approx(0.005)
    assert found.query_ms == pytest.approx(1)
    assert found.queries_per_s == pytest.approx(2000)


def test_a_part_four_times_as_large_builds_eight_times_as_long_and_answers_in_twice_the_time(tmp_path):
    found = needs(RATES, config(tmp_path, pictures=8_000_000, memory="200MB", cores=1, core_hour=2, gigabyte_month=10))
    assert found.machines == 2
    assert found.build_core_hours == pytest.approx(2 * 8 * 0.01)
    assert found.query_ms == pytest.approx(2)
    assert found.queries_per_s == pytest.approx(500)
    assert found.price_once == pytest.approx(2 * (8e5 / 3600 + 0.16))
    stored = 8 * (0.208 + 0.1 + 0.05)  # GB
    assert found.price_month == pytest.approx(720 * 2 * 2 + 10 * stored)


def test_rates_come_from_the_runs_and_a_missing_one_is_named():
    embed = Run("e", "", {"cores": 4}, 0, {}, {"embed, pipeline": Number(40, "pictures/s")})
    values = {"build, ours, of one core": 36, "index, ours": 50, "batch 1, swept, ours": 1000}
    numbers = {f"1,000: {name}": Number(value, "") for name, value in values.items()}
    index = Run("i", "", {"cores": 4}, 0, {"vectors": [1000], "width": 100}, numbers)
    assert rates_of(embed, index) == Rates(100, 10, 36, 50, 1000, 0.001)
    del numbers["1,000: index, ours"]
    with pytest.raises(BeholderError, match=r"the run i has no '1,000: index, ours'"):
        rates_of(embed, index)


def test_wrong_options_are_all_named(tmp_path):
    with pytest.raises(BeholderError, match="pictures 0, cores 0"):
        config(tmp_path, pictures=0, cores=0)
    with pytest.raises(BeholderError, match="memory 'big'"):
        config(tmp_path, memory="big")
