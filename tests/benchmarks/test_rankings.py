"""Protects the ways to rank (the command line: test_retrieval.py): they agree with each other and with a
slow loop over cosines.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.quality.captions import RetrievalConfig, measure, read_judgements
from benchmarks.quality.rankings import parse_answers, query_vectors, rank_by_index, rank_exactly
from benchmarks.tables.judgements import Judgements, Query
from indexes.errors import BeholderError
from indexes.records.exact import Neighbors
from indexes.records.shards import Embeddings
from indexes.searching.search import load_index
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return load_encoder(str(tiny_model))


def stored_vectors(index: Path) -> dict[str, np.ndarray]:
    embeddings = Embeddings(index.parent / "embeddings")
    vectors = np.concatenate([block for _, block in embeddings.blocks()]).astype(np.float64)
    return dict(zip(embeddings.items().column("uri").to_pylist(), vectors, strict=True))


def test_phrasings_are_averaged_and_normalised(encoder: Encoder) -> None:
    queries = [Query(("one", "two"), (0,), "c"), Query(("two",), (0,), "c")]
    vectors = query_vectors(encoder, queries)
    one, two = encoder.encode_texts(["one"])[0], encoder.encode_texts(["two"])[0]
    np.testing.assert_allclose(vectors[0], (one + two) / np.linalg.norm(one + two), atol=1e-5)
    np.testing.assert_allclose(vectors[1], two, atol=1e-5)


def test_exact_and_index_give_the_slow_answer(encoder: Encoder, corpus: Path, tiny_index: Path) -> None:
    config = RetrievalConfig(corpus / "captions.tsv", text_column="caption")
    judged = read_judgements(config)
    texts = query_vectors(encoder, judged.queries)
    stored = stored_vectors(tiny_index)
    expected = []
    for text, query in zip(texts, judged.queries, strict=True):
        order = sorted(stored, key=lambda uri: -float(stored[uri] @ text))
        expected.append([uri == judged.pictures[query.relevant[0]] for uri in order[:5]])
    pictures = np.stack([stored[name] for name in judged.pictures]).astype(np.float32)
    np.testing.assert_array_equal(rank_exactly(judged, texts, pictures, 5).hits, expected)
    by_index = rank_by_index(judged, texts, load_index(tiny_index), 5)
    np.testing.assert_array_equal(by_index.hits, expected)
    assert by_index.candidates == 12


def test_labels_through_an_index_leave_other_splits_out(encoder: Encoder, corpus: Path, tiny_index: Path) -> None:
    config = RetrievalConfig(corpus / "items.tsv", label_column=("colour",), split="val")
    judged = read_judgements(config)
    assert (len(judged.pictures), len(judged.others)) == (9, 3)
    texts = query_vectors(encoder, judged.queries)
    stored = stored_vectors(tiny_index)
    pictures = np.stack([stored[name.removeprefix("images/")] for name in judged.pictures])
    exact = rank_exactly(judged, texts, pictures.astype(np.float32))
    index = load_index(tiny_index)
    through = rank_by_index(judged, texts, index, len(index), without_others=True)
    assert through.candidates == exact.candidates == 9
    np.testing.assert_array_equal(through.hits, exact.hits)
    everything = rank_by_index(judged, texts, index, len(index))
    assert everything.hits.shape == (3, 12)


def test_ids_of_an_index_need_not_be_its_rows() -> None:
    class Shuffled:
        """Rows b, c, a with the ids 70, 5, 31; every query finds a, b, c in that order."""

        folder = Path("shuffled")

        def blocks(self) -> list[tuple[np.ndarray, None]]:
            return [(np.array([70, 5]), None), (np.array([31]), None)]

        def items(self, ids: np.ndarray) -> pa.Table:
            return pa.table({"uri": [{70: "b", 5: "c", 31: "a"}[number] for number in ids.tolist()]})

        def search(self, vectors: np.ndarray, k: int) -> Neighbors:
            return Neighbors(np.tile([31, 70, 5], (len(vectors), 1))[:, :k], np.zeros((len(vectors), k)))

    judged = Judgements(("a", "c"), (Query(("x",), (1,), "g"), Query(("y",), (0,), "g")), others=("b",))
    texts = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(rank_by_index(judged, texts, Shuffled(), 3).hits, [[0, 0, 1], [1, 0, 0]])
    without = rank_by_index(judged, texts, Shuffled(), 3, without_others=True)
    np.testing.assert_array_equal(without.hits, [[0, 1], [1, 0]])
    assert without.candidates == 2


def test_a_picture_that_is_not_indexed_is_an_error_and_not_a_miss(encoder: Encoder, tiny_index: Path) -> None:
    judged = Judgements(("00.png", "99.png"), (Query(("x",), (1,), "c"),))
    with pytest.raises(BeholderError, match="1 of 2 pictures are not in"):
        rank_by_index(judged, query_vectors(encoder, judged.queries), load_index(tiny_index), 3)


def test_answers_of_other_queries_are_refused() -> None:
    line = '{"query": "a", "results": [{"rank": 1, "uri": "x.jpg"}]}\n'
    assert parse_answers(line, ["a"]) == [["x.jpg"]]
    with pytest.raises(BeholderError, match="answered 1 queries"):
        parse_answers(line, ["a", "b"])
    with pytest.raises(BeholderError, match="printed something else"):
        parse_answers("12 pictures\n", ["a"])


def test_an_index_of_another_encoder_is_refused(
    tiny_index: Path, corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    (other / "open_clip_config.json").write_bytes((tiny_model / "open_clip_config.json").read_bytes())
    weights = load_file(str(tiny_model / "open_clip_model.safetensors"))
    weights["visual.proj"] = torch.flip(weights["visual.proj"], [0]).contiguous()
    save_file(weights, str(other / "open_clip_model.safetensors"))
    config = RetrievalConfig(corpus / "captions.tsv", text_column="caption", index=tiny_index, model=str(other))
    with pytest.raises(BeholderError, match="another encoder"):
        measure(config)
