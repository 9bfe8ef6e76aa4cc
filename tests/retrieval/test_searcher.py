"""From texts to results: the order is exact search's, the encoder must be the index's, mistakes are said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes import build_index, load_index
from indexes.errors import BeholderError
from retrieval.encoders import load_encoder, random_encoder
from retrieval.pipeline import EmbedConfig, embed
from retrieval.results import Result
from retrieval.search_config import SearchConfig
from retrieval.searcher import Searcher, picture_folder


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
