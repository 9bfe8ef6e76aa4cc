"""Protects the demo: three sections from the box alone, offline; a second run embeds nothing and agrees."""

import csv
import json
import re
import socket
from pathlib import Path

import pytest
from PIL import Image

from indexes.errors import BeholderError
from retrieval.demo import MODEL, QUERIES, RESULTS, SAMPLES, SOURCES, run

WEIGHTS = SAMPLES.parent / "models" / MODEL / "open_clip_model.safetensors"
needs_model = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"{MODEL} is not in the box")


def rows() -> list[dict[str, str]]:
    with (SAMPLES / SOURCES).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_sample_has_its_source_and_a_strict_licence() -> None:
    table = rows()
    names = [row["file"] for row in table]
    assert sorted(names) == sorted(path.name for path in SAMPLES.iterdir() if path.name != SOURCES)
    assert len(set(names)) == len(names)
    for row in table:
        assert row["licence"].startswith(("CC0", "Public domain (")), row["file"]
        assert "as stated" not in row["licence"], row["file"]
        assert row["title"], row["file"]
        assert row["source"], row["file"]
        if "artist died over 100 years ago" in row["licence"]:
            assert row["author"], row["file"]
            assert int(row["died"]) <= 1925, row["file"]


def test_samples_are_small_whole_rgb_jpegs() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 5_000_000
    for row in rows():
        with Image.open(SAMPLES / row["file"]) as picture:
            picture.load()
            assert (picture.format, picture.mode) == ("JPEG", "RGB"), row["file"]


@needs_model
def test_demo_shows_three_queries_offline_and_the_second_run_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the demo went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    page = run(None, said.append)
    assert page == Path("beholder-demo", "gallery.html")
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", text) == list(QUERIES)
    assert len(re.findall(r"<figure", text)) == len(QUERIES) * RESULTS
    assert "could not be read" not in text
    assert f"gallery: {page}" in said
    assert f"{len(rows())} sample pictures, {len(rows())} embedded now" in said[0]

    files = {path: path.stat().st_mtime_ns for path in Path("beholder-demo", "index").rglob("*") if path.is_file()}
    again: list[str] = []
    assert run(None, again.append).read_text(encoding="utf-8") == text
    assert f"{len(rows())} sample pictures, 0 embedded now" in again[0]
    assert again[1:] == said[1:]
    assert {path: path.stat().st_mtime_ns for path in files} == files


@needs_model
def test_vectors_of_an_older_model_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    page = run(tmp_path / "out", lambda line: None)
    before = page.read_bytes()
    for folder in ("embeddings", "index"):
        path = tmp_path / "out" / folder / "manifest.json"
        content = json.loads(path.read_text())
        content["encoder"]["image_fingerprint"] = "0" * 64
        path.write_text(json.dumps(content))
    said: list[str] = []
    assert run(tmp_path / "out", said.append).read_bytes() == before
    assert f"{len(rows())} embedded now" in said[0]


@needs_model
def test_a_folder_that_is_something_else_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "manifest.json").write_text('{"kind": "other", "format": 1}')
    with pytest.raises(BeholderError, match="another folder with --out"):
        run(tmp_path, lambda line: None)
