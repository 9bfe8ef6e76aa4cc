"""Protects filters and removed rows: on every kind of index that can be built, what is barred never comes back, and k
results come back whenever k rows may."""

import re
import shutil

import numpy as np
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.building.growth import add, remove
from indexes.engine.factories import candidates
from indexes.errors import BeholderError
from indexes.searching.safety import remember

SIZE, WIDTH, K = 1600, 32, 10
FACTORIES = [
    "Flat",
    "SQfp16",
    "SQ8",
    "RaBitQ",
    "PQ16x4fs",
    "IVF20,Flat",
    "IVF20,SQ8",
    "IVF20,SQfp16",
    "IVF20,RaBitQ",
    "IVF20,PQ16x4fs",
    "IVF20,PQ8",
    "OPQ8,IVF20,PQ8x4fs",
    "HNSW32",
    "HNSW16_SQfp16",
    "HNSW16_SQ8",
]
LOSSLESS = {"Flat", "SQfp16"}
SHARES = [0, 0.01, 0.05, 0.5, 0.97]
# Share of the exact neighbours found: codes of 4 bits and graphs of 1,600 points, at settings that were not tuned.
LEAST_RECALL = 0.85


@pytest.fixture(scope="module")
def corpus(vectors):
    return vectors(SIZE, WIDTH)


@pytest.fixture(scope="module", params=FACTORIES)
def folder(request, tmp_path_factory, corpus, embeddings):
    place = tmp_path_factory.mktemp("filters")
    config = IndexConfig(request.param, threads=1, measure=False)
    build_index(embeddings(place / "e", corpus), place / "i", config)
    return place / "i"


@pytest.fixture(scope="module")
def queries(vectors):
    return vectors(20, WIDTH, seed=4)


def exact(index, queries, allowed, k):
    return exact_search(queries, [(allowed, index.vectors(allowed).astype(np.float16))], k)


def knn_recall(found, truth):
    if not truth.ids.shape[1]:
        return 1.0
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.ids, truth.ids, strict=True)])


def assert_only_allowed_and_all_of_k(index, queries, allowed, k, **options):
    found = index.search(queries, k, allowed=allowed, **options)
    assert found.ids.shape == found.scores.shape == (len(queries), min(k, len(allowed)))
    assert np.isin(found.ids, allowed).all()
    assert all(len(set(row)) == len(row) for row in found.ids.tolist())
    for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
        np.testing.assert_allclose(index.vectors(ids) @ query, scores, atol=1e-6)  # float32 sums of 32 products
        assert (np.diff(scores) <= 0).all()
    return found


def random_part(share, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(SIZE)[: round(share * SIZE)])


def test_the_list_holds_every_kind_that_the_planner_tries():
    def kind(factory):
        return re.sub(r"(?<=IVF|OPQ)\d+(?=,)|(?<=PQ)\d+(?=x|$)", "", factory)

    tried = {
        kind(candidate.factory)
        for memory in (0, 1 << 28, 1 << 30)
        for device in ("cpu", "cuda")
        for part in candidates(1_000_000, 64, memory, device)
        for candidate in part
    }
    assert tried <= {kind(factory) for factory in FACTORIES}


@pytest.mark.parametrize("share", SHARES)
def test_few_rows_are_searched_exactly(folder, queries, share):
    index, allowed = load_index(folder), random_part(share)
    found = assert_only_allowed_and_all_of_k(index, queries, allowed, K)
    truth = exact(index, queries, allowed, K)
    np.testing.assert_array_equal(found.ids, truth.ids)
    np.testing.assert_array_equal(found.scores, truth.scores)


@pytest.mark.parametrize("share", SHARES)
def test_many_rows_go_through_faiss(folder, queries, share, monkeypatch):
    monkeypatch.setattr("indexes.searching.segment_reader.EXACT_ROWS", 0)
    index, allowed = load_index(folder), random_part(share)
    options = {"parameters": {"nprobe": 6, "candidates": 12}, "threads": 1}
    found = assert_only_allowed_and_all_of_k(index, queries, allowed, K, **options)
    truth = exact(index, queries, allowed, K)
    assert knn_recall(found, truth) >= LEAST_RECALL
    if index.manifest.factory in LOSSLESS:
        np.testing.assert_array_equal(found.ids, truth.ids)


@pytest.mark.parametrize("exact_rows", [0, 20_000])
def test_the_rows_farthest_from_the_query_are_found_when_only_they_may_be(folder, queries, exact_rows, monkeypatch):
    monkeypatch.setattr("indexes.searching.segment_reader.EXACT_ROWS", exact_rows)
    index = load_index(folder)
    order = exact_search(queries[:1], index.blocks(), SIZE).ids[0]
    for rows in (order[-30:], order[SIZE // 3 :]):
        allowed = np.sort(rows)
        assert_only_allowed_and_all_of_k(index, queries[:3], allowed, K, parameters={"nprobe": 1}, threads=1)
        assert_only_allowed_and_all_of_k(index, queries[:3], allowed, 100, parameters={"nprobe": 1}, threads=1)


@pytest.mark.parametrize("exact_rows", [0, 20_000])
def test_removed_rows_stay_away_and_filters_go_across_segments(
    folder, corpus, queries, vectors, embeddings, tmp_path, exact_rows, monkeypatch
):
    monkeypatch.setattr("indexes.searching.segment_reader.EXACT_ROWS", exact_rows)
    grown = tmp_path / "i"
    shutil.copytree(folder, grown)
    remember(grown)  # else the copy is checked as a stranger's, in a process of its own
    best = np.unique(load_index(folder).search(queries, 3).ids)
    remove(grown, best)
    add(grown, embeddings(tmp_path / "m", vectors(200, WIDTH, seed=9), first_id=50_000))
    index = load_index(grown)
    live = index.live_ids()
    assert len(live) == SIZE + 200 - len(best)
    options = {"parameters": {"nprobe": 6, "candidates": 12}, "threads": 1}
    found = index.search(queries, K, **options)
    assert np.isin(found.ids, live).all()
    assert knn_recall(found, exact_search(queries, index.blocks(), K)) >= LEAST_RECALL
    some = np.concatenate([best[:5], live[::3], [10**6]])
    found = assert_only_allowed_and_all_of_k(index, queries, np.unique(live[::3]), K, **options)
    np.testing.assert_array_equal(index.search(queries, K, allowed=np.unique(some), **options).ids, found.ids)


def test_the_settings_of_a_search_are_checked(folder, queries):
    index = load_index(folder)
    for parameters, message in (({"nprobes": 1}, "nprobes"), ({"efSearch": 0}, "efSearch"), ({"nprobe": 1.5}, "1.5")):
        with pytest.raises(BeholderError, match=message):
            index.search(queries, K, parameters=parameters)
    with pytest.raises(BeholderError, match="rising"):
        index.search(queries, K, allowed=np.array([3, 3, 2]))
