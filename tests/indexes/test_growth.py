"""Protects growth: after any of add, remove, merge and compact a search answers as exact search over what is left, ids
stay, readers keep their view, and a killed call leaves the old index or the new one."""

import json
import random
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.building.growth import add, compact, gone_from, merge, missing_ids, remove
from indexes.errors import BeholderError, FormatError
from indexes.records.locks import locked
from indexes.records.segments import IndexManifest, write_tombstones
from indexes.searching.search import verify_index

WIDTH = 16


@pytest.fixture
def parts(tmp_path, vectors, embeddings):
    """An index of 400 pictures, and embeddings of 300 others."""
    rows = vectors(700, WIDTH)
    build_index(embeddings(tmp_path / "e", rows[:400], shard=150), tmp_path / "i")
    return rows, tmp_path / "i", embeddings(tmp_path / "more", rows[400:], shard=150, first_id=5000)


def assert_searches_exactly(folder, ids, rows, queries, k=10):
    """The index holds exactly `rows` (n, D) under `ids` (n,), and finds them."""
    index = load_index(folder)
    assert index.live_ids().tolist() == sorted(ids.tolist())
    halves = rows.astype(np.float16)
    wanted = exact_search(queries, [(ids, halves)], k)
    found = index.search(queries, k)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    np.testing.assert_array_equal(index.vectors(ids), halves.astype(np.float32))
    assert index.items(ids).column("id").to_pylist() == ids.tolist()
    assert index.items_table().column("id").to_pylist() == sorted(ids.tolist())
    assert sorted(np.concatenate([block for block, _ in index.blocks()]).tolist()) == sorted(ids.tolist())
    verify_index(folder)


def test_what_is_added_is_found_under_new_ids(parts, vectors):
    rows, folder, more = parts
    report = add(folder, more)
    assert (report.added, report.known, report.count, report.segments) == (300, 0, 700, 2)
    assert_searches_exactly(folder, np.arange(700), rows, vectors(30, WIDTH, seed=3))
    items = load_index(folder).items(np.array([0, 400]))
    assert items.column("uri").to_pylist() == ["0.jpg", "5000.jpg"]


def test_adding_again_adds_nothing_and_writes_nothing(parts, bytes_of):
    _, folder, more = parts
    add(folder, more)
    before = bytes_of(folder)
    assert (add(folder, more).added, add(folder, more).known) == (0, 300)
    assert bytes_of(folder) == before


def test_two_adds_from_the_same_state_are_the_same_bytes(parts, tmp_path, bytes_of):
    _, folder, more = parts
    build_index(tmp_path / "e", tmp_path / "twin")
    add(folder, more)
    add(tmp_path / "twin", more)
    assert bytes_of(folder) == bytes_of(tmp_path / "twin")


def test_only_the_new_pictures_of_a_grown_folder_are_added(parts, tmp_path, vectors, embeddings):
    rows, folder, _ = parts
    grown = embeddings(tmp_path / "grown", rows[:500], shard=500)  # ids 0, 1, ... as the first shard of "e"
    report = add(folder, grown)
    assert report.added + report.known == 500
    held = set(load_index(folder).items_table().column("uri").to_pylist())
    assert {f"{i}.jpg" for i in range(500)} <= held
    assert len(held) == len(load_index(folder)), "no picture is there twice"


def test_pictures_of_another_folder_keep_a_path_that_works(parts, tmp_path, vectors, embeddings):
    _, folder, _ = parts
    other = embeddings(tmp_path / "deep/e2", vectors(5, WIDTH, seed=7), first_id=900, source="../holiday")
    add(folder, other)
    uri = load_index(folder).items(np.array([400])).column("uri")[0].as_py()
    pictures = tmp_path / "i" / IndexManifest.read(folder).source
    assert (pictures / uri).resolve() == (tmp_path / "deep/holiday/900.jpg").resolve()


def test_embeddings_of_another_encoder_are_refused(parts, tmp_path, vectors, embeddings, bytes_of):
    _, folder, _ = parts
    before, other = bytes_of(folder), embeddings(tmp_path / "other", vectors(5, WIDTH))
    content = json.loads((other / "manifest.json").read_bytes())
    content["encoder"]["image_fingerprint"] = "ff"
    (other / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(BeholderError, match=r"pictures ff.*expected a model"):
        add(folder, other)
    assert bytes_of(folder) == before


def test_removed_pictures_never_come_back(parts, vectors):
    rows, folder, more = parts
    add(folder, more)
    gone = np.array([3, 399, 400, 5])
    assert remove(folder, gone).removed == 4
    left = np.setdiff1d(np.arange(700), gone)
    assert_searches_exactly(folder, left, rows[left], np.concatenate([rows[gone], vectors(9, WIDTH, seed=3)]))
    with pytest.raises(BeholderError, match="id 3 is not in"):
        load_index(folder).items(np.array([3]))
    remove(folder, [6])
    assert len(load_index(folder)) == 695
    for wrong in (3, 700, -1):
        with pytest.raises(BeholderError, match=f"id {wrong} not in"):
            remove(folder, [7, wrong])
    assert 7 in load_index(folder).live_ids(), "a refused call removes nothing"


def test_ids_are_never_used_again(parts, tmp_path, vectors, embeddings):
    _, folder, more = parts
    add(folder, more)
    remove(folder, np.arange(400, 700))
    assert len(IndexManifest.read(folder).segments) == 1, "a segment without live rows is dropped"
    compact(folder)
    report = add(folder, more)
    assert report.added == 300
    assert load_index(folder).live_ids().tolist() == [*range(400), *range(700, 1000)]


def test_everything_may_be_removed_and_added_again(parts, vectors):
    rows, folder, more = parts
    remove(folder, np.arange(400))
    assert load_index(folder).search(vectors(2, WIDTH), 5).ids.shape == (2, 0)
    assert load_index(folder).items_table().num_rows == 0
    compact(folder)
    add(folder, more)
    assert_searches_exactly(folder, np.arange(400, 700), rows[400:], vectors(5, WIDTH, seed=3))


def test_compact_keeps_ids_and_frees_the_rest(parts, vectors):
    rows, folder, more = parts
    add(folder, more)
    remove(folder, np.arange(0, 700, 3))
    left = np.setdiff1d(np.arange(700), np.arange(0, 700, 3))
    report = compact(folder)
    assert (report.segments, report.count, report.removed) == (1, len(left), 700 - len(left))
    assert_searches_exactly(folder, left, rows[left], vectors(30, WIDTH, seed=3))
    assert len(list((folder / "segments").iterdir())) == 1
    assert IndexManifest.read(folder).segments[0].count == len(left)
    before = IndexManifest.read(folder)
    compact(folder)
    assert IndexManifest.read(folder) == before


def test_compact_may_choose_another_factory(parts, vectors):
    rows, folder, _ = parts
    compact(folder, factory="IVF8,Flat")
    manifest = IndexManifest.read(folder)
    assert (manifest.factory, manifest.parameters) == ("IVF8,Flat", {"nprobe": 8})
    assert_searches_exactly(folder, np.arange(400), rows[:400], vectors(9, WIDTH, seed=3))


def test_merge_takes_in_another_index_but_not_what_is_there_already(parts, tmp_path, vectors, embeddings):
    rows, folder, more = parts
    build_index(more, tmp_path / "j", IndexConfig("IVF10,Flat"))
    add(tmp_path / "j", tmp_path / "e")  # the 400 of the first index, under ids 300 to 699
    remove(tmp_path / "j", [0, 1])
    report = merge(folder, [tmp_path / "j"])
    assert (report.added, report.known) == (298, 400)
    ids = np.concatenate([np.arange(400), np.arange(402, 700)])
    assert_searches_exactly(folder, ids, np.delete(rows, [400, 401], axis=0), rows[:20])
    assert merge(folder, [tmp_path / "j"]).added == 0
    assert IndexManifest.read(folder).next_id == 400 + 700


def test_an_index_is_not_merged_into_itself_nor_with_another_encoder(parts, tmp_path, vectors, embeddings, bytes_of):
    _, folder, _ = parts
    with pytest.raises(BeholderError, match="into itself"):
        merge(folder, [folder / "." / "."])
    build_index(embeddings(tmp_path / "w", vectors(9, 8)), tmp_path / "j")
    with pytest.raises(BeholderError, match="is of encoder"):
        merge(folder, [tmp_path / "j"])


@pytest.mark.parametrize("mmap", [False, True])
def test_an_open_reader_keeps_its_view(parts, vectors, mmap):
    rows, folder, more = parts
    add(folder, more)
    remove(folder, [0])
    reader, queries = load_index(folder, mmap=mmap), rows[:20]
    wanted = load_index(folder).search(queries, 10)
    remove(folder, np.arange(1, 50))
    compact(folder)
    remove(folder, np.arange(50, 300))
    compact(folder)
    np.testing.assert_array_equal(reader.search(queries, 10).ids, wanted.ids)
    assert reader.items(wanted.ids[0]).num_rows == 10
    assert len(reader) == 699
    assert len(reader.items_table()) == 699
    assert len(load_index(folder)) == 400


def test_the_missing_are_told_from_a_folder_that_is_not_mounted(parts, tmp_path):
    _, folder, _ = parts
    with pytest.raises(BeholderError, match="is not there"):
        missing_ids(folder)
    (tmp_path / "p").mkdir()
    uris = load_index(folder).items_table().column("uri").to_pylist()
    for uri in uris[2:]:
        (tmp_path / "p" / uri).touch()
    assert missing_ids(folder).tolist() == [0, 1]


def test_what_embeddings_lost_is_known(parts, tmp_path, embeddings):
    rows, folder, _ = parts
    fewer = embeddings(tmp_path / "fewer", rows[:100], shard=150)
    assert gone_from(folder, fewer).tolist() == list(range(100, 400))


def test_one_writer_at_a_time(parts):
    _, folder, more = parts
    with locked(folder), pytest.raises(BeholderError, match="another run is writing"):
        add(folder, more)


def test_no_lock_file_is_put_into_a_folder_of_others(tmp_path, parts):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FormatError):
        remove(tmp_path / "photos", [1])
    assert list((tmp_path / "photos").iterdir()) == []


def test_damaged_tombstones_are_found(parts):
    _, folder, _ = parts
    remove(folder, [1, 2])
    path = next(folder.rglob("removed-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError):
        verify_index(folder)
    path.write_bytes(content[:-9])
    with pytest.raises(FormatError):
        load_index(folder)


def test_tombstones_of_ids_that_are_not_there_are_refused(parts):
    _, folder, _ = parts
    manifest = IndexManifest.read(folder)
    record = write_tombstones(folder, manifest.segments[0].id, np.array([5, 4000]))
    content = json.loads((folder / "manifest.json").read_bytes())
    content["segments"][0]["tombstones"] = vars(record)
    content["count"] = 398
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match="removes id 4000"):
        verify_index(folder)


def test_an_index_of_format_1_is_read(parts, vectors):
    rows, folder, _ = parts
    content = json.loads((folder / "manifest.json").read_bytes())
    content.pop("measured")
    content |= {"format": 1, "knn_recall": None}
    content["segments"][0]["tombstones"] = []
    (folder / "manifest.json").write_text(json.dumps(content))
    assert_searches_exactly(folder, np.arange(400), rows[:400], vectors(5, WIDTH, seed=3))
    remove(folder, [1])
    assert json.loads((folder / "manifest.json").read_bytes())["format"] == 3


def test_columns_that_only_some_pictures_have_are_null_elsewhere(parts, tmp_path, vectors, embeddings, items):
    from indexes.records.manifest import record_file
    from indexes.records.shards import EmbeddingsManifest, write_shard

    _, folder, more = parts
    ids = np.arange(8000, 8003)
    shard = write_shard(more, 7, ids, vectors(3, WIDTH, seed=9), items(ids, style=["Cubism", "Pop", None]))
    manifest = EmbeddingsManifest.read(more)
    rejected = record_file(more, "rejected.jsonl")
    whole = EmbeddingsManifest(manifest.encoder, manifest.source, 3, rejected, (shard,), 9000, {})
    whole.write(more)
    add(folder, more)
    for _ in range(2):
        table = load_index(folder).items_table()
        assert table.column("style").to_pylist() == [None] * 400 + ["Cubism", "Pop", None]
        compact(folder)
    assert isinstance(table, pa.Table)


GROW = """
import sys
from indexes.building.growth import add, compact, remove
folder, more = sys.argv[1:]
add(folder, more, threads=1)
remove(folder, range(100, 200))
compact(folder, threads=1)
"""


def kill_and_rerun(tmp_path, vectors, embeddings, bytes_of, kills):
    """Kills add, remove, compact in turn at `kills` moments; the index must then be whole, be one of the four states,
    and end with the bytes of a run that was left alone."""
    rows = vectors(9000, WIDTH)
    first, more = embeddings(tmp_path / "e", rows[:3000]), embeddings(tmp_path / "m", rows[3000:], first_id=90_000)
    build_index(first, tmp_path / "start")
    states = {3000, 9000, 8900}

    def fresh(name):
        subprocess.run(["cp", "-r", str(tmp_path / "start"), str(tmp_path / name)], check=True)
        return [sys.executable, "-c", GROW, str(tmp_path / name), str(more)]

    started = time.monotonic()
    subprocess.run(fresh("whole"), check=True)
    duration, hits, rng = time.monotonic() - started, 0, random.Random(5)
    for kill in range(kills):
        folder = tmp_path / f"i{kill}"
        child = subprocess.Popen(fresh(folder.name))
        time.sleep(duration * (0.3 + 0.7 * (kill + rng.random()) / kills))
        hits += child.poll() is None
        child.kill()  # SIGKILL; nothing where the run has ended
        child.wait()
        count = len(load_index(folder))
        assert count in states
        verify_index(folder)
        found = load_index(folder).search(rows[:5], 3)
        assert (found.ids[:, 0] == np.arange(5)).all()
        add(folder, more, threads=1)
        index = load_index(folder)
        held = index.live_ids()
        held = held[(held >= 100) & (held < 200)]
        remove(folder, held)
        compact(folder, threads=1)
        assert bytes_of(folder) == bytes_of(tmp_path / "whole"), "the same bytes, nothing left over"
    assert hits, "no run was hit"


def test_a_killed_call_leaves_the_old_index_or_the_new_one(tmp_path, vectors, embeddings, bytes_of):
    kill_and_rerun(tmp_path, vectors, embeddings, bytes_of, kills=3)


@pytest.mark.campaign
def test_growth_killed_fifty_times(tmp_path, vectors, embeddings, bytes_of):
    kill_and_rerun(tmp_path, vectors, embeddings, bytes_of, kills=50)
