"""Protects what an index says of its recall, and that the least effort is found that meets the target."""

from dataclasses import replace

import numpy as np
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.building.build import config_like
from indexes.building.fit import Point, _least, fit
from indexes.building.growth import add
from indexes.building.recall import answered, interval, shares
from indexes.building.tune import remeasure, tune_index
from indexes.engine.factories import parse
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.query_file import kept_queries
from indexes.records.segments import IndexManifest


@pytest.fixture(scope="module")
def rows(vectors):
    return vectors(4000, 16)


@pytest.fixture(scope="module")
def source(tmp_path_factory, rows, embeddings):
    return embeddings(tmp_path_factory.mktemp("tune") / "e", rows)


@pytest.fixture
def texts(vectors):
    """Queries that lie off to one side, as text does."""
    queries = vectors(60, 16, seed=5) + np.float32(0.4)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path, source, texts):
    build_index(source, tmp_path / "i", IndexConfig("IVF60,Flat"), query_vectors=texts, query_kind="text")
    return tmp_path / "i"


def recall_at(folder, queries, **parameters):
    """The slow, obvious knn_recall@10."""
    index = load_index(folder)
    truth = exact_search(queries, index.blocks(), 10).ids
    found = index.search(queries, 10, parameters=parameters).ids
    return np.mean([len(set(t) & set(f)) / 10 for t, f in zip(truth, found, strict=True)])


def test_recall_in_the_manifest_is_recall(index, texts):
    manifest = IndexManifest.read(index)
    measured = manifest.measured
    halves = texts.astype(np.float16).astype(np.float32)
    assert measured["knn_recall"] == pytest.approx(recall_at(index, halves, **manifest.parameters), abs=5e-3)
    assert measured["interval"][0] <= measured["knn_recall"] <= measured["interval"][1]
    assert (measured["k"], measured["queries"], measured["kind"], measured["target"]) == (10, 60, "text", 0.95)
    assert measured["qps"] > 0
    assert measured["latency_ms"] > 0
    assert measured["build_s"] > 0
    assert measured["peak_bytes"] >= 0


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95, 1.0])
def test_the_least_nprobe_is_found(index, texts, target):
    opened = load_index(index)
    queries = answered(texts, opened.blocks(), "text")
    found = fit(opened, queries, parse("IVF60,Flat"), target)
    every = [shares(opened, queries, {"nprobe": n})[0].mean() for n in range(1, 61)]
    least = next(n for n, recall in enumerate(every, 1) if recall >= target)
    assert found.chosen.knn_recall >= target
    assert least <= found.chosen.parameters["nprobe"] <= least + max(1, least // 8)


def test_a_harder_kind_of_query_needs_more_probes(tmp_path, source, index):
    held_out = build_index(source, tmp_path / "h", IndexConfig("IVF60,Flat", measure=True))
    assert held_out.measured["kind"] == "held-out"
    assert IndexManifest.read(index).parameters["nprobe"] > held_out.parameters["nprobe"]


def test_lossy_codes_get_candidates(tmp_path, source, texts):
    manifest = build_index(source, tmp_path / "i", IndexConfig("IVF60,PQ8x4fs"), query_vectors=texts)
    assert manifest.parameters["candidates"] >= 2
    assert manifest.measured["knn_recall"] >= 0.95
    assert manifest.measured["kind"] == "vectors"


def test_the_curve_rises_with_effort(index):
    curve = IndexManifest.read(index).measured["curve"]
    probes = [point["parameters"]["nprobe"] for point in curve]
    assert probes == sorted(probes)
    assert len(probes) >= 4
    assert [p["knn_recall"] for p in curve] == sorted(p["knn_recall"] for p in curve)


def test_tuning_to_another_target_moves_the_parameter_and_keeps_the_build(index):
    before = IndexManifest.read(index)
    after = tune_index(index, knn_recall=0.6)
    assert after == IndexManifest.read(index)
    assert after.parameters["nprobe"] < before.parameters["nprobe"]
    assert (after.measured["target"], after.settings["knn_recall"]) == (0.6, 0.6)
    assert after.measured["build_s"] == before.measured["build_s"]
    assert after.segments == before.segments


def test_new_queries_are_kept(index, vectors):
    near = vectors(40, 16, seed=8, noise=0.3)
    after = tune_index(index, query_vectors=near, query_kind="vectors")
    assert (after.measured["kind"], after.measured["queries"]) == ("vectors", 40)
    assert tune_index(index).measured["queries"] == 40


def test_a_target_out_of_reach_changes_nothing(tmp_path, source, texts):
    build_index(source, tmp_path / "i", IndexConfig("IVF60,RaBitQ", knn_recall=0.3), query_vectors=texts)
    before = (tmp_path / "i/manifest.json").read_bytes()
    with pytest.raises(ConditionFailed, match=r"reaches 0\.\d+ at .* or 0\.\d+ at"):
        tune_index(tmp_path / "i", knn_recall=1.0)
    assert (tmp_path / "i/manifest.json").read_bytes() == before


def test_recall_is_measured_again_after_growth(tmp_path, index, vectors, embeddings):
    before = IndexManifest.read(index)
    add(index, embeddings(tmp_path / "more", vectors(1000, 16, seed=3), first_id=9000, source="../q"))
    assert IndexManifest.read(index).measured["stale"]
    after = remeasure(index)
    assert "stale" not in after.measured
    assert after.parameters == before.parameters
    assert after.measured["kind"] == "text"
    assert after.measured["queries"] == 60
    halves = load_index(index)
    assert len(halves) == 5000


def test_queries_that_were_changed_are_not_measured_with(index):
    (path,) = index.glob("queries-*.arrow")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match=r"queries-.*\.arrow"):
        tune_index(index)


@pytest.mark.parametrize("wrong", [np.zeros((3, 16)), np.ones((3, 8)), np.ones((0, 16)), np.full((2, 16), np.nan)])
def test_senseless_queries_are_refused(index, wrong):
    with pytest.raises(BeholderError):
        tune_index(index, query_vectors=wrong)


def test_a_held_out_row_does_not_find_itself(vectors):
    rows = vectors(50, 8)
    own = np.array([3, 7])
    queries = answered(rows[own], [(np.arange(50), rows)], "held-out", own)
    assert queries.answers.shape == (2, 10)
    assert not (queries.answers == own[:, None]).any()


def test_the_interval_holds_a_known_share():
    values = np.repeat([0.0, 1.0], [20, 80])
    low, high = interval(values, 0)
    # A share of .8 over 100: standard error .04, so 1.96 of them each way.
    assert low == pytest.approx(0.8 - 1.96 * 0.04, abs=0.015)
    assert high == pytest.approx(0.8 + 1.96 * 0.04, abs=0.015)
    assert interval(values, 0) == interval(values, 0)
    assert interval(np.ones(5), 3) == (1.0, 1.0)


def test_the_same_kind_for_another_encoder(tmp_path, index, vectors, embeddings):
    other = embeddings(tmp_path / "o", vectors(500, 24))
    manifest = build_index(other, tmp_path / "j", like=index)
    assert (manifest.factory, manifest.dimension) == ("IVF60,Flat", 24)
    assert replace(config_like(index, IndexConfig(), 30)).factory == "IVF22,Flat"


def test_a_doubling_that_gains_nothing_is_not_the_end():
    """Found shares by nprobe: nothing gained from 2 to 4, all from 4 to 8. The least that meets 0.99 is 7."""
    shares = {1: 0.6, 2: 0.9, 3: 0.9, 4: 0.9, 5: 0.95, 6: 0.95, 7: 1.0, 8: 1.0}

    def at(parameters):
        return Point(parameters, shares[parameters["nprobe"]], 1.0)

    found = _least(at, {"candidates": 2}, parse("IVF8,SQ8"), 122, 0.99, 1, 0.0)
    assert found is not None
    assert found.parameters == {"nprobe": 7, "candidates": 2}
    assert _least(at, {"candidates": 2}, parse("IVF8,SQ8"), 122, 1.1, 1, 0.0) is None


def test_a_tuning_that_is_killed_before_its_manifest_leaves_the_old_queries(index, vectors, monkeypatch):
    before = kept_queries(index, IndexManifest.read(index))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IndexManifest, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            tune_index(index, query_vectors=vectors(40, 16, seed=8))
    assert len(list(index.glob("queries-*.arrow"))) == 2
    np.testing.assert_array_equal(kept_queries(index, IndexManifest.read(index))[0], before[0])
    tune_index(index)
    assert len(list(index.glob("queries-*.arrow"))) == 1  # of the next writer


def test_effort_is_not_raised_beyond_a_setting_that_is_too_slow():
    asked = []

    def at(parameters):
        asked.append(parameters["nprobe"])
        return Point(parameters, parameters["nprobe"] / 100, 1000 / parameters["nprobe"])

    assert _least(at, {}, parse("IVF64,Flat"), 1000, 0.5, 1, 200.0) is None
    assert list(dict.fromkeys(asked)) == [1, 2, 4, 8]  # a fit keeps what it asked
    assert _least(at, {}, parse("IVF64,Flat"), 1000, 0.5, 1, 0.0) is not None
