"""Protects `bench speed index`: its vectors, what a sweep finds, that both sides are asked alike; never the speed."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.runs import read_run
from benchmarks.speed.clusters import BLOCK, Clusters
from benchmarks.speed.index import SpeedIndexConfig, curves, trade_off, write_embeddings
from benchmarks.speed.index_sides import Side, build_autofaiss, build_ours, least_effort
from indexes.errors import BeholderError
from indexes.records.exact import exact_search

PEER = """
import faiss, json, numpy as np, pathlib
def build_index(embeddings, index_path, index_infos_path, max_index_memory_usage, current_memory_available, metric_type,
                verbose):
    assert (max_index_memory_usage, current_memory_available, metric_type) == ("536MB", "1073MB", "ip")
    files = sorted(pathlib.Path(embeddings).iterdir())
    rows = np.concatenate([np.load(file) for file in files]).astype(np.float32)
    index = faiss.index_factory(rows.shape[1], "HNSW8", faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    faiss.write_index(index, index_path)
    return index, {"index_key": "HNSW8", "index_param": "efSearch=77"}
"""


def test_rows_are_unit_repeat_by_seed_and_begin_alike() -> None:
    clusters = Clusters(width=24, clusters=50)
    rows = clusters.rows(300)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows, clusters.rows(1000)[:300])
    assert not np.allclose(rows, Clusters(width=24, clusters=50, seed=1).rows(300))
    assert [len(block) for block in clusters.blocks(BLOCK + 5)] == [BLOCK, 5]


def test_blocks_differ_and_queries_are_no_rows() -> None:
    clusters = Clusters(width=24, clusters=50)
    first, second = clusters.blocks(2 * BLOCK)
    assert not np.allclose(first[:100], second[:100])
    assert (clusters.pictures(50) @ first.T).max() < 0.9999


def test_rows_lie_in_clusters_and_texts_beside_them() -> None:
    clusters = Clusters(width=64, clusters=200)
    rows = clusters.rows(20_000)
    nearest = {
        kind: np.median((queries @ rows.T).max(axis=1))
        for kind, queries in (("pictures", clusters.pictures(200)), ("texts", clusters.texts(200)))
    }
    uniform = np.random.default_rng(0).standard_normal((200, 64))
    far = np.median((uniform / np.linalg.norm(uniform, axis=1, keepdims=True) @ rows.T).max(axis=1))
    assert nearest["pictures"] > nearest["texts"] + 0.1
    assert nearest["texts"] > far
    mean = rows.mean(axis=0)
    assert abs((clusters.texts(2000) @ mean).mean()) < 0.1 < (rows @ mean).mean(), "another mean than the rows'"


@pytest.mark.parametrize("wrong", [{"width": 1}, {"clusters": 0}, {"seed": -1}])
def test_a_senseless_distribution_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BeholderError):
        Clusters(**wrong)


@pytest.mark.parametrize("needed", [1, 5, 8, 37, 64])
def test_a_sweep_ends_at_the_least_effort(needed: int) -> None:
    exact = np.arange(20).reshape(2, 10)

    def search(batch: np.ndarray, effort: int | None, threads: int | None) -> np.ndarray:
        return exact if (effort or 0) >= needed else exact + 100

    side = Side("x", "IVF64,Flat", "nprobe", 3, 64, search, {}, 1)
    assert least_effort(side, np.zeros((2, 4), np.float32), exact, 0.95) == (needed, 1.0)


def test_a_sweep_that_never_meets_the_target_says_its_best() -> None:
    exact = np.arange(20).reshape(2, 10)
    side = Side("x", "IVF64,Flat", "nprobe", 3, 64, lambda batch, effort, threads: exact[:, :8], {}, 1)
    assert least_effort(side, np.zeros((2, 4), np.float32), exact, 0.95) == (64, 0.8)


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python whose autofaiss builds a small graph."""
    (tmp_path / "site/autofaiss-9.dist-info").mkdir(parents=True)
    (tmp_path / "site/autofaiss-9.dist-info/METADATA").write_text("Name: autofaiss\nVersion: 9\n")
    (tmp_path / "site/autofaiss.py").write_text(PEER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    return Path(sys.executable)


def test_both_sides_hold_the_same_vectors(tmp_path: Path, peer: Path) -> None:
    clusters = Clusters(width=16, clusters=20)
    embeddings = write_embeddings(clusters, 1500, tmp_path / "e")
    texts = clusters.texts(80)
    exact = exact_search(texts, embeddings.blocks(), 10).ids
    ours = build_ours(embeddings.folder, tmp_path, texts[:40], 0.9, 1 << 30)
    theirs = build_autofaiss(peer, [rows for _, rows in embeddings.blocks()], tmp_path, 1 << 30)
    assert (theirs.factory, theirs.parameter, theirs.default) == ("HNSW8", "efSearch", 77)
    assert (ours.search(texts, None, None) == exact).mean() > 0.9
    assert (theirs.search(texts, 1000, None) == exact).mean() > 0.9
    before = theirs.search(texts, None, 1)
    assert (theirs.search(texts, 1, None) != before).any(), "the effort is set"
    np.testing.assert_array_equal(theirs.search(texts, None, 1), before, "and set back")
    assert ours.built["core_seconds"] > 0
    assert theirs.index_bytes > 1500 * 64


def test_speed_index_runs(tmp_path: Path, peer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.index.TURN_S", 0.01)
    out = tmp_path / "speed-index.json"
    words = ["speed", "index", "--count", "1200", "--width", "16", "--batch", "2", "--repeats", "2", "--memory", "1GiB"]
    result = CliRunner().invoke(app, [*words, "--autofaiss", str(peer), "--out", str(out)])
    assert result.exit_code == 0, result.exception
    run = read_run(out)
    assert run.numbers["1,200: knn_recall@10 by itself, ours"].value >= 0.95
    assert run.numbers["1,200: batch 2, by itself, ours / autofaiss"].n == 2
    assert run.numbers["1,200: index, autofaiss"].unit == "bytes/vector"
    assert "autofaiss chose HNSW8 with efSearch 77" in run.notes[0]
    assert [curve.name for curve in curves(run)] == ["1,200, ours", "1,200, autofaiss"]
    assert "<svg" in (tmp_path / "speed-index.svg").read_text()


def test_the_curve_of_recall_and_speed_ends_where_nearly_all_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.index.TRADE_S", 0.001)
    exact = np.arange(20).reshape(2, 10)

    def search(batch: np.ndarray, effort: int | None, threads: int | None) -> np.ndarray:
        return np.where(np.arange(10) < min(effort or 10, 10), exact, exact + 100)

    queries = np.zeros((2, 4), np.float32)
    points = trade_off(Side("x", "IVF64,Flat", "nprobe", 3, 64, search, {}, 1), queries, exact)
    assert [(effort, recall) for effort, recall, _ in points] == [(1, 0.1), (2, 0.2), (4, 0.4), (8, 0.8), (12, 1.0)]
    assert min(speed for *_, speed in points) > 0
    assert [point[:2] for point in trade_off(Side("x", "Flat", None, None, 64, search, {}, 1), queries, exact)] == [
        (0, 1.0)
    ]


def test_wrong_options_are_all_named() -> None:
    with pytest.raises(BeholderError, match=r"width 0, count 3 \(at least 10\), batch 0"):
        SpeedIndexConfig(count=(3,), width=0, batch=(0,))
    with pytest.raises(BeholderError, match="memory 'much'"):
        SpeedIndexConfig(memory="much")
