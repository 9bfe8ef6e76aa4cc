"""Protects search: a Flat index answers as the oracle does, to the last digit, whatever batch, threads or device."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.building.growth import compact, remove
from indexes.errors import BeholderError, FormatError
from indexes.searching.search import verify_index

SIZE, WIDTH = 2500, 24


@pytest.fixture(scope="module")
def corpus(vectors):
    rows = vectors(SIZE, WIDTH)
    rows[1000:1040] = rows[5]  # 41 equal pictures: more than k + the extra candidates
    return rows


@pytest.fixture(scope="module")
def flat(tmp_path_factory, corpus, embeddings):
    folder = tmp_path_factory.mktemp("flat")
    build_index(embeddings(folder / "e", corpus, shard=700, first_id=100), folder / "i")
    return folder / "i"


@pytest.fixture(scope="module")
def ivf(tmp_path_factory, corpus, embeddings):
    folder = tmp_path_factory.mktemp("ivf")
    config = IndexConfig("IVF50,Flat", threads=1)
    build_index(embeddings(folder / "e", corpus, shard=700, first_id=100), folder / "i", config)
    return folder / "i"


@pytest.fixture(scope="module")
def queries(vectors, corpus):
    return np.concatenate([corpus[5:6], corpus[1039:1040], vectors(70, WIDTH, seed=4)])


def assert_same(found, wanted):
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("k", [1, 10, 60, SIZE, SIZE + 5])
def test_flat_equals_the_oracle_ties_included(flat, queries, k, mmap):
    index = load_index(flat, mmap=mmap)
    found = index.search(queries, k)
    assert_same(found, exact_search(queries, index.blocks(), k))
    assert found.ids.dtype == np.int64
    assert found.scores.dtype == np.float32
    assert found.ids.shape == (72, min(k, SIZE))
    assert found.ids.min() >= 0
    assert found.ids[0, 0] == 5, "the lowest id of the equal ones"


@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 64])
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_answers_do_not_depend_on_batch_or_threads(flat, queries, batch, threads, monkeypatch):
    monkeypatch.setattr(
        "indexes.searching.segment_reader.PART_PRODUCTS", 1000
    )  # so that small corpora are split over threads too
    index = load_index(flat)
    whole = exact_search(queries[:batch], index.blocks(), 12)
    assert_same(index.search(queries[:batch], 12, threads=threads), whole)


def test_ivf_with_all_lists_equals_the_oracle(ivf, queries, monkeypatch):
    monkeypatch.setattr("indexes.searching.segment_reader.PART_PRODUCTS", 1000)
    index = load_index(ivf)
    assert_same(index.search(queries, 10, nprobe=50), exact_search(queries, index.blocks(), 10))


def test_ivf_finds_what_its_manifest_promises(ivf, vectors):
    index = load_index(ivf)
    mine = vectors(300, WIDTH, seed=8)
    truth = exact_search(mine, index.blocks(), 10)
    found = index.search(mine, 10)
    share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth.ids, found.ids, strict=True)])
    assert index.manifest.parameters["held_out"]["knn_recall"] >= 0.95
    assert share >= 0.92, "other queries of the same kind: within 3 points of the held-out ones"


def test_more_lists_find_more(ivf, queries):
    index = load_index(ivf)
    truth = exact_search(queries, index.blocks(), 10).scores.sum()
    sums = [index.search(queries, 10, nprobe=n).scores.sum() for n in (1, 4, 16, 50)]
    assert sums == sorted(sums)
    assert sums[-1] == truth


def test_too_few_found_is_searched_exactly_and_counted(ivf, queries):
    index = load_index(ivf)
    found = index.search(queries[:3], SIZE, nprobe=1)
    assert_same(found, exact_search(queries[:3], index.blocks(), SIZE))
    assert index.exhaustive_fallbacks == 3
    index.search(queries[:3], 1, nprobe=1)
    assert index.exhaustive_fallbacks == 3


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_threads_that_search_at_once_get_right_answers(kind, request, queries, monkeypatch):
    monkeypatch.setattr("indexes.searching.segment_reader.PART_PRODUCTS", 1000)
    index = load_index(request.getfixturevalue(kind))
    wanted = exact_search(queries, index.blocks(), 10)
    wrong = []

    def work(batch):
        for start in range(0, 64, batch):
            found = index.search(queries[start : start + batch], 10, nprobe=50)
            if not np.array_equal(found.ids, wanted.ids[start : start + batch]):
                wrong.append((batch, start))

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (1, 4, 16, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_items_and_vectors_follow_the_ids_asked_for(flat, corpus):
    index = load_index(flat)
    ids = np.array([2499, 0, 700, 0])
    items = index.items(ids)
    assert items.column("id").to_pylist() == ids.tolist()
    # The embeddings' ids start at 100 and skip 7 after each 700 rows; the uris were made of those.
    assert items.column("uri").to_pylist() == ["2620.jpg", "100.jpg", "807.jpg", "100.jpg"]
    np.testing.assert_array_equal(index.vectors(ids), corpus[ids].astype(np.float16).astype(np.float32))
    assert len(index) == SIZE
    for wrong in (-1, SIZE):
        with pytest.raises(BeholderError, match=f"id {wrong} is not in"):
            index.items(np.array([0, wrong]))


def test_an_empty_index_finds_nothing(tmp_path, vectors, embeddings):
    build_index(embeddings(tmp_path / "e", vectors(0, 8)), tmp_path / "i")
    assert load_index(tmp_path / "i").search(vectors(2, 8), 3).ids.shape == (2, 0)


@pytest.mark.parametrize(
    ("vectors_", "options", "message"),
    [
        (np.ones((2, WIDTH)), {"k": 0}, "k = 0"),
        (np.ones((2, WIDTH + 1)), {"k": 1}, rf"\(2, 25\).*\(queries, {WIDTH}\)"),
        (np.ones(WIDTH), {"k": 1}, "shape"),
        (np.full((2, WIDTH), np.inf), {"k": 1}, "query 0 has values that are not finite"),
        (np.ones((2, WIDTH)), {"k": 1, "nprobe": 0}, "nprobe = 0"),
    ],
)
def test_wrong_calls_are_refused(flat, vectors_, options, message):
    with pytest.raises(BeholderError, match=message):
        load_index(flat).search(vectors_, **options)


@pytest.mark.parametrize("name", ["vectors.arrow", "items.parquet", "index.faiss"])
def test_damage_is_found(tmp_path, vectors, embeddings, name):
    build_index(embeddings(tmp_path / "e", vectors(50, 8)), tmp_path / "i")
    assert verify_index(tmp_path / "i") == 3
    path = next((tmp_path / "i").rglob(name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="changed or cut"):
        verify_index(tmp_path / "i")
    path.write_bytes(content[:-5])
    with pytest.raises(FormatError, match="expected"):
        load_index(tmp_path / "i")


def test_a_cut_faiss_file_of_the_recorded_size_is_an_error_of_ours(tmp_path, vectors, embeddings):
    build_index(embeddings(tmp_path / "e", vectors(50, 8)), tmp_path / "i")
    path = next((tmp_path / "i").rglob("index.faiss"))
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(FormatError, match="of kind"):
        load_index(tmp_path / "i")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format=4), "format 4; expected at most 3"),
        (lambda content: content.update(kind="beholder-embeddings"), "kind beholder-embeddings"),
        (lambda content: content.pop("segments"), "no 'segments'"),
        (lambda content: content["segments"][0]["faiss"].update(path="../../x"), "leaves the folder"),
        (lambda content: content["segments"][0].update(tombstones=[1]), "not a mapping|must be a mapping|list"),
        (lambda content: content.update(count=1), "the segments hold 50"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, vectors, embeddings, change, message):
    build_index(embeddings(tmp_path / "e", vectors(50, 8)), tmp_path / "i")
    content = json.loads((tmp_path / "i/manifest.json").read_bytes())
    change(content)
    (tmp_path / "i/manifest.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=message):
        load_index(tmp_path / "i")


def test_an_unknown_device_and_a_missing_gpu_are_refused(flat, monkeypatch):
    import faiss

    with pytest.raises(BeholderError, match="cpu or cuda"):
        load_index(flat, device="tpu")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(BeholderError, match=r"no GPU.*doctor"):
        load_index(flat, device="cuda")


MAPPED = """
import json, sys
import faiss, numpy as np
from indexes import load_index
def held():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
load_index(sys.argv[1]).search(np.eye(1, 64, dtype=np.float32), 5)
before = held()
index = load_index(sys.argv[2], mmap=json.loads(sys.argv[3]))
index.search(np.eye(1, 64, dtype=np.float32), 5)
print(json.dumps([held() - before, index.memory()["held"], index.memory()["mapped"]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is Linux's")
@pytest.mark.parametrize("factory", ["Flat", "IVF40,Flat"])
def test_a_mapped_index_holds_little_memory_and_says_so(tmp_path, vectors, embeddings, factory):
    config = IndexConfig(factory, threads=1, measure=False)
    build_index(embeddings(tmp_path / "small", vectors(200, 64)), tmp_path / "s", IndexConfig("Flat", threads=1))
    build_index(embeddings(tmp_path / "e", vectors(60_000, 64), shard=20_000), tmp_path / "i", config)
    size = next((tmp_path / "i").rglob("index.faiss")).stat().st_size
    found = {}
    for mapped in (True, False):
        command = [sys.executable, "-c", MAPPED, str(tmp_path / "s"), str(tmp_path / "i"), json.dumps(mapped)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found[mapped] = json.loads(run.stdout)
    assert found[False][0] > 0.8 * size
    assert found[True][0] < 0.3 * size
    assert found[False][1] >= size > found[True][1]
    assert sum(found[True][1:]) == sum(found[False][1:])


def test_an_index_larger_than_memory_opens_mapped_and_answers(flat, queries, monkeypatch):
    assert not load_index(flat).mapped
    monkeypatch.setattr("indexes.searching.search.available_bytes", lambda: 1000)
    index = load_index(flat)
    assert index.mapped
    assert_same(index.search(queries, 10), exact_search(queries, index.blocks(), 10))
    assert not load_index(flat, mmap=False).mapped
    monkeypatch.setattr("indexes.searching.search.available_bytes", lambda: None)
    assert not load_index(flat).mapped


def test_readers_that_open_while_the_index_is_replaced_get_one_of_the_two(tmp_path, vectors, embeddings):
    rows = vectors(300, 8)
    build_index(embeddings(tmp_path / "e", rows), tmp_path / "i")
    wrong, done = [], threading.Event()

    def read():
        while not done.is_set():
            index = load_index(tmp_path / "i")
            found = index.search(rows[:3], 2)
            if len(index.items(found.ids[:, 0])) != 3 or not set(found.ids[:, 0]) <= set(index.live_ids()):
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for step in range(12):
            remove(tmp_path / "i", [10 + step])
            compact(tmp_path / "i")
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []


def test_importing_indexes_loads_no_faiss_and_no_torch():
    code = "import indexes, sys; print([m for m in ('faiss', 'torch', 'pandas') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("factory", ["HNSW16", "HNSW16_SQfp16", "HNSW16_SQ8"])
def test_one_query_over_a_graph_gets_what_it_gets_in_a_batch(tmp_path, embeddings, vectors, factory):
    """The short way of a single query against the long one, over rows that lie in several batches of their file."""
    build_index(embeddings(tmp_path / "e", vectors(2000, 32)), tmp_path / "i", IndexConfig(factory))
    index, queries = load_index(tmp_path / "i"), vectors(40, 32, seed=3)
    together = index.search(queries, 10, parameters={"efSearch": 40})
    for place in range(len(queries)):
        alone = index.search(queries[place : place + 1], 10, parameters={"efSearch": 40})
        np.testing.assert_array_equal(alone.ids[0], together.ids[place])
        np.testing.assert_allclose(alone.scores[0], together.scores[place], atol=1e-6)
        np.testing.assert_allclose(index.vectors(alone.ids[0]) @ queries[place], alone.scores[0], atol=1e-6)


def test_a_graph_asked_for_nearly_all_or_more_gives_them_all(tmp_path, embeddings, vectors):
    build_index(embeddings(tmp_path / "e", vectors(300, 32)), tmp_path / "i", IndexConfig("HNSW16_SQfp16"))
    index, query = load_index(tmp_path / "i"), vectors(1, 32, seed=3)
    for k in (299, 300, 1000):
        assert len(set(index.search(query, k).ids[0].tolist())) == min(k, 300)
