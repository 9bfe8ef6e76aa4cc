"""Protects the verbs that change an index: what they print, their JSON, and their likeliest mistakes."""

import json

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from indexes import IndexConfig, build_index, load_index
from indexes.errors import BeholderError
from indexes.records.manifest import record_file
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, EncoderRecord, write_shard
from retrieval.indexing.cli import app

WIDTH = 16


def embeddings(folder, rows, first):
    folder.mkdir()
    ids = np.arange(first, first + len(rows))
    columns = {
        "id": ids,
        "uri": [f"{i}.jpg" for i in ids],
        "sha256": [f"{i:064x}" for i in ids],
        "width": ids,
        "height": ids,
        "bytes": ids,
        "caption": [None] * len(ids),
    }
    shard = write_shard(folder, 0, ids, rows, pa.table(columns).cast(ITEM_COLUMNS))
    (folder / "rejected.jsonl").write_bytes(b"")
    encoder, rejected = EncoderRecord("m", "1f", "2f", WIDTH, {}), record_file(folder, "rejected.jsonl")
    EmbeddingsManifest(encoder, "../p", len(rows), rejected, (shard,), first + len(rows), {}).write(folder)
    return folder


@pytest.fixture
def place(tmp_path):
    """An index of 40 pictures, embeddings of 10 more; picture 41 is nearly picture 40."""
    rows = np.random.default_rng(0).normal(size=(50, WIDTH))
    rows[41] = rows[40] + 0.01
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    build_index(embeddings(tmp_path / "a", rows[:40], 0), tmp_path / "i", IndexConfig("Flat"))
    embeddings(tmp_path / "b", rows[40:], 40)
    return tmp_path


def said(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_add_remove_and_compact_say_what_they_did(place):
    index = place / "i"
    assert "50 pictures in 2 segment(s) (10 added, 0 known already, 0 removed)" in said("add", index, place / "b")
    assert "(0 added, 10 known already, 0 removed)" in said("add", index, place / "b")
    assert "would remove 5" in said("remove", index, "--where", "width < 5", "--dry-run")
    assert "45 pictures in 2 segment(s) (0 added, 0 known already, 5 removed)" in said(
        "remove", index, "--where", "width < 5"
    )
    assert json.loads(said("remove", index, "--ids", "5, 6", "--json"))["removed"] == 2
    assert "43 pictures in 1 segment(s)" in said("compact", index)
    assert load_index(index).live_ids().tolist() == list(range(7, 50))


def test_the_missing_are_removed(place):
    (place / "p").mkdir()
    for number in range(38):
        (place / "p" / f"{number}.jpg").touch()
    assert json.loads(said("remove", place / "i", "--missing", "--dry-run", "--json")) == {"would_remove": [38, 39]}
    assert "38 pictures" in said("remove", place / "i", "--missing")


def test_merge_takes_in_another_index(place):
    build_index(place / "b", place / "j")
    assert "50 pictures in 2 segment(s) (10 added" in said("merge", place / "i", place / "j")


def test_duplicates_are_listed(place):
    said("add", place / "i", place / "b")
    table = said("duplicates", place / "i")
    assert "40.jpg (40)  41.jpg (41)" in table
    assert "1 groups; 1 of 50 pictures repeat another" in table
    group = json.loads(said("duplicates", place / "i", "--json"))[0]
    assert (group["kind"], [row["uri"] for row in group["pictures"]]) == ("near", ["40.jpg", "41.jpg"])
    assert said("duplicates", place / "i", "--near", "1").startswith("0 groups")


def test_recall_is_measured_again_where_it_was(place):
    config = IndexConfig("IVF4,Flat", threads=1, knn_recall=0.5, measure=True)
    build_index(place / "a", place / "m", config, overwrite=True)
    assert load_index(place / "m").manifest.measured["queries"] == 40
    assert "knn_recall@" in said("add", place / "m", place / "b", "--threads", 1)
    measured = load_index(place / "m").manifest.measured
    assert "stale" not in measured
    assert measured["queries"] == 50, "the new pictures are measured too"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --ids, --where and --missing"),
        (["--ids", "1", "--missing"], "one of --ids"),
        (["--ids", "one"], "whole numbers"),
        (["--ids", "99"], "id 99 not in"),
        (["--where", "nothing = 1"], "uri"),
        (["--missing"], "is not there"),
    ],
)
def test_mistakes_of_remove_are_one_line_and_change_nothing(place, arguments, message):
    with pytest.raises(BeholderError, match=message) as caught:
        said("remove", place / "i", *arguments)
    assert "\n" not in str(caught.value)
    assert len(load_index(place / "i")) == 40
