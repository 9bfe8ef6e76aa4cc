"""Protects GPU search: the answers of the CPU, memory compared before the copy, limits named. What needs no GPU is
tested everywhere; the rest is marked `gpu`."""

import threading

import numpy as np
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.building.growth import remove
from indexes.engine.gpu import GPU_MOST, SCRATCH_BYTES, check_limits, gpu_bytes, gpus_of, spread_of
from indexes.errors import BeholderError

GIB = 1 << 30
WIDTH = 32


@pytest.mark.parametrize(
    ("device", "gpus"),
    [("cpu", None), ("cuda", [0, 1, 2]), ("cuda:1", [1]), ("cuda:2,0", [2, 0]), ("cuda:0,1", [0, 1])],
)
def test_devices_are_named_as_in_torch(device, gpus, monkeypatch):
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 3)
    assert gpus_of(device) == gpus


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:3", "cuda:1,1", "cuda:-1", "CUDA"])
def test_devices_that_are_not_there_are_refused(device, monkeypatch):
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 3)
    with pytest.raises(BeholderError, match="device"):
        gpus_of(device)


def test_no_gpu_is_said_with_the_remedy(monkeypatch):
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(BeholderError, match=r"sees no GPU.*doctor"):
        gpus_of("cuda:0")


@pytest.mark.parametrize(
    ("needed", "free", "spread"),
    [
        (4 * GIB, [5 * GIB], "replicate"),
        (4 * GIB, [4 * GIB, 9 * GIB], "replicate"),
        (8 * GIB, [5 * GIB, 5 * GIB], "shard"),
        (30 * GIB, [9 * GIB] * 4, "shard"),
    ],
)
def test_an_index_is_copied_where_it_fits_and_cut_where_it_does_not(needed, free, spread):
    assert spread_of(needed, free) == spread


@pytest.mark.parametrize(
    ("needed", "free"), [(4 * GIB, [GIB]), (11 * GIB, [5 * GIB, 5 * GIB]), (8 * GIB, [9 * GIB, 2 * GIB])]
)
def test_too_little_memory_names_both_sizes(needed, free):
    with pytest.raises(BeholderError, match=rf"needs {needed // GIB}.0 GiB.*{free[0] // GIB}.0"):
        spread_of(needed, free)


@pytest.mark.parametrize(("factory", "per_vector"), [("Flat", 128), ("IVF16,Flat", 264), ("IVF16,SQ8", 72)])
def test_bytes_are_those_of_the_codes(factory, per_vector):
    import faiss

    index = faiss.index_factory(64, factory, faiss.METRIC_INNER_PRODUCT)
    rows = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)
    index.train(rows)
    index.add(rows)
    rest = gpu_bytes(index) - SCRATCH_BYTES - 1.1 * 4000 * per_vector
    assert -1 <= rest < 300_000  # rounding; centres and padding of 16 lists


@pytest.mark.parametrize(
    ("k", "nprobe", "each", "name"), [(2049, 1, 1, "k = 2049"), (1, 4000, 1, "nprobe"), (600, 1, 4, "k x")]
)
def test_the_limit_of_gpu_search_is_named(k, nprobe, each, name):
    with pytest.raises(BeholderError, match=rf"{name}.*2,048"):
        check_limits(k, nprobe, each)
    check_limits(GPU_MOST, GPU_MOST, 1)


@pytest.fixture(scope="module", params=["Flat", "IVF30,Flat", "IVF30,SQ8"])
def folder(request, tmp_path_factory, vectors, embeddings):
    place = tmp_path_factory.mktemp("gpu")
    config = IndexConfig(request.param, threads=1, measure=False)
    build_index(embeddings(place / "e", vectors(4000, WIDTH)), place / "i", config)
    return place / "i"


@pytest.fixture
def gpu():
    import faiss

    if faiss.get_num_gpus() == 0:
        pytest.skip("FAISS sees no GPU here")


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 10, 300])
def test_a_gpu_gives_the_answers_of_the_cpu(folder, vectors, gpu, k):
    queries, parameters = vectors(300, WIDTH, seed=4), {"nprobe": 30}
    ours = load_index(folder, device="cuda").search(queries, k, parameters=parameters)
    twin = load_index(folder).search(queries, k, parameters=parameters)
    if "SQ8" not in load_index(folder).manifest.factory:
        np.testing.assert_array_equal(ours.ids, twin.ids)
        np.testing.assert_array_equal(ours.scores, twin.scores)
    share = np.mean([len(set(a) & set(b)) / k for a, b in zip(ours.ids, twin.ids, strict=True)])
    assert share >= 0.98


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0, 0.01, 0.05, 0.5, 0.97])
@pytest.mark.parametrize("exact_rows", [0, 20_000])
def test_filters_and_removed_rows_hold_on_a_gpu(folder, vectors, gpu, share, exact_rows, monkeypatch):
    monkeypatch.setattr("indexes.searching.segment_reader.EXACT_ROWS", exact_rows)
    remove(folder, load_index(folder).live_ids()[:1])
    index, queries = load_index(folder, device="cuda"), vectors(20, WIDTH, seed=4)
    live = index.live_ids()
    allowed = np.sort(np.random.default_rng(1).permutation(live)[: round(share * len(live))])
    found = index.search(queries, 10, allowed=allowed, parameters={"nprobe": 30})
    assert found.ids.shape == (20, min(10, len(allowed)))
    assert np.isin(found.ids, allowed).all()
    truth = exact_search(queries, [(allowed, index.vectors(allowed))], 10)
    assert truth.ids.shape == found.ids.shape


@pytest.mark.gpu
def test_threads_may_search_one_gpu_index_at_once(folder, vectors, gpu):
    index, queries = load_index(folder, device="cuda"), vectors(64, WIDTH, seed=4)
    wanted, wrong = index.search(queries, 10), []

    def work(size):
        for start in range(0, 64, size):
            found = index.search(queries[start : start + size], 10)
            if not np.array_equal(found.ids, wanted.ids[start : start + size]):
                wrong.append((size, start))

    threads = [threading.Thread(target=work, args=(size,)) for size in (1, 4, 16, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.gpu
def test_a_kind_that_gpus_have_not_is_named(tmp_path, vectors, embeddings, gpu):
    build_index(embeddings(tmp_path / "e", vectors(300, WIDTH)), tmp_path / "i", IndexConfig("HNSW8", measure=False))
    with pytest.raises(BeholderError, match="IndexHNSWFlat"):
        load_index(tmp_path / "i", device="cuda")
