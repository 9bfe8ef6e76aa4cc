"""clip-retrieval's folders: read as they stand, and written so that reading them back gives the same search."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes import Embeddings, build_index, load_index
from indexes.errors import BeholderError, FormatError
from indexes.records.shards import EncoderRecord, verify
from retrieval.encoding import clip_layout
from retrieval.encoding.clip_layout import as_embeddings, is_clip_layout, read_layout, write_layout

ENCODER = EncoderRecord("some clip", "a", "b", 16, {"size": 224})


def unit(count: int, seed: int, width: int = 16) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_clip_folder(folder: Path, counts: tuple[int, ...] = (5, 4), width: int = 16) -> np.ndarray:
    """As `clip-retrieval inference` writes it: float16, one table per array."""
    for part in ("img_emb", "text_emb", "metadata"):
        (folder / part).mkdir(parents=True)
    start, parts = 0, []
    for number, count in enumerate(counts):
        parts.append(unit(count, number, width))
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", parts[-1].astype(np.float16))
        rows = range(start, start + count)
        table = {
            "image_path": [f"{row:09d}" for row in rows],
            "caption": [f"picture {row}" for row in rows],
            "url": [f"http://example.org/{row}.jpg" for row in rows],
            "similarity": [row / 10 for row in rows],
        }
        pq.write_table(pa.table(table), folder / "metadata" / f"metadata_{number}.parquet")
        start += count
    return np.concatenate(parts)


def test_a_clip_retrieval_folder_becomes_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_layout, "PIECE", 3)  # so that files are cut into pieces
    vectors = write_clip_folder(tmp_path / "clip", (5, 4))
    assert is_clip_layout(tmp_path / "clip")
    manifest = read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)
    assert (manifest.count, len(manifest.shards)) == (9, 4)
    assert verify(tmp_path / "emb")
    found = Embeddings(tmp_path / "emb")
    np.testing.assert_allclose(np.concatenate([part for _, part in found.blocks()]), vectors, atol=2e-3)
    row = found.items().to_pylist()[7]
    kept = np.concatenate([part for _, part in found.blocks()])[7].tobytes()
    assert row == {
        "id": 7,
        "uri": "000000007",
        "sha256": hashlib.sha256(kept).hexdigest(),
        "width": 0,
        "height": 0,
        "bytes": 0,
        "caption": "picture 7",
        "url": "http://example.org/7.jpg",
        "similarity": 0.7,
    }
    assert read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER) == manifest


def test_a_build_reads_the_folder_as_it_stands(tmp_path: Path, tiny_model: Path) -> None:
    write_clip_folder(tmp_path / "clip", width=32)
    with pytest.raises(BeholderError, match="does not say what made its vectors"):
        as_embeddings(tmp_path / "clip", tmp_path / "index", None).__enter__()
    with as_embeddings(tmp_path / "clip", tmp_path / "index", str(tiny_model)) as embeddings:
        manifest = build_index(embeddings, tmp_path / "index")
    assert (manifest.count, manifest.encoder.name) == (9, str(tiny_model))
    assert not (tmp_path / "index" / "embeddings").exists()
    assert len(load_index(tmp_path / "index").search(unit(1, 3, 32), 9).ids[0]) == 9
    with as_embeddings(tmp_path / "anything", tmp_path / "index", None) as embeddings:
        assert embeddings == tmp_path / "anything"


def test_files_numbered_past_nine_keep_their_order(tmp_path: Path) -> None:
    vectors = write_clip_folder(tmp_path / "clip", (1,) * 12)
    read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)
    found = np.concatenate([part for _, part in Embeddings(tmp_path / "emb").blocks()])
    np.testing.assert_allclose(found, vectors, atol=2e-3)


def test_an_exported_index_reads_back_to_the_same_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_layout, "FILE_ROWS", 4)
    write_clip_folder(tmp_path / "clip")
    read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)
    build_index(tmp_path / "emb", tmp_path / "index")
    index = load_index(tmp_path / "index")
    assert write_layout(index, tmp_path / "out") == 9
    names = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert names == [
        f"{kind}_{n}.{end}" for kind, end in (("img_emb", "npy"), ("metadata", "parquet")) for n in range(3)
    ]
    read_layout(tmp_path / "out", tmp_path / "emb2", ENCODER)
    build_index(tmp_path / "emb2", tmp_path / "index2")
    again = load_index(tmp_path / "index2")
    queries = unit(3, 9)
    first, second = index.search(queries, 5), again.search(queries, 5)
    assert np.array_equal(first.ids, second.ids)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-3)
    for column in ("url", "uri"):
        found = [opened.items(first.ids[0]).column(column).to_pylist() for opened in (index, again)]
        assert found[0] == found[1]
    assert (again.folder / again.manifest.source).resolve() == (index.folder / index.manifest.source).resolve()
    with pytest.raises(BeholderError, match="is there already"):
        write_layout(index, tmp_path / "out")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_clip_folder(tmp_path / "clip")
    with pytest.raises(BeholderError, match="width 16, wide makes 32"):
        read_layout(tmp_path / "clip", tmp_path / "emb", EncoderRecord("wide", "a", "b", 32, {}))
    np.save(tmp_path / "clip" / "img_emb" / "img_emb_1.npy", unit(3, 1))
    with pytest.raises(FormatError, match="has 4 rows for 3 vectors"):
        read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)
    np.save(tmp_path / "clip" / "img_emb" / "img_emb_1.npy", np.zeros((4, 16), np.float32))
    with pytest.raises(FormatError, match="4 vectors are not of length 1"):
        read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)
    (tmp_path / "clip" / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(FormatError, match=r"2 img_emb/\*.npy and 1 metadata"):
        read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    write_clip_folder(tmp_path / "clip", (2,))
    np.save(tmp_path / "clip" / "img_emb" / "img_emb_0.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="cannot be read"):
        read_layout(tmp_path / "clip", tmp_path / "emb", ENCODER)
