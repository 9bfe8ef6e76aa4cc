"""Protects the speed benchmarks: what is counted, how it is summarised, and that the verbs run; never the
speed itself.
"""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.runs import Number, read_run
from benchmarks.speed.embed import Repeat, SpeedEmbedConfig, decode_chunk, summarize
from benchmarks.speed.search import SpeedSearchConfig, clustered, rate
from indexes.errors import BeholderError
from retrieval.sources.images import Preprocessing


def test_expected_rate_is_that_of_two_stages_that_share_the_cores() -> None:
    turn = Repeat(pipeline=50, call=40, encode=110, forward=100, decode=100)
    assert turn.expected == pytest.approx(50)  # 10 ms of each per picture


def test_ratios_are_taken_within_a_repeat() -> None:
    turns = [Repeat(50, 40, 100, 100, 100), Repeat(10, 9, 20, 20, 20), Repeat(90, 80, 200, 300, 300)]
    numbers = summarize(turns)
    assert numbers["pipeline / expected"] == Number(1.0, "", 0.6, 1.0, 3, spread="range")
    assert numbers["embed, pipeline"].value == 50
    assert (numbers["forward only"].low, numbers["forward only"].high) == (20, 300)


def test_decoding_counts_good_pictures_only(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "good.png").write_bytes((corpus / "images" / "00.png").read_bytes())
    preprocessing = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)
    assert decode_chunk((str(tmp_path), ["bad.png", "good.png"], preprocessing)) == 1


def test_generated_vectors_are_unit_rows_in_clusters_and_repeat_by_seed() -> None:
    rows = clustered(4000, 64, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows, clustered(4000, 64, np.random.default_rng(1)))
    best = np.sort(rows[:100] @ rows.T, axis=1)[:, -3]  # the second best after itself
    assert np.median(best) > 0.5  # uniform rows of width 64 reach about 0.4


def test_rate_counts_queries_of_whole_calls() -> None:
    sizes: list[int] = []
    queries = np.zeros((10, 4), np.float32)
    found = rate(lambda batch: sizes.append(len(batch)), queries, 3, 0.01)
    assert set(sizes) == {3}
    assert found > 0


def test_speed_search_runs_and_agrees_with_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.search.TURN_S", 0.02)
    out = tmp_path / "speed.json"
    words = ["speed", "search", "--count", "3000", "--width", "32", "--batch", "2", "--repeats", "2"]
    result = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert result.exit_code == 0, result.exception
    run = read_run(out)
    assert run.numbers["same ids as FAISS"].value == 1.0
    assert run.numbers["batch 2, ours / FAISS"].n == 2
    assert "IndexFlatIP" in run.notes[0]


def test_speed_embed_runs(tiny_model: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "embed.json"
    words = ["speed", "embed", str(corpus / "images"), "--model", str(tiny_model), "--workers", "1"]
    result = CliRunner().invoke(app, [*words, "--limit", "6", "--repeats", "1", "--out", str(out)])
    assert result.exit_code == 0, result.exception
    run = read_run(out)
    assert run.data["pictures"] == 6
    rates = {name: number.value for name, number in run.numbers.items()}
    expected = 1 / (1 / rates["forward only"] + 1 / rates["decode only"])
    assert rates["expected of both, 1 / (1/f + 1/d)"] == pytest.approx(expected)
    assert rates["pipeline / expected"] == pytest.approx(rates["embed, pipeline"] / expected)
    assert rates["embed, whole call"] < rates["embed, pipeline"] <= rates["embed, time in the encoder"]
    assert rates["peak memory"] > 10


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(BeholderError, match="batch_size 0, repeats 0"):
        SpeedEmbedConfig(Path("x"), batch_size=0, repeats=0)
    with pytest.raises(BeholderError, match="count 0, batch 0"):
        SpeedSearchConfig(count=0, batch=(0,))
