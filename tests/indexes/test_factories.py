"""Protects the sizes that rule an index out before it is allocated, and which kinds are offered."""

import faiss
import numpy as np
import pytest

from indexes.engine.factories import (
    build_bytes,
    bytes_of,
    candidates,
    check_fits,
    growth,
    lists_for,
    parse,
    rescaled,
    training_rows,
    work,
)
from indexes.errors import BeholderError

KINDS = [
    "Flat",
    "SQfp16",
    "SQ8",
    "RaBitQ",
    "IVF60,Flat",
    "IVF60,SQ8",
    "IVF60,SQfp16",
    "IVF60,PQ16x4fs",
    "IVF60,RaBitQ",
    "HNSW16",
    "HNSW32_SQ8",
    "HNSW32_SQfp16",
]


@pytest.mark.parametrize("factory", KINDS)
def test_bytes_are_those_of_faiss(vectors, factory):
    rows = vectors(6000, 32)
    index = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    # 6 %: FAISS's headers, the random levels of a graph, and how full the last block of a list is.
    assert bytes_of(factory, 6000, 32) == pytest.approx(len(faiss.serialize_index(index)), rel=0.06)


@pytest.mark.parametrize(
    ("factory", "per_vector"), [("Flat", 1024), ("SQfp16", 512), ("SQ8", 256), ("RaBitQ", 40), ("PQ64x4fs", 32)]
)
def test_bytes_per_vector_at_256(factory, per_vector):
    assert bytes_of(factory, 10**6, 256) / 10**6 == pytest.approx(per_vector, rel=0.01)


def test_a_kind_is_taken_apart():
    kind = parse("OPQ32,IVF100,PQ32x4fs")
    assert (kind.opq, kind.lists, kind.pieces, kind.fast, kind.codes) == (32, 100, 32, True, "PQ")
    assert (kind.parameter, kind.lossy) == ("nprobe", True)
    assert (parse("HNSW32").parameter, parse("HNSW32").lossy) == ("efSearch", False)
    assert (parse("SQfp16").parameter, parse("SQfp16").lossy) == (None, False)


@pytest.mark.parametrize("factory", ["HNSW", "IVF0,Flat", "IVF10", "LSH", "IVF10,HNSW32", "Flat,", "PQ8x8", ""])
def test_what_is_not_built_is_refused(factory):
    with pytest.raises(BeholderError, match="factory"):
        parse(factory)


def test_misfits_are_refused_before_anything_is_allocated():
    with pytest.raises(BeholderError, match="fewer lists"):
        check_fits("IVF2000,Flat", 1500, 16)
    with pytest.raises(BeholderError, match="pieces that divide 30"):
        check_fits("IVF10,PQ16x4fs", 1500, 30)


def test_all_kinds_are_offered_where_memory_is_not_bounded():
    fit, out = candidates(10**6, 256)
    assert [offered.factory for offered in fit] == [
        "Flat",
        "HNSW16_SQfp16",
        "IVF4000,Flat",
        "IVF4000,SQ8",
        "IVF4000,PQ128x4fs",
        "IVF4000,RaBitQ",
    ]
    assert not out


def test_what_does_not_fit_is_ruled_out():
    fit, out = candidates(10**6, 256, memory=500 << 20)
    assert [offered.factory for offered in out][:1] == ["Flat"]
    assert "IVF4000,Flat" in [offered.factory for offered in out]
    assert "IVF4000,SQ8" in [offered.factory for offered in fit]
    assert all(offered.build_bytes <= 500 << 20 for offered in fit)
    assert all(offered.build_bytes > 500 << 20 for offered in out)


@pytest.mark.parametrize("dimension", [1, 3, 7, 30, 97, 512])
def test_every_width_has_candidates_that_fit_it(dimension):
    for device in ("cpu", "cuda"):
        fit, _ = candidates(50_000, dimension, device=device)
        for offered in fit:
            check_fits(offered.factory, 50_000, dimension)


def test_less_memory_trains_on_fewer_rows_but_never_on_too_few():
    kind = parse("IVF4000,SQ8")
    whole = training_rows(kind, 10**6, 256, 262_144, 0)
    bounded = training_rows(kind, 10**6, 256, 262_144, 300 << 20)
    assert whole == 256_000
    assert 16 * 4000 <= bounded < whole
    assert training_rows(parse("Flat"), 10**6, 256, 262_144, 0) == 0


def test_building_needs_at_least_the_index():
    for factory in KINDS:
        assert build_bytes(factory, 10**5, 32) > bytes_of(factory, 10**5, 32)


def test_another_count_changes_the_lists_alone():
    assert lists_for(10_000) == 400
    assert rescaled("OPQ8,IVF4000,PQ8x4fs", 10_000) == "OPQ8,IVF400,PQ8x4fs"
    assert rescaled("HNSW32", 10_000) == "HNSW32"


def test_scans_grow_with_the_corpus_lists_with_its_root_graphs_with_its_logarithm():
    assert growth("Flat", 10_000, 1_000_000) == 100
    assert growth("IVF400,Flat", 10_000, 1_000_000) == 10
    assert growth("HNSW32", 10_000, 1_000_000) == pytest.approx(1.5)
    assert growth("Flat", 10_000, 100) == 1


def test_work_is_less_for_less_effort():
    kind = parse("IVF100,SQ8")
    little, much = ({"nprobe": n, "candidates": 4} for n in (5, 50))
    assert work(kind, 10_000, 64, little, 10) < work(kind, 10_000, 64, much, 10)
    assert np.isclose(work(kind, 10_000, 64, {"nprobe": 100}, 10), 640_000)
