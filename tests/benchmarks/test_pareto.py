"""Protects `bench pareto`: its ends are known, and the sum is what an index answers."""

import numpy as np
import pytest

from benchmarks.quality.pareto import PERCENTILE, ParetoConfig, by_rank_mix, by_sum, curves, measure
from indexes.building.build import IndexConfig, build_index
from indexes.errors import BeholderError
from indexes.records.percentiles import percentiles
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.shards import Embeddings
from indexes.searching.search import load_index


@pytest.fixture
def some():
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(count, 16)).astype(np.float32) for count in (200, 30))
    vectors, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, queries))
    relevant = np.zeros((30, 200), bool)
    relevant[np.arange(30), np.argsort(-queries @ vectors.T, axis=1)[np.arange(30), np.arange(30) % 8]] = True
    return queries, vectors, percentiles(rng.normal(size=200)), relevant


def test_without_beauty_both_are_plain_search(some):
    plain, mixed = by_sum(*some, 0.0), by_rank_mix(*some, 0.0, 100)
    assert plain["hit_rate@1"].mean() == pytest.approx(4 / 30), "queries 0, 8, 16 and 24 have theirs first"
    assert plain["hit_rate@10"].mean() == 1
    for name, values in plain.items():
        np.testing.assert_allclose(values, mixed[name])


def test_beauty_alone_gives_the_best_pictures_of_the_candidates_or_of_all(some):
    assert by_sum(*some, 1e6)[PERCENTILE] == pytest.approx(0.975), "the best 10 of 200: 0.9525 to 0.9975"
    mixed = by_rank_mix(*some, 1.0, 100)[PERCENTILE]
    assert (mixed < 0.975).any()
    assert (mixed > 0.9).all()


def test_more_weight_never_makes_results_less_beautiful(some):
    means = [by_sum(*some, weight)[PERCENTILE].mean() for weight in (-0.5, -0.1, 0.0, 0.05, 0.1, 0.5)]
    assert means == sorted(means)


@pytest.fixture
def scored(tiny_index):
    """The tiny EMBEDDINGS with scores by `brightness`, as `beholder score` leaves them."""
    from retrieval.scoring.scorers import load_scorer

    folder = tiny_index.parent / "embeddings"
    digests = Embeddings(folder).items().column("sha256").to_pylist()
    values = np.random.default_rng(1).normal(size=len(digests)).astype(np.float32)
    fingerprint = load_scorer("brightness").card.fingerprint
    write_scores(scores_path(folder, "brightness"), ScoreColumn("brightness", fingerprint, {}, digests, values))
    return folder


def test_the_sum_is_what_an_index_answers(scored, corpus, tiny_model, tmp_path):
    from retrieval.encoding.encoders import load_encoder
    from retrieval.search.generic_queries import generic_queries

    encoder = load_encoder(str(tiny_model))
    table = {"table": corpus / "captions.tsv", "splits": None, "pictures": corpus / "images"}
    config = ParetoConfig(**table, split=None, embeddings=scored, scorer="brightness", beauty=(0, 2), share=(0, 1))
    run = measure(config, encoder=encoder)
    index_config = IndexConfig("Flat", scorers=("brightness",))
    texts = encoder.encode_texts(list(generic_queries()))
    build_index(scored, tmp_path / "i", index_config, text_vectors=texts)
    index = load_index(tmp_path / "i")
    assert index.manifest.spread["value"] == pytest.approx(run.numbers["spread of relevance"].value, rel=1e-3)
    lines = [line.split("\t") for line in (corpus / "captions.tsv").read_text().splitlines()[1:]]
    found = index.search(encoder.encode_texts([text for _, text in lines]), 1, beauty={"brightness": 2})
    uris = index.items(found.ids[:, 0]).column("uri").to_pylist()
    share = np.mean([uri == name for uri, (name, _) in zip(uris, lines, strict=True)])
    assert run.numbers["sum, b = 2: hit_rate@1"].value == pytest.approx(share)
    drawn = curves(run)
    assert [curve.name for curve in drawn] == ["sum", "rank-mix"]
    assert [label for _, _, label in drawn[0].points] == ["b = 0", "b = 2"]
    assert drawn[0].points[0][:2] == drawn[1].points[0][:2], "both begin at plain search"


def test_a_scorer_of_pixels_without_scores_is_refused_with_the_way(corpus, tiny_model, tiny_index):
    from retrieval.encoding.encoders import load_encoder

    folder = tiny_index.parent / "embeddings"
    config = ParetoConfig(corpus / "captions.tsv", split=None, pictures=corpus / "images", embeddings=folder)
    with pytest.raises(BeholderError, match=r"reads pixels.*beholder score .* --scorer beholder-appeal"):
        measure(config, encoder=load_encoder(str(tiny_model)))


def test_wrong_shares_and_too_few_candidates_are_refused(corpus):
    with pytest.raises(BeholderError, match="shares"):
        ParetoConfig(corpus / "captions.tsv", share=(1.5,))
    with pytest.raises(BeholderError, match="9 candidates"):
        ParetoConfig(corpus / "captions.tsv", candidates=9)
