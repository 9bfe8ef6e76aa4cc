"""Protects the choice of an index: memory is never exceeded on purpose, targets are never missed in silence."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from indexes import IndexConfig, build_index, load_index
from indexes.building import planner as planning
from indexes.building.planner import Plan, Trial, rank
from indexes.engine.factories import build_bytes
from indexes.engine.memory import PeakMemory, parse_size, shown
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.segments import IndexManifest


def trial(factory, ms, size=100.0, met=True):
    return Trial(factory, size, 1000, {}, 0.96 if met else 0.5, met, 1000 / ms, ms, ms)


def test_the_quickest_that_meets_the_target_is_first():
    ranked = rank([trial("a", 3), trial("b", 1), trial("c", 0.5, met=False), trial("d", 2)])
    assert [t.factory for t in ranked] == ["b", "d", "a"]


def test_of_nearly_equal_ones_the_smallest_is_first():
    assert [t.factory for t in rank([trial("big", 1.0, 1000), trial("small", 1.09, 40)])] == ["small", "big"]
    assert [t.factory for t in rank([trial("big", 1.0, 1000), trial("small", 1.2, 40)])] == ["big", "small"]


@pytest.fixture(scope="module")
def source(tmp_path_factory, vectors, embeddings):
    return embeddings(tmp_path_factory.mktemp("plan") / "e", vectors(3000, 16))


@pytest.fixture
def small(monkeypatch):
    """Trials of 1,000 rows; Flat is not chosen for smallness alone; two kinds are enough to choose from."""
    monkeypatch.setattr(planning, "TRIAL_ROWS", 1000)
    monkeypatch.setattr(planning, "FLAT_UP_TO", 100)
    monkeypatch.setattr("indexes.building.build.FLAT_UP_TO", 100)
    every = planning.candidates

    def fewer(*arguments):
        fit, out = every(*arguments)
        return [o for o in fit if not o.factory.startswith("HNSW")], out

    monkeypatch.setattr(planning, "candidates", fewer)


def test_a_small_corpus_is_flat_and_says_why(tmp_path, source):
    manifest = build_index(source, tmp_path / "i", IndexConfig(measure=True))
    assert manifest.factory == "Flat"
    assert "exact" in manifest.measured["reason"]
    assert manifest.measured["knn_recall"] == 1.0


@pytest.mark.usefixtures("small")
def test_a_planned_index_meets_its_target_on_the_queries_given(tmp_path, source, vectors):
    texts = vectors(50, 16, seed=4) + np.float32(0.3)
    manifest = build_index(source, tmp_path / "i", IndexConfig(knn_recall=0.9), query_vectors=texts, query_kind="text")
    measured = manifest.measured
    assert measured["knn_recall"] >= 0.9
    assert measured["kind"] == "text"
    assert {t["factory"] for t in measured["trials"]} >= {"Flat", "IVF219,Flat", "IVF219,SQ8"}
    assert manifest.factory in {t["factory"] for t in measured["trials"] if t["met"]}
    assert len(load_index(tmp_path / "i").search(texts.astype(np.float32), 5).ids) == 50
    assert not (tmp_path / "i/.new").exists()


@pytest.mark.usefixtures("small")
def test_flat_is_chosen_and_named_where_it_is_quickest(tmp_path, source, monkeypatch):
    monkeypatch.setattr(planning, "latency_ms", lambda index, *_: 0.1 if index.manifest.factory == "Flat" else 9.0)
    manifest = build_index(source, tmp_path / "i")
    assert manifest.factory == "Flat"
    assert manifest.measured["reason"].startswith("Flat is the quickest")


def test_too_little_memory_is_refused_before_anything_is_built(tmp_path, source, monkeypatch):
    monkeypatch.setattr(planning, "write_segment", None)  # would be called for a trial
    with pytest.raises(ConditionFailed, match=r"expected .* MiB, for"):
        build_index(source, tmp_path / "i", IndexConfig(memory=1000))
    assert not (tmp_path / "i/manifest.json").exists()


def test_a_factory_that_does_not_fit_is_refused(tmp_path, source):
    with pytest.raises(ConditionFailed, match="Flat over 3000 vectors needs"):
        build_index(source, tmp_path / "i", IndexConfig("Flat", memory=1000))


@pytest.mark.usefixtures("small")
def test_a_target_that_nothing_meets_names_two_trade_offs(tmp_path, source, monkeypatch):
    rough = build_bytes("IVF219,RaBitQ", 3000, 16)
    every = planning.candidates

    def only_rough(count, dimension, *arguments):
        fit, _ = every(count, dimension)
        return [o for o in fit if "RaBitQ" in o.factory], [o for o in fit if o.factory == "Flat"]

    monkeypatch.setattr(planning, "candidates", only_rough)
    build_index(source, tmp_path / "old", IndexConfig("Flat"))
    before = (tmp_path / "old/manifest.json").read_bytes()
    with pytest.raises(
        ConditionFailed, match=r"IVF219,RaBitQ reaches [01]\.\d+ in .*, Flat reaches 1.000 in"
    ) as caught:
        build_index(source, tmp_path / "old", IndexConfig(memory=rough, knn_recall=1.0))
    assert caught.value.exit_code == 1
    assert (tmp_path / "old/manifest.json").read_bytes() == before
    assert len(load_index(tmp_path / "old")) == 3000


def test_a_factory_that_was_given_and_misses_says_so(tmp_path, source):
    manifest = build_index(source, tmp_path / "i", IndexConfig("RaBitQ", knn_recall=1.0, measure=True))
    assert manifest.measured["knn_recall"] < manifest.measured["target"] == 1.0


@pytest.mark.usefixtures("small")
def test_planned_twice_only_the_measurements_differ(tmp_path, source, bytes_of, monkeypatch):
    monkeypatch.setattr(planning, "latency_ms", lambda index, *_: float(len(index.manifest.factory)))
    monkeypatch.setattr(planning, "growth", lambda *_: 1.0)
    for name in "ab":
        build_index(source, tmp_path / name, IndexConfig(seed=3))
    one, two = (bytes_of(tmp_path / name) for name in "ab")
    assert {path for path in one if one[path] != two.get(path)} <= {"manifest.json"}
    first, second = (IndexManifest.read(tmp_path / name).to_dict() for name in "ab")
    assert {name for name in first if first[name] != second[name]} <= {"measured"}
    assert first["measured"]["interval"] == second["measured"]["interval"]


@pytest.mark.usefixtures("small")
def test_a_planned_index_is_not_planned_again(tmp_path, source, monkeypatch):
    first = build_index(source, tmp_path / "i")
    monkeypatch.setattr("indexes.building.build.plan", None)
    assert build_index(source, tmp_path / "i") == first


@pytest.mark.usefixtures("small")
def test_a_killed_build_keeps_its_plan(tmp_path, source, monkeypatch):
    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("indexes.building.build.write_segment", cut)
        with pytest.raises(KeyboardInterrupt):
            build_index(source, tmp_path / "i")
    kept = json.loads((tmp_path / "i/.new/plan.json").read_bytes())
    kept.pop("recipe")
    monkeypatch.setattr("indexes.building.build.plan", None)
    manifest = build_index(source, tmp_path / "i")
    assert manifest.factory == Plan.from_dict(kept).factories[0]


PLANNED = """
import sys
from indexes import IndexConfig, build_index
from indexes.building import build, planner
build.FLAT_UP_TO = planner.FLAT_UP_TO = 100
planner.TRIAL_ROWS = 1000
build_index(sys.argv[1], sys.argv[2], IndexConfig(threads=1, seed=int(sys.argv[3])))
"""


def test_a_planned_build_that_is_killed_leaves_the_old_index(tmp_path, source):
    build_index(source, tmp_path / "i", IndexConfig("Flat"))
    before = (tmp_path / "i/manifest.json").read_bytes()
    for number, wait in enumerate((0.05, 0.5, 1.5)):
        child = subprocess.Popen([sys.executable, "-c", PLANNED, str(source), str(tmp_path / "i"), str(number + 1)])
        while not (tmp_path / "i/.new").exists() and child.poll() is None:
            time.sleep(0.005)
        time.sleep(wait)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if (tmp_path / "i/manifest.json").read_bytes() != before:
            break  # the child had ended: a whole new index
        assert len(load_index(tmp_path / "i")) == 3000
    assert load_index(tmp_path / "i").search(np.eye(16, dtype=np.float32), 3).ids.shape == (16, 3)
    build_index(source, tmp_path / "i", IndexConfig("Flat"))
    assert not (tmp_path / "i/.new").exists()


@pytest.mark.parametrize(("text", "size"), [("4GiB", 4 << 30), ("500MB", 500_000_000), ("1.5 kib", 1536), ("77", 77)])
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "4 apples", "-1MB", "4GiBs"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(BeholderError, match="memory"):
        parse_size(text)


def test_sizes_are_shown():
    assert (shown(3 << 30), shown(1536), shown(10)) == ("3 GiB", "1.5 KiB", "10 bytes")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
def test_peak_memory_is_seen_after_it_is_given_back():
    with PeakMemory() as peak:
        held = np.ones(8_000_000)
        time.sleep(0.1)
        del held
    assert 60e6 < peak.bytes < 90e6


MEMORY = """
import json, sys
from indexes import IndexConfig, build_index
manifest = build_index(sys.argv[1], sys.argv[2], IndexConfig(memory=int(sys.argv[3]), threads=1))
print(json.dumps([manifest.factory, manifest.measured["peak_bytes"]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_bound_of_memory_is_kept(tmp_path, vectors, embeddings):
    source, bound = embeddings(tmp_path / "e", vectors(120_000, 64), shard=8192), 128 << 20
    command = [sys.executable, "-c", MEMORY, str(source), str(tmp_path / "i"), str(bound)]
    factory, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert factory != "Flat"  # needs more
    assert build_bytes("Flat", 120_000, 64) > bound >= peak
