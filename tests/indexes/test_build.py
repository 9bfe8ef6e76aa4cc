"""Protects building: the same bytes however often it was killed, nobody else's files touched, memory bounded."""

import json
import random
import subprocess
import sys
import time

import pytest

from indexes import IndexConfig, build_index, load_index
from indexes.errors import BeholderError, FormatError
from indexes.searching.search import verify_index

BUILD = """
import sys
from indexes import IndexConfig, build_index
build_index(sys.argv[1], sys.argv[2], IndexConfig(sys.argv[3], threads=1))
"""


@pytest.fixture
def source(tmp_path, vectors, embeddings):
    return embeddings(tmp_path / "e", vectors(1500, 16))


@pytest.mark.parametrize(
    "factory", ["Flat", "IVF30,Flat", "IVF30,PQ8x4fs", "OPQ4,IVF30,PQ4x4fs", "HNSW16", "HNSW16_SQ8", "IVF30,RaBitQ"]
)
def test_two_builds_are_the_same_bytes(tmp_path, source, bytes_of, factory):
    first = build_index(source, tmp_path / "a", IndexConfig(factory))
    assert build_index(source, tmp_path / "b", IndexConfig(factory)) == first
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert sorted(path.rpartition("/")[2] for path in bytes_of(tmp_path / "a")) == [
        ".lock",
        "index.faiss",
        "items.parquet",
        "manifest.json",
        "vectors.arrow",
    ]
    assert verify_index(tmp_path / "a") == 3
    assert first.count == first.next_id == 1500
    assert first.factory == factory
    assert first.measured is None


def test_queries_are_kept_as_long_as_the_index_was_built_with_them(tmp_path, source, vectors):
    config = IndexConfig("IVF30,Flat")
    build_index(source, tmp_path / "i", config, query_vectors=vectors(30, 16, seed=2), query_kind="text")
    assert load_index(tmp_path / "i").manifest.settings["queries"]["count"] == 30
    assert len(list((tmp_path / "i").glob("queries-*.arrow"))) == 1
    build_index(source, tmp_path / "i", config)
    assert load_index(tmp_path / "i").manifest.measured is None
    assert not list((tmp_path / "i").glob("*queries*"))


def test_threads_change_no_byte_of_a_graph(tmp_path, source):
    files = []
    for threads in (1, 2, 4):
        folder = tmp_path / str(threads)
        segment = build_index(source, folder, IndexConfig("HNSW16_SQfp16", threads=threads)).segments[0]
        files.append((folder / segment.faiss.path).read_bytes())
    assert files[0] == files[1] == files[2]


def test_another_seed_trains_another_index(tmp_path, source):
    one, two = (build_index(source, tmp_path / str(seed), IndexConfig("IVF30,Flat", seed=seed)) for seed in (0, 1))
    assert one.segments[0].faiss.sha256 != two.segments[0].faiss.sha256


def test_a_finished_index_is_not_built_again(tmp_path, source):
    build_index(source, tmp_path / "i")
    before = [(path, path.stat().st_mtime_ns) for path in (tmp_path / "i").rglob("*")]
    build_index(source, tmp_path / "i")
    assert [(path, path.stat().st_mtime_ns) for path in (tmp_path / "i").rglob("*")] == before


def test_a_damaged_index_is_built_again(tmp_path, source, bytes_of):
    build_index(source, tmp_path / "i")
    before = bytes_of(tmp_path / "i")
    next((tmp_path / "i").rglob("index.faiss")).write_bytes(b"")
    build_index(source, tmp_path / "i")
    assert bytes_of(tmp_path / "i") == before


def test_leftovers_of_a_killed_build_are_cleared(tmp_path, source, bytes_of):
    build_index(source, tmp_path / "i")
    before = bytes_of(tmp_path / "i")
    for name in (".abc.tmp", "0123456789abcdef"):
        (tmp_path / "i/segments" / name).mkdir()
        (tmp_path / "i/segments" / name / "vectors.arrow").write_bytes(b"half")
    (tmp_path / "i/.manifest.json.tmp").write_bytes(b"{")
    build_index(source, tmp_path / "i")
    assert bytes_of(tmp_path / "i") == before


def test_an_index_of_other_embeddings_is_only_replaced_when_told(tmp_path, source, vectors, embeddings):
    other = embeddings(tmp_path / "other", vectors(40, 16, seed=9))
    build_index(source, tmp_path / "i")
    with pytest.raises(BeholderError, match="other embeddings"):
        build_index(other, tmp_path / "i")
    assert len(load_index(tmp_path / "i")) == 1500
    build_index(other, tmp_path / "i", overwrite=True)
    assert len(load_index(tmp_path / "i")) == 40
    assert len(list((tmp_path / "i/segments").iterdir())) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(tmp_path, source, overwrite):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    with pytest.raises(BeholderError, match="Choose another folder"):
        build_index(source, tmp_path / "photos", overwrite=overwrite)
    with pytest.raises(BeholderError):
        build_index(source, source, overwrite=overwrite)
    assert (tmp_path / "photos/a.jpg").read_bytes() == b"x"


def test_a_folder_that_is_no_embeddings_is_refused(tmp_path):
    with pytest.raises(FormatError, match="there is no folder"):
        build_index(tmp_path / "nothing", tmp_path / "i")


def test_the_picture_folder_is_found_from_the_index(tmp_path, vectors, embeddings):
    source = embeddings(tmp_path / "deep/e", vectors(5, 8), source="../../pictures")
    manifest = build_index(source, tmp_path / "x/y/i")
    assert (tmp_path / "x/y/i" / manifest.source).resolve() == (tmp_path / "pictures").resolve()
    source = embeddings(tmp_path / "e2", vectors(5, 8), source="/pictures")
    assert build_index(source, tmp_path / "i2").source == "/pictures"


@pytest.mark.parametrize("options", [{"factory": "HNSW"}, {"factory": "IVF0,Flat"}, {"threads": -1}, {"knn_recall": 0}])
def test_a_senseless_configuration_is_refused(options):
    with pytest.raises(BeholderError, match="index settings"):
        IndexConfig(**options)


def test_more_lists_than_vectors_are_refused(tmp_path, source):
    with pytest.raises(BeholderError, match="fewer lists"):
        build_index(source, tmp_path / "i", IndexConfig("IVF2000,Flat"))


def test_progress_ends_at_the_count(tmp_path, source):
    calls = []
    build_index(source, tmp_path / "i", IndexConfig("IVF30,Flat"), progress=lambda *call: calls.append(call))
    assert calls[-1] == (1500, 1500)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def kill_and_rerun(tmp_path, vectors, embeddings, bytes_of, kills):
    """Kills builds with SIGKILL at `kills` moments spread over a build's duration; each time the rerun must give the
    bytes of a build that was left alone. Says how many kills hit a running build."""
    source = embeddings(tmp_path / "e", vectors(60_000, 64), shard=8192)
    wanted = build_index(source, tmp_path / "whole", IndexConfig("IVF150,Flat", threads=1))
    command = [sys.executable, "-c", BUILD, str(source), str(tmp_path / "i"), "IVF150,Flat"]
    started = time.monotonic()
    subprocess.run(command, check=True)
    duration, hits = time.monotonic() - started, 0
    rng = random.Random(5)
    for kill in range(kills):
        subprocess.run(["rm", "-r", str(tmp_path / "i")], check=True)
        child = subprocess.Popen(command)
        time.sleep(duration * (0.35 + 0.65 * (kill + rng.random()) / kills))
        hits += child.poll() is None
        child.kill()  # SIGKILL; nothing where the build has ended
        child.wait()
        if not (tmp_path / "i/manifest.json").exists():
            with pytest.raises(FormatError):
                load_index(tmp_path / "i")
        assert build_index(source, tmp_path / "i", IndexConfig("IVF150,Flat", threads=1)) == wanted
        assert bytes_of(tmp_path / "i") == bytes_of(tmp_path / "whole")
    assert hits, "no build was hit while it ran"


def test_a_killed_build_ends_with_the_same_bytes(tmp_path, vectors, embeddings, bytes_of):
    kill_and_rerun(tmp_path, vectors, embeddings, bytes_of, kills=3)


@pytest.mark.campaign
def test_a_build_killed_ten_times_ends_with_the_same_bytes(tmp_path, vectors, embeddings, bytes_of):
    kill_and_rerun(tmp_path, vectors, embeddings, bytes_of, kills=10)


MEMORY = """
import json, resource, sys
from pathlib import Path
import faiss, numpy, pyarrow.parquet
from indexes import IndexConfig, build_index
build_index(sys.argv[2], Path(sys.argv[1], "warm"), IndexConfig(sys.argv[3], threads=1))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
build_index(Path(sys.argv[1], "e"), Path(sys.argv[1], "i"), IndexConfig(sys.argv[3], threads=1, train_rows=20_000))
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize("factory", ["Flat", "IVF100,Flat"])
def test_memory_is_the_index_and_a_fixed_allowance(tmp_path, vectors, embeddings, factory):
    embeddings(tmp_path / "e", vectors(200_000, 64), shard=8192)
    small = embeddings(tmp_path / "small", vectors(2000, 64))
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(small), factory]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    index_bytes = next((tmp_path / "i").rglob("index.faiss")).stat().st_size
    # 24 MiB: a shard mapped, as float32 and in the allocator's hands, a shard of items, and the training sample.
    assert json.loads(run.stdout) < 1.3 * index_bytes + (24 << 20)
