"""Protects scores of an index that grows: frozen percentiles, drift that is said, what compact refreshes, merged and
later scores, and kills between."""

import shutil

import numpy as np
import pytest

from indexes import IndexConfig, build_index, load_index
from indexes.building.growth import add, add_scores, compact, merge, remove
from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST
from indexes.records.percentiles import frozen, normal_scores, percentiles
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.shards import Embeddings
from indexes.searching.search import verify_index

WIDTH = 16


@pytest.fixture
def make(tmp_path, vectors, embeddings):
    """Function: (name, pictures, seed, first id, scores or None) -> EMBEDDINGS folder with scores by `s`."""

    def made(name, count, seed, first_id, values=None, fingerprint="f"):
        folder = embeddings(tmp_path / name, vectors(count, WIDTH, seed=seed), first_id=first_id)
        if values is not None:
            put(folder, values, fingerprint)
        return folder

    return made


def put(folder, values, fingerprint="f", name="s"):
    digests = Embeddings(folder).items().column("sha256").to_pylist()
    write_scores(scores_path(folder, name), ScoreColumn(name, fingerprint, {}, digests, np.asarray(values, np.float32)))


@pytest.fixture
def grown(make, vectors, tmp_path):
    """(INDEX of 400 pictures with scores, those scores, text queries)."""
    values = np.random.default_rng(0).normal(size=400).astype(np.float32)
    texts = vectors(60, WIDTH, seed=9)
    folder = tmp_path / "i"
    config = IndexConfig("IVF8,Flat", threads=1, scorers=("s",), default_scorer="s")
    build_index(make("e", 400, 0, 0, values), folder, config, query_vectors=texts, query_kind="text")
    return folder, values, texts


def assert_beauty(folder, queries, z, beauty=2.0):
    """Exact search with a weight is relevance plus b * spread * z, z (n,) by rising id."""
    index = load_index(folder)
    found = index.search(queries, 10, beauty={"s": beauty}, exact=True)
    ids = index.live_ids()
    scores = queries.astype(np.float64) @ index.vectors(ids).T.astype(np.float64)
    scores = (scores + float(np.float32(beauty * index.manifest.spread["value"])) * z).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(found.ids, ids[order])
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, order, 1), atol=2e-7)


def test_added_pictures_stand_by_the_frozen_percentiles(grown, make):
    folder, values, texts = grown
    more = np.random.default_rng(1).normal(size=150).astype(np.float32)
    growth = add(folder, make("more", 150, 3, 1000, more))
    assert (growth.unscored, growth.drift) == ({}, {})
    shares = np.concatenate([percentiles(values), frozen(values).of(more)])
    assert_beauty(folder, texts, normal_scores(shares))
    index = load_index(folder)
    np.testing.assert_allclose(index.percentiles("s", np.arange(550)), shares, atol=1e-6)
    np.testing.assert_array_equal(index.score_values("s", np.arange(550)), np.concatenate([values, more]))
    verify_index(folder)


def test_drift_is_said_and_compact_refreshes(grown, make):
    folder, values, texts = grown
    more = np.full(200, 10.0, np.float32)  # all above what was there
    growth = add(folder, make("more", 200, 3, 1000, more))
    # The old best stood at 399.5 of 400 and stands at 399.5 of 600 now.
    assert growth.drift == {"s": pytest.approx(100 * (399.5 / 400 - 399.5 / 600), abs=0.01)}
    assert load_index(folder).scorers[0].drift > 5
    assert compact(folder).drift == {}
    everything = np.concatenate([values, more])
    assert_beauty(folder, texts, normal_scores(percentiles(everything)))
    record = load_index(folder).scorers[0]
    assert (record.drift, record.percentiles.count, record.default) == (0, 600, True)
    assert record.steps, "the same dimensions: their search parameters stay until tuned again"
    assert verify_index(folder) == 5
    before = (folder / MANIFEST).read_bytes()
    compact(folder)
    assert (folder / MANIFEST).read_bytes() == before, "nothing left to do"


def test_small_drift_is_no_news(grown, make):
    folder, values, _ = grown
    assert add(folder, make("more", 100, 3, 1000, np.resize(values, 100))).drift == {}


def test_removed_pictures_leave_the_percentiles_at_compact(grown):
    folder, values, texts = grown
    gone = np.flatnonzero(values > 1)
    remove(folder, gone)
    kept = np.delete(values, gone)
    assert_beauty(folder, texts, normal_scores(np.delete(percentiles(values), gone)))
    compact(folder)
    assert_beauty(folder, texts, normal_scores(percentiles(kept)))
    assert np.isnan(load_index(folder).score_values("s", gone)).all()


def test_added_pictures_without_scores_are_counted_and_stand_in_the_middle(grown, make):
    folder, values, texts = grown
    assert add(folder, make("more", 80, 3, 1000)).unscored == {"s": 80}
    assert_beauty(folder, texts, np.concatenate([normal_scores(percentiles(values)), np.zeros(80)]))


def test_scores_of_another_version_are_refused_and_nothing_changes(grown, make):
    folder, values, _ = grown
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(BeholderError, match=r"scores of s other.*Score the pictures again"):
        add(folder, make("more", 50, 3, 1000, values[:50], fingerprint="other"))
    assert (folder / MANIFEST).read_bytes() == before


def test_merged_pictures_are_mapped_by_our_percentiles(grown, make, vectors, tmp_path):
    folder, values, texts = grown
    theirs = (5 + np.random.default_rng(2).normal(size=120)).astype(np.float32)
    other = make("other", 120, 4, 2000, theirs)
    build_index(other, tmp_path / "j", IndexConfig("Flat", scorers=("s",)), text_vectors=texts)
    remove(tmp_path / "j", [3, 4])
    growth = merge(folder, [tmp_path / "j"])
    assert growth.added == 118
    assert growth.drift["s"] > 5
    mapped = frozen(values).of(np.delete(theirs, [3, 4]))
    assert_beauty(folder, texts, normal_scores(np.concatenate([percentiles(values), mapped])))
    verify_index(folder)


def test_an_index_without_scorers_takes_in_one_that_has_some(grown, make, vectors, tmp_path):
    _, _, texts = grown
    build_index(make("plain", 90, 6, 5000), tmp_path / "p", IndexConfig("Flat"))
    assert merge(tmp_path / "p", [grown[0]]).added == 400
    index = load_index(tmp_path / "p")
    assert index.scorers == ()
    assert len(index.search(texts, 10).ids) == 60
    verify_index(tmp_path / "p")


def test_scores_put_on_a_built_index_filter_at_once_and_rank_after_compact(grown, tmp_path):
    folder, _, texts = grown
    digests = Embeddings(tmp_path / "e").items().column("sha256").to_pylist()
    new = np.random.default_rng(5).normal(size=300).astype(np.float32)
    record = add_scores(folder, ScoreColumn("new-one", "n", {}, digests[:300], new))
    assert (record.count, record.in_index) == (300, False)
    index = load_index(folder)
    assert index.items_table().column("new_one_percentile").null_count == 100
    with pytest.raises(BeholderError, match="index compact"):
        index.search(texts[:1], 3, beauty={"new-one": 1})
    compact(folder)
    index = load_index(folder)
    assert [scorer.name for scorer in index.manifest.in_index] == ["s", "new-one"]
    assert index.searches_exactly({"new-one": 1}), "no search parameters were chosen with it yet"
    found = index.search(texts[:1], 5, beauty={"new-one": 1e6})
    assert (index.percentiles("new-one", found.ids) > 0.95).all()
    verify_index(folder)


def test_a_column_that_is_put_on_twice_is_replaced(grown, tmp_path):
    folder, *_ = grown
    digests = Embeddings(tmp_path / "e").items().column("sha256").to_pylist()
    for values in (np.zeros(400), np.arange(400.0)):
        add_scores(folder, ScoreColumn("t", "1", {}, digests, values.astype(np.float32)))
    np.testing.assert_array_equal(load_index(folder).score_values("t", np.arange(400)), np.arange(400))
    assert len(list((folder / "scores").iterdir())) == 2


def test_a_column_of_strangers_or_of_another_version_is_refused(grown):
    folder, *_ = grown
    with pytest.raises(BeholderError, match="none of 400 pictures"):
        add_scores(folder, ScoreColumn("t", "1", {}, ["f" * 64], np.zeros(1, np.float32)))
    with pytest.raises(BeholderError, match="as the index"):
        add_scores(folder, ScoreColumn("s", "2", {}, [f"{0:064x}"], np.zeros(1, np.float32)))
    add_scores(folder, ScoreColumn("t-t", "1", {}, [f"{0:064x}"], np.zeros(1, np.float32)))
    with pytest.raises(BeholderError, match="differ as columns do"):
        add_scores(folder, ScoreColumn("t_t", "1", {}, [f"{0:064x}"], np.zeros(1, np.float32)))


def test_a_growth_that_was_killed_leaves_the_old_index_and_the_next_one_clears(grown, make, monkeypatch, bytes_of):
    folder, values, _ = grown
    more = make("more", 50, 3, 1000, values[:50])
    shutil.copytree(folder, folder.with_name("twin"))
    before = (folder / MANIFEST).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("indexes.building.growth.with_drift", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            add(folder, more)
    assert (folder / MANIFEST).read_bytes() == before
    assert len(list((folder / "scores").iterdir())) == 2, "a file that no manifest names"
    add(folder, more)
    add(folder.with_name("twin"), more)
    assert len(list((folder / "scores").iterdir())) == 1
    assert bytes_of(folder) == bytes_of(folder.with_name("twin"))
