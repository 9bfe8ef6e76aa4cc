"""From texts to results: the order is exact search's, the encoder must be the index's, mistakes are said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes import build_index, load_index
from indexes.errors import BeholderError
from indexes.records.calibration import DEPTH, Calibration, Sample
from retrieval.encoding.encoders import load_encoder, random_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.search.config import SearchConfig
from retrieval.search.query import Part, Query
from retrieval.search.results import Result
from retrieval.search.searcher import Searcher, picture_folder


@pytest.fixture
def searcher(tiny_model: Path, pictures: Path, tmp_path: Path) -> Searcher:
    encoder = load_encoder(str(tiny_model))
    embed(pictures, tmp_path / "emb", EmbedConfig(workers=1), encoder=encoder)
    build_index(tmp_path / "emb", tmp_path / "index")
    return Searcher(load_index(tmp_path / "index"), encoder)


def results(searcher: Searcher, text: str, k: int = 10, **config: Any) -> list[Result]:
    return searcher.search([text], SearchConfig(k=k, **config))[0].results


def test_results_are_those_of_sorting_all_cosines(searcher: Searcher, pictures: Path) -> None:
    texts = ["a red square", "something blue"]
    found = [answer.results for answer in searcher.search(texts, SearchConfig(k=5))]
    ids = np.concatenate([ids for ids, _ in searcher.index.blocks()])
    vectors = np.concatenate([vectors for _, vectors in searcher.index.blocks()]).astype(np.float32)
    cosines = searcher.encoder.encode_texts(texts) @ vectors.T
    for row, hits in zip(cosines, found, strict=True):
        best = sorted(zip(-row, ids, strict=True))[:5]
        assert [result.id for result in hits] == [identity for _, identity in best]
        np.testing.assert_allclose([result.relevance for result in hits], [-cosine for cosine, _ in best], atol=1e-5)
        assert [result.rank for result in hits] == [1, 2, 3, 4, 5]
        assert all((picture_folder(searcher.index) / result.uri).is_file() for result in hits)
    assert picture_folder(searcher.index) == pictures.resolve()


def test_more_than_there_is_returns_all_and_no_texts_nothing(searcher: Searcher) -> None:
    assert len(results(searcher, "x", 1000)) == 20
    assert searcher.search([], SearchConfig(k=3)) == []


@pytest.mark.parametrize(("texts", "k", "said"), [(["a", " "], 3, "query 2 of 2 is empty"), (["a"], 0, "k is 0")])
def test_empty_queries_and_no_results_are_refused(searcher: Searcher, texts: list[str], k: int, said: str) -> None:
    with pytest.raises(BeholderError, match=said):
        searcher.search(texts, SearchConfig(k=k))


def test_an_encoder_of_other_pictures_is_refused_with_the_remedy(searcher: Searcher) -> None:
    with pytest.raises(BeholderError, match="Embed the pictures again"):
        Searcher(searcher.index, random_encoder("RN50"))


def test_a_filter_gives_the_best_of_what_it_keeps(searcher: Searcher) -> None:
    every = results(searcher, "a red square", 20)
    found = results(searcher, "a red square", 5, where="uri < 'p010.jpg'")
    assert [result.uri for result in found] == [result.uri for result in every if result.uri < "p010.jpg"][:5]
    assert [result.rank for result in found] == [1, 2, 3, 4, 5]
    assert results(searcher, "a red square", 5, where="width > 48") == []
    with pytest.raises(BeholderError, match="colour"):
        results(searcher, "a red square", 5, where="colour = 'red'")


def test_repetitions_are_collapsed_and_k_results_come_back(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    for number in range(3):
        (pictures / f"copy{number}.jpg").write_bytes((pictures / "p004.jpg").read_bytes())
    encoder = load_encoder(str(tiny_model))
    embed(pictures, tmp_path / "emb2", EmbedConfig(workers=1), encoder=encoder)
    build_index(tmp_path / "emb2", tmp_path / "index2")
    searcher = Searcher(load_index(tmp_path / "index2"), encoder)
    found = results(searcher, "a red square", 20, near=1.0)
    assert len({result.sha256 for result in found}) == len(found) == 20
    kept = next(result for result in found if result.copies)
    assert sorted([kept.id, *kept.copies]) == sorted(
        result.id for result in results(searcher, "a red square", 23) if result.sha256 == kept.sha256
    )
    assert len(kept.copies) == 3


def rows(searcher: Searcher) -> tuple[Any, Any]:
    """All ids (N,) and vectors (N, D) float32 of the index."""
    blocks = list(searcher.index.blocks())
    return np.concatenate([ids for ids, _ in blocks]), np.concatenate([rows for _, rows in blocks]).astype(np.float32)


def test_parts_of_every_kind_add_up(searcher: Searcher, pictures: Path) -> None:
    ids, vectors = rows(searcher)
    text = searcher.encoder.encode_texts(["a red square"])[0]
    bytes_ = (pictures / "p003.jpg").read_bytes()
    uris = dict(zip(ids.tolist(), searcher.index.items(ids).column("uri").to_pylist(), strict=True))
    same, liked = (next(identity for identity, uri in uris.items() if uri == name) for name in ("p003.jpg", "p007.jpg"))
    vector = np.random.default_rng(0).normal(size=32).astype(np.float32)
    parts = (
        Part("text", "a red square", -0.5),
        Part("image", bytes_, 0.7),
        Part("like", liked, 0.4),
        Part("vector", vector, 2.0),
    )
    total = -0.5 * text + 0.7 * vectors[ids == same][0] + 0.4 * vectors[ids == liked][0]
    total += 2 * vector / np.linalg.norm(vector)
    cosines = vectors @ (total / np.linalg.norm(total))
    expected = [identity for _, identity in sorted(zip(-cosines, ids, strict=True)) if identity != liked]
    found = searcher.search([Query(parts)], SearchConfig(k=20))[0]
    # 1e-3: the index keeps float16 of the picture that is encoded again here
    np.testing.assert_allclose([hit.relevance for hit in found.results], -np.sort(-cosines[ids != liked]), atol=1e-3)
    assert [hit.id for hit in found.results][:3] == expected[:3]


def test_a_picture_finds_itself_and_more_like_it_leaves_it_out(searcher: Searcher, pictures: Path) -> None:
    mixed = [Query((Part("image", (pictures / "p003.jpg").read_bytes()),)), Query((Part("like", 3),)), "a red square"]
    found = searcher.search(mixed, SearchConfig(k=5))
    assert found[0].results[0].uri == "p003.jpg"
    assert found[0].results[0].relevance == pytest.approx(1, abs=1e-3)
    assert 3 not in [hit.id for hit in found[1].results]
    assert [len(answer.results) for answer in found] == [5, 5, 5]
    assert [hit.id for hit in found[2].results] == [hit.id for hit in results(searcher, "a red square", 5)]


def test_no_encoder_is_loaded_for_vectors_and_likes(searcher: Searcher) -> None:
    bare = Searcher(searcher.index, model="no-such-encoder")
    parts = Part("vector", np.ones(32, np.float32)), Part("like", 3)
    assert len(bare.search([Query((part,)) for part in parts], SearchConfig(k=5))) == 2
    assert bare.encoder.loaded == "none"
    with pytest.raises(BeholderError, match="no-such-encoder"):
        bare.search(["a red square"])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part("vector", np.ones(31, np.float32)), "31 dimensions; expected 32"),
        (Part("like", 999), "id 999 is not in"),
        (Part("image", b"no picture", 1.0, "ref.jpg"), "ref.jpg: not a picture"),
    ],
)
def test_parts_that_do_not_fit_the_index_are_refused(searcher: Searcher, part: Part, said: str) -> None:
    with pytest.raises(BeholderError, match=said):
        searcher.search([Query((part,))])


def test_the_least_relevance_cuts_and_says_when_nothing_is_left(searcher: Searcher) -> None:
    every = results(searcher, "a red square", 20)
    least = every[7].relevance
    found = searcher.search(["a red square"], SearchConfig(k=20, min_relevance=least))[0]
    assert [hit.id for hit in found.results] == [hit.id for hit in every if hit.relevance >= least]
    assert found.good_match
    none = searcher.search(["a red square"], SearchConfig(min_relevance=1.0))[0]
    assert (none.results, none.good_match) == ([], False)
    with pytest.raises(BeholderError, match="index tune"):
        searcher.search(["a red square"], SearchConfig(min_relevance="auto"))


def calibrated(searcher: Searcher, threshold: float) -> Searcher:
    sample = Sample("gibberish", 100, (0.0,) * 7, 0.99)
    found = Calibration(threshold, DEPTH, 20, sample, replace(sample, kind="captions"))
    searcher.index.manifest = replace(searcher.index.manifest, calibration=found.to_dict())
    return searcher


def test_auto_judges_the_words_as_typed_by_the_mean_of_the_best_ten(searcher: Searcher) -> None:
    means = {
        text: np.mean([hit.relevance for hit in results(searcher, text, 10)]) for text in ("a dog", "xyzzy", "sea")
    }
    low, middle, high = sorted(means, key=lambda text: means[text])
    calibrated(searcher, float(means[middle] + means[high]) / 2)
    config = SearchConfig(k=3, min_relevance="auto")
    found = searcher.search([low, middle, high], config)
    assert [answer.good_match for answer in found] == [False, False, True]
    assert [len(answer.results) for answer in found] == [0, 0, 3]
    for answer, text in zip(found, (low, middle, high), strict=True):
        assert answer.cut_off is not None
        assert answer.cut_off.statistic == pytest.approx(means[text], abs=1e-5)
    both = Query((Part("text", low), Part("text", high), Part("text", middle, -0.5)))
    assert searcher.search([both], config)[0].good_match  # one of its wanted texts has an answer
    # A rewrite does not make gibberish an answerable query: what was typed is judged.
    rewritten = searcher.search([low], replace(config, rewrite=f"suffix:{high}"))[0]
    assert rewritten.rewritten is not None
    assert rewritten.rewritten.text != low
    assert not rewritten.good_match
    assert rewritten.cut_off is not None
    assert rewritten.cut_off.statistic == pytest.approx(means[low], abs=1e-5)
    with pytest.raises(BeholderError, match="a query with words"):
        searcher.search([Query((Part("like", 3),))], config)


def test_sort_orders_the_results_or_the_candidates(searcher: Searcher) -> None:
    every = [hit.uri for hit in results(searcher, "a red square", 20)]
    assert [hit.uri for hit in results(searcher, "a red square", 5, sort="uri")] == sorted(every[:5])
    deep = results(searcher, "a red square", 5, sort="uri:desc", candidates=12)
    assert [hit.uri for hit in deep] == sorted(every[:12], reverse=True)[:5]
    assert [hit.rank for hit in deep] == [1, 2, 3, 4, 5]
    with pytest.raises(BeholderError, match="no column 'colour'"):
        results(searcher, "a red square", 5, sort="colour")


def test_rewriting_changes_what_is_encoded_and_the_query_keeps_its_words(searcher: Searcher) -> None:
    plain = Query((Part("text", "a red square"), Part("text", "blue", -0.5)))
    answer = searcher.search([plain], SearchConfig(k=20, rewrite="suffix:at dawn"))[0]
    assert answer.query is plain
    assert [rewrite.text for rewrite in answer.rewrites] == [answer.rewrites[0].text]  # not the unwanted text
    said = Query((Part("text", answer.rewrites[0].text), Part("text", "blue", -0.5)))
    expected = searcher.search([said], SearchConfig(k=20))[0]
    assert [hit.id for hit in answer.results] == [hit.id for hit in expected.results]
    assert "rewrite" in answer.seconds


def test_rerankers_reorder_the_candidates_and_relevance_stays(searcher: Searcher) -> None:
    every = {hit.id: hit.relevance for hit in results(searcher, "a red square", 20)}
    found = results(searcher, "a red square", 5, rerank=("mmr:0.9",), candidates=12)
    assert len(found) == 5
    assert {hit.id for hit in found} <= set(list(every)[:12])
    assert [hit.id for hit in found] != list(every)[:5]
    assert all(hit.relevance == pytest.approx(every[hit.id]) for hit in found)
    with pytest.raises(BeholderError, match="no re-ranker 'best'"):
        results(searcher, "a red square", 5, rerank=("best",))
    with pytest.raises(BeholderError, match="rank-mix names no scorer"):
        results(searcher, "a red square", 5, rerank=("rank-mix",))
