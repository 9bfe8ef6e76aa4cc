"""A picture asked for again and again, as by a slider of the page, is encoded once and not mistaken for another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes import build_index, load_index
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.search import query_encoder
from retrieval.search.query import Part
from retrieval.search.query_encoder import QueryEncoder
from tests.conftest import write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "pictures"
    write_pictures(folder, 6)
    return folder


@pytest.fixture(scope="module")
def given(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


@pytest.fixture
def encoder(given: Encoder, pictures: Path, tmp_path: Path) -> QueryEncoder:
    embed(pictures, tmp_path / "emb", EmbedConfig(workers=1), encoder=given)
    build_index(tmp_path / "emb", tmp_path / "index")
    return QueryEncoder(load_index(tmp_path / "index"), given)


def test_a_picture_is_encoded_once_and_each_part_gets_its_own_vector(
    encoder: QueryEncoder, given: Encoder, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Part("image", path.read_bytes()) for path in sorted(pictures.iterdir())]
    separate = np.stack([QueryEncoder(encoder._index, given).encode_pictures([part])[0] for part in parts])
    seen: list[int] = []
    encode = given.encode_images

    def counted(batch: Any) -> Any:
        seen.append(len(batch))
        return encode(batch)

    monkeypatch.setattr(given, "encode_images", counted)
    first = encoder.encode_pictures(parts[:3])
    again = encoder.encode_pictures([parts[4], parts[1], parts[4], parts[0]])
    assert seen == [3, 1]
    np.testing.assert_allclose(first, separate[:3], atol=1e-6)
    np.testing.assert_allclose(again, separate[[4, 1, 4, 0]], atol=1e-6)


def test_only_the_latest_pictures_are_kept(
    encoder: QueryEncoder, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_encoder, "RECENT", 2)
    parts = [Part("image", path.read_bytes()) for path in sorted(pictures.iterdir())]
    vectors = encoder.encode_pictures(parts)
    assert len(encoder._recent) == 2
    np.testing.assert_allclose(encoder.encode_pictures(parts[::-1]), vectors[::-1], atol=1e-6)
