"""From texts to results: the order is exact search's, the encoder must be the index's, mistakes are said."""

from pathlib import Path

import numpy as np
import pytest

from indexes import build_index, load_index
from indexes.errors import BeholderError
from retrieval.encoders import load_encoder, random_encoder
from retrieval.pipeline import EmbedConfig, embed
from retrieval.searcher import Searcher, picture_folder


@pytest.fixture
def searcher(tiny_model: Path, pictures: Path, tmp_path: Path) -> Searcher:
    encoder = load_encoder(str(tiny_model))
    embed(pictures, tmp_path / "emb", EmbedConfig(workers=1), encoder=encoder)
    build_index(tmp_path / "emb", tmp_path / "index")
    return Searcher(load_index(tmp_path / "index"), encoder)


def test_results_are_those_of_sorting_all_cosines(searcher: Searcher, pictures: Path) -> None:
    texts = ["a red square", "something blue"]
    found = searcher.search(texts, 5)
    ids = np.concatenate([ids for ids, _ in searcher.index.blocks()])
    vectors = np.concatenate([vectors for _, vectors in searcher.index.blocks()]).astype(np.float32)
    cosines = searcher.encoder.encode_texts(texts) @ vectors.T
    for row, results in zip(cosines, found, strict=True):
        best = sorted(zip(-row, ids, strict=True))[:5]
        assert [result.id for result in results] == [identity for _, identity in best]
        np.testing.assert_allclose([result.relevance for result in results], [-cosine for cosine, _ in best], atol=1e-5)
        assert [result.rank for result in results] == [1, 2, 3, 4, 5]
        assert all((picture_folder(searcher.index) / result.uri).is_file() for result in results)
    assert picture_folder(searcher.index) == pictures.resolve()


def test_more_than_there_is_returns_all_and_no_texts_nothing(searcher: Searcher) -> None:
    assert len(searcher.search(["x"], 1000)[0]) == 20
    assert searcher.search([], 3) == []


@pytest.mark.parametrize(("texts", "k", "said"), [(["a", " "], 3, "query 2 of 2 is empty"), (["a"], 0, "k is 0")])
def test_empty_queries_and_no_results_are_refused(searcher: Searcher, texts: list[str], k: int, said: str) -> None:
    with pytest.raises(BeholderError, match=said):
        searcher.search(texts, k)


def test_an_encoder_of_other_pictures_is_refused_with_the_remedy(searcher: Searcher) -> None:
    with pytest.raises(BeholderError, match="Embed the pictures again"):
        Searcher(searcher.index, random_encoder("RN50"))
