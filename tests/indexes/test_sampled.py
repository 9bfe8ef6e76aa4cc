"""`verify` notices files that are whole but do not belong together, and parameters that find less than was measured."""

import shutil
from dataclasses import replace

import pytest

from indexes import IndexConfig, build_index
from indexes.building.sampled import sampled_recall
from indexes.errors import ConditionFailed
from indexes.records.manifest import record_file
from indexes.records.segments import IndexManifest, verify_index


def test_an_exact_index_finds_all_of_its_own_and_another_ones_faiss_file_does_not(tmp_path, vectors, embeddings):
    for name, seed in (("a", 1), ("b", 2)):
        build_index(embeddings(tmp_path / f"{name}.emb", vectors(800, 32, seed)), tmp_path / name)
    found = sampled_recall(tmp_path / "a")
    assert (found.knn_recall, found.queries, found.kind, found.least) == (1.0, 64, "held-out", 1.0)
    ours, theirs = (IndexManifest.read(tmp_path / name) for name in "ab")
    shutil.copy(tmp_path / "b" / theirs.segments[0].faiss.path, tmp_path / "a" / ours.segments[0].faiss.path)
    record = record_file(tmp_path / "a", ours.segments[0].faiss.path)
    replace(ours, segments=(replace(ours.segments[0], faiss=record),)).write(tmp_path / "a")
    assert verify_index(tmp_path / "a")  # every digest is right
    with pytest.raises(ConditionFailed, match=r"1\.000 or more, as its manifest says"):
        sampled_recall(tmp_path / "a")


def test_less_than_was_measured_is_said_and_what_was_not_measured_is_only_shown(tmp_path, vectors, embeddings):
    folder = embeddings(tmp_path / "emb", vectors(2000, 32, 1))
    build_index(folder, tmp_path / "i", IndexConfig(factory="IVF40,Flat", measure=True, knn_recall=0.95))
    found = sampled_recall(tmp_path / "i")
    assert found.knn_recall >= found.least >= 0.9
    manifest = IndexManifest.read(tmp_path / "i")
    replace(manifest, parameters={"nprobe": 1}).write(tmp_path / "i")
    with pytest.raises(ConditionFailed, match="as its manifest says"):
        sampled_recall(tmp_path / "i")
    replace(manifest, parameters={"nprobe": 1}, measured=None).write(tmp_path / "i")
    assert sampled_recall(tmp_path / "i").least is None
