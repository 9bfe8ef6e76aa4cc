"""Protects the demo: three sections from the box alone, offline; a second run embeds nothing and agrees."""

import csv
import functools
import json
import re
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image

from indexes.errors import BeholderError
from retrieval.demo import ALIGNED, DESCRIBED, MODEL, QUERIES, RESULTS, SAMPLES, SOURCES, run
from retrieval.encoding import encoders

WEIGHTS = SAMPLES.parent / "models" / MODEL / "open_clip_model.safetensors"
load_once = functools.cache(encoders.load_encoder)
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


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every twelfth sample, which is quicker; the tour of test_docs.py runs the demo in full."""
    folder = tmp_path_factory.mktemp("samples")
    for name in [row["file"] for row in rows()[::12]] + [SOURCES]:
        shutil.copy(SAMPLES / name, folder / name)
    return folder


@pytest.fixture(autouse=True)
def box(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo over those samples, with one encoder for all tests, and no way to the network."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("the demo went to the network")

    monkeypatch.setattr("retrieval.demo.SAMPLES", samples)
    monkeypatch.setattr(encoders, "load_encoder", load_once)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@needs_model
def test_demo_shows_three_queries_offline_and_later_runs_agree(
    tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    count = len(list(samples.glob("*.jpg")))
    said: list[str] = []
    page = run(None, said.append)
    assert page == Path("beholder-demo", "gallery.html")
    text = page.read_text(encoding="utf-8")
    twice = [f"{DESCRIBED} ({name})" for name in (MODEL, ALIGNED)]
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", text) == [*QUERIES, *twice]
    assert len(re.findall(r"<figure", text)) == (len(QUERIES) + 2) * RESULTS
    assert "could not be read" not in text
    assert f"{count} sample pictures, {count} embedded now" in said[0]
    assert f"gallery: {page}" in said

    index = Path("beholder-demo", "index")
    files = {path: path.stat().st_mtime_ns for path in index.rglob("*") if path.is_file()}
    again: list[str] = []
    assert run(None, again.append).read_text(encoding="utf-8") == text
    assert f"{count} sample pictures, 0 embedded now" in again[0]
    assert again[1:] == said[1:]
    assert {path: path.stat().st_mtime_ns for path in files} == files

    # Vectors of an older model in the box, which `embed` would refuse to go on with, are made again.
    manifest = Path("beholder-demo", "embeddings", "manifest.json")
    content = json.loads(manifest.read_text())
    content["encoder"]["image_fingerprint"] = "0" * 64
    manifest.write_text(json.dumps(content))
    newer: list[str] = []
    assert run(None, newer.append).read_text(encoding="utf-8") == text
    assert newer == said


@needs_model
def test_a_folder_that_is_something_else_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "manifest.json").write_text('{"kind": "other", "format": 1}')
    with pytest.raises(BeholderError, match="another folder with --out"):
        run(tmp_path, lambda line: None)
