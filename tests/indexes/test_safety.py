"""Protects the caller from folders of strangers: whatever is in one, opening it is an error line or an answer."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pytest
from mutations import mutate

from indexes import IndexConfig, build_index, load_index
from indexes.errors import FormatError
from indexes.records.manifest import record_file
from indexes.records.query_file import write_queries
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.segments import IndexManifest, write_tombstones
from indexes.records.shards import Embeddings
from indexes.records.structure import check_structure
from indexes.searching import probe, safety
from indexes.searching.safety import admit, check_files, remember

WIDTH = 32
FACTORIES = ["Flat", "SQfp16", "IVF16,Flat", "IVF16,SQ8", "OPQ8_32,IVF16,PQ8x4fs", "HNSW8", "HNSW8_SQ8", "IVF16,RaBitQ"]

CALLER = """
import json, sys
import numpy as np
from indexes import load_index
from indexes.errors import BeholderError
from indexes.searching.safety import admit
queries = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
for folder in sys.argv[1:]:
    try:
        admit(folder)
        index = load_index(folder)
        found = index.search(queries, 10)
        index.items(np.unique(found.ids))
        if index.scorers:
            index.search(queries, 5, beauty={"": 1.5})
            index.items_table()
        outcome, said = "answer", f"{found.ids.shape}"
    except BeholderError as error:
        outcome, said = "refused", str(error)
    except BaseException as error:
        outcome, said = "crash", repr(error)
    print(json.dumps([outcome, said]), flush=True)
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Nothing is known at the start of a test, and nothing is noted in the user's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, vectors, embeddings):
    """An index per factory, one of them with removed pictures and kept queries."""
    place = tmp_path_factory.mktemp("safety")
    rows = vectors(400, WIDTH)
    built = flat = build_index(embeddings(place / "e", rows, shard=200), place / "Flat", IndexConfig("Flat"))
    for factory in FACTORIES[1:]:
        folder = place / factory.replace(",", "-")
        shutil.copytree(place / "Flat", folder)
        index = faiss.index_factory(WIDTH, factory, faiss.METRIC_INNER_PRODUCT)
        faiss.downcast_index(index).verbose = False
        index.train(rows)
        index.add(rows)
        segment = built.segments[0]
        faiss.write_index(index, str(folder / segment.faiss.path))
        segment = dataclasses.replace(segment, faiss=record_file(folder, segment.faiss.path))
        name = "efSearch" if factory.startswith("HNSW") else "nprobe"
        parameters = {} if factory == "SQfp16" else {name: 16, "candidates": 4}
        count = 400
        if factory == "IVF16,SQ8":
            removed = write_tombstones(folder, segment.id, np.arange(0, 400, 7))
            segment, count = dataclasses.replace(segment, tombstones=removed), 400 - 58
            kept = write_queries(folder, rows[:20], "text")
            built = dataclasses.replace(built, settings={**built.settings, "queries": kept})
        changes = {"factory": factory, "parameters": parameters, "segments": (segment,), "count": count}
        dataclasses.replace(built, **changes).write(folder)
        built = flat
    return [*(place / factory.replace(",", "-") for factory in FACTORIES), scored_folder(place, rows)]


def scored_folder(place, rows):
    """An index with a scorer among its dimensions and one that is a column."""
    digests = Embeddings(place / "e").items().column("sha256").to_pylist()
    for name, shift in (("inside", 0), ("column", 1)):
        column = ScoreColumn(name, "f", {}, digests, np.arange(400, dtype=np.float32) + shift)
        write_scores(scores_path(place / "e", name), column)
    config = IndexConfig("IVF16,Flat", scorers=("inside",), default_scorer="inside")
    build_index(place / "e", place / "scored", config, text_vectors=rows[:50])
    return place / "scored"


@pytest.fixture
def folder(folders, tmp_path):
    """A copy of the first, to be damaged."""
    return Path(shutil.copytree(folders[0], tmp_path / "i"))


def test_every_kind_of_index_is_admitted_once(folders):
    for folder in folders:
        assert admit(folder), folder
        assert not admit(folder), folder
        assert admit(folder, mapped=True), folder
        assert not admit(folder, mapped=True), folder
        assert not admit(folder), folder
        assert len(load_index(folder)) == IndexManifest.read(folder).count


def test_a_folder_written_here_is_opened_unchecked(folder, monkeypatch):
    monkeypatch.setattr(safety, "probe", None)  # calling it would raise
    remember(folder)
    assert not admit(folder)
    assert not admit(folder, mapped=True)


def test_a_moved_folder_is_known_and_a_copied_one_is_not(folder, tmp_path):
    remember(folder)
    folder.rename(tmp_path / "moved")
    assert not admit(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert admit(tmp_path / "copy")


@pytest.mark.parametrize("name", ["index.faiss", "vectors.arrow", "items.parquet"])
def test_a_file_changed_under_its_old_time_is_checked_again(folder, name):
    remember(folder)
    path = next(folder.rglob(name))
    times, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(FormatError, match="was changed or cut"):
        admit(folder)


def test_what_was_refused_is_refused_again(folder):
    next(folder.rglob("index.faiss")).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(FormatError, match="0 bytes"):
            admit(folder)


def test_a_state_folder_that_cannot_be_written_is_said(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="is checked at each opening"):
        assert admit(folder)


def test_old_notes_are_forgotten(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(safety, "REMEMBERED", 3)
    for number in range(5):
        remember(Path(shutil.copytree(folder, tmp_path / str(number))))
    assert len(list((tmp_path / "state").rglob("*.json"))) == 3
    assert not admit(tmp_path / "4")


def test_queries_that_were_changed_or_lead_elsewhere_are_refused(folders, tmp_path):
    folder = Path(shutil.copytree(folders[FACTORIES.index("IVF16,SQ8")], tmp_path / "i"))
    (path,) = folder.glob("queries-*.arrow")
    content = path.read_bytes()
    path.write_bytes(content[:300] + b"x" + content[301:])
    with pytest.raises(FormatError, match="changed or cut"):
        admit(folder)
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(FormatError):
        check_files(folder)


def edit(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "segments/../../secret", 7, "a\0b"])
def test_paths_out_of_the_folder_are_refused(folder, path):
    edit(folder, lambda manifest: manifest["segments"][0]["items"].update(path=path))
    with pytest.raises(FormatError):
        check_files(folder)


def test_links_out_of_the_folder_and_what_is_no_file_are_refused(folder, tmp_path):
    path = next(folder.rglob("items.parquet"))
    path.rename(tmp_path / "secret.parquet")
    path.symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(FormatError, match="out of the folder"):
        check_files(folder)
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    with pytest.raises(FormatError, match="not there"):
        check_files(folder)


def test_a_faiss_header_of_another_index_is_refused_before_faiss_reads_it(folder):
    path = next(folder.rglob("index.faiss"))
    for index, found in [
        (faiss.IndexFlatIP(16), "width 16"),
        (faiss.index_factory(WIDTH, "SQfp16", faiss.METRIC_L2), "metric 1"),
        (faiss.IndexLSH(WIDTH, 32), "of kind"),
    ]:
        index.train(np.zeros((400, index.d), np.float32))
        index.add(np.zeros((400, index.d), np.float32))
        faiss.write_index(index, str(path))
        edit(folder, lambda manifest: manifest["segments"][0]["faiss"].update(bytes=path.stat().st_size))
        with pytest.raises(FormatError, match=found):
            check_files(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"kind": "beholder-index", "format": 2, "segments": 3}', "{}"])
def test_a_manifest_of_another_shape_is_one_line(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(FormatError) as error:
        admit(folder)
    assert "\n" not in str(error.value)


def test_a_child_that_crashes_hangs_or_eats_memory_is_an_error_line(folder, monkeypatch):
    def refusal(body):
        monkeypatch.setattr(probe, "CHILD", body)
        with pytest.raises(FormatError) as error:
            admit(folder)
        return str(error.value)

    assert "SIGSEGV" in refusal("import os; os.kill(os.getpid(), 11)")
    assert "exit 3" in refusal("raise SystemExit(3)")
    assert "exit 0" in refusal("print('hello')")
    limits = (
        "import sys; sys.path.append(sys.argv[1]); from indexes.searching.probe_child import _limit; _limit({}, {});"
    )
    assert "exit 1" in refusal(limits.format(100 << 20, 60) + "bytearray(200 << 20)")
    assert "SIG" in refusal(limits.format(100 << 20, 1) + "\nwhile True: pass")
    monkeypatch.setattr(probe, "CPU_FIXED_S", 0.3)
    started = time.monotonic()
    assert "did not end" in refusal("import time; time.sleep(60)")
    assert time.monotonic() - started < 10


def test_modules_of_the_working_folder_are_not_imported(folder, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('stolen')")
    monkeypatch.chdir(tmp_path)
    assert admit(folder)


def campaign(folders, place, seeds):
    """Opens and searches a damaged folder per seed, all from one process, which must survive; the outcomes."""
    damages = {}
    for seed in seeds:
        damaged = place / f"m{seed}"
        damages[damaged] = mutate(folders[seed % len(folders)], damaged, seed // len(folders))
    command = [sys.executable, "-c", CALLER, *map(str, damages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * len(damages))
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    told = list(zip(damages.items(), outcomes, strict=False))
    assert len(outcomes) == len(damages), f"{list(damages.items())[len(outcomes)]} ended the caller: {done.stderr}"
    crashes = [(str(folder), how, said) for (folder, how), (outcome, said) in told if outcome == "crash"]
    assert not crashes, crashes
    assert not [said for outcome, said in outcomes if "\n" in said]
    return [outcome for outcome, _ in outcomes]


def test_fifty_damaged_folders_are_an_error_line_or_an_answer(folders, tmp_path):
    outcomes = campaign(folders, tmp_path, range(50))
    assert outcomes.count("refused") > 25
    assert "answer" in outcomes  # a changed code word, say: not everything is refused


@pytest.mark.campaign
def test_five_hundred_damaged_folders_are_an_error_line_or_an_answer(folders, tmp_path):
    outcomes = campaign(folders, tmp_path, range(1000, 1500))
    assert outcomes.count("refused") > 250
    assert "answer" in outcomes


def test_a_link_to_a_vector_that_is_not_there_is_found(vectors):
    index = faiss.index_factory(16, "HNSW8", faiss.METRIC_INNER_PRODUCT)
    index.add(vectors(300, 16))
    graph = faiss.downcast_index(index).hnsw
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    check_structure(index, 300)
    links[100] = 300
    with pytest.raises(FormatError, match="a neighbour that is not there"):
        check_structure(index, 300)


def test_a_list_that_names_a_vector_twice_or_none_at_all_is_found(vectors):
    rows = vectors(300, 16)
    for number, found in [(-5, "not there"), (300, "not there"), (7, "twice")]:
        index = faiss.index_factory(16, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1
        index.train(rows)
        index.add_with_ids(rows, np.concatenate([np.arange(299), [number]]))
        with pytest.raises(FormatError, match=found):
            check_structure(index, 300)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"kind": "beholder-index", "format": 2, "encoder": 7}'])
def test_reading_a_manifest_of_another_shape_is_an_error_of_ours(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(FormatError):
        IndexManifest.read(folder)
