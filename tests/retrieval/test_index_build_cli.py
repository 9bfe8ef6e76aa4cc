"""Protects `index build`, `info` and `tune` from the command line: what they print, and how they fail."""

import hashlib
import json
import sys

import numpy as np
import pyarrow as pa
import pytest

from indexes.records.manifest import record_file
from indexes.records.segments import IndexManifest
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, EncoderRecord, write_shard
from retrieval.__main__ import main

WIDTH = 512  # of beholder-mini, whose text tower encodes the queries


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """2000 random vectors that pass for pictures of beholder-mini."""
    from retrieval.search.searcher import load_text_encoder

    folder = tmp_path_factory.mktemp("build") / "e"
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(2000, WIDTH))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.arange(2000)
    columns = {field.name: pa.nulls(2000, field.type) for field in ITEM_COLUMNS}
    columns |= {
        "id": pa.array(ids),
        "uri": pa.array([f"{i}.jpg" for i in ids]),
        "sha256": pa.array([hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in ids]),
    }
    shard = write_shard(folder, 0, ids, rows, pa.table(columns, schema=ITEM_COLUMNS))
    (folder / "rejected.jsonl").write_bytes(b"")
    record = load_text_encoder("beholder-mini", 1).record
    encoder = EncoderRecord(
        "beholder-mini", record.image_fingerprint, record.text_fingerprint, WIDTH, record.preprocessing
    )
    rejected = record_file(folder, "rejected.jsonl")
    EmbeddingsManifest(encoder, "../pictures", 2000, rejected, (shard,), 2000, {}).write(folder)
    return folder


def run(*words):
    """The exit code of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["beholder", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code or 0


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "queries.txt"
    path.write_text("a boat at dawn\n\na portrait\ntwo dogs on a beach\n")
    return path


def test_build_tunes_on_text_and_says_so(tmp_path, embeddings, texts, capsys):
    assert run("index", "build", embeddings, tmp_path / "i", "--queries", texts, "--memory", "4GiB") == 0
    out = capsys.readouterr().out
    assert "2000 pictures, Flat" in out
    assert "Flat is exact" in out
    assert "3 text queries, target 0.95" in out
    assert "unknown" not in out
    assert run("index", "info", tmp_path / "i") == 0
    out = capsys.readouterr().out
    assert "knn_recall  1.000" in out
    assert "bytes per vector" in out
    assert "ms a query" in out


def test_without_queries_recall_on_text_is_unknown_and_that_is_said(tmp_path, embeddings, capsys):
    assert run("index", "build", embeddings, tmp_path / "i", "--factory", "IVF10,Flat") == 0
    assert "recall on text is unknown" in capsys.readouterr().out
    assert IndexManifest.read(tmp_path / "i").measured["kind"] == "held-out"
    run("index", "info", tmp_path / "i")
    assert "recall on text is unknown" in capsys.readouterr().out


def test_tune_takes_vectors_and_another_target(tmp_path, embeddings, capsys):
    run("index", "build", embeddings, tmp_path / "i", "--factory", "IVF10,Flat")
    np.save(tmp_path / "q.npy", np.random.default_rng(1).normal(size=(30, WIDTH)))
    capsys.readouterr()
    words = "index", "tune", tmp_path / "i", "--query-vectors", tmp_path / "q.npy", "--knn-recall", "0.5", "--json"
    assert run(*words) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["measured"]["target"], manifest["measured"]["queries"]) == (0.5, 30)
    assert manifest["measured"]["kind"] == "vectors"


def test_like_builds_the_same_kind(tmp_path, embeddings, capsys):
    run("index", "build", embeddings, tmp_path / "i", "--factory", "IVF10,SQ8", "--seed", "3")
    assert run("index", "build", embeddings, tmp_path / "j", "--like", tmp_path / "i", "--json") == 0
    one, two = IndexManifest.read(tmp_path / "i"), IndexManifest.read(tmp_path / "j")
    assert (one.factory, one.segments[0].faiss.sha256) == (two.factory, two.segments[0].faiss.sha256)
    assert two.settings["seed"] == 3


def test_a_factory_that_misses_its_target_exits_1(tmp_path, embeddings, capsys):
    words = "index", "build", embeddings, tmp_path / "i", "--factory", "RaBitQ", "--knn-recall", "1"
    assert run(*words) == 1
    captured = capsys.readouterr()
    assert "was built, but RaBitQ reaches" in captured.err
    assert (tmp_path / "i/manifest.json").exists()


def test_memory_that_is_too_small_exits_1_and_names_what_is_needed(tmp_path, embeddings, capsys):
    assert run("index", "build", embeddings, tmp_path / "i", "--memory", "1MiB") == 1
    assert "MiB, for" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--memory", "lots"],
        ["--queries", "nothing.txt"],
        ["--query-vectors", "nothing.npy"],
        ["--factory", "Fast"],
        ["--knn-recall", "95"],
        ["--factory", "Flat", "--like", "somewhere"],
    ],
)
def test_likely_mistakes_are_one_line(tmp_path, embeddings, words, capsys):
    assert run("index", "build", embeddings, tmp_path / "i", *words) == 2
    error = capsys.readouterr().err.strip()
    assert error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
