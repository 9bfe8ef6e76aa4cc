"""Protects duplicates: groups are those of a slow comparison of everything with everything, and collapsed results are k
different pictures."""

import numpy as np
import pytest

from indexes import IndexConfig, build_index, load_index
from indexes.building.growth import remove
from indexes.errors import BeholderError
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, EncoderRecord, write_shard
from indexes.searching.duplicates import duplicate_groups, search_distinct

WIDTH = 24
NEAR = 0.98


@pytest.fixture(scope="module")
def folder(tmp_path_factory, vectors, items):
    """300 pictures: 0-2 one file, 3-5 nearly one picture in a chain, 6-45 nearly one, the rest alone."""
    place, rng = tmp_path_factory.mktemp("duplicates"), np.random.default_rng(0)
    rows = rng.normal(size=(300, WIDTH))
    rows[1] = rows[2] = rows[0]
    step = rng.normal(size=WIDTH)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    step -= (step @ rows[3]) * rows[3]
    step /= np.linalg.norm(step)
    for place_, angle in ((4, 0.15), (5, 0.3)):  # cos 0.15 = 0.989, cos 0.3 = 0.955: 3 and 5 are near 4 only
        rows[place_] = np.cos(angle) * rows[3] + np.sin(angle) * step
    rows[6:46] = rows[6] + 0.01 * rng.normal(size=(40, WIDTH))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = np.arange(300)
    table = items(ids)
    sha = table.column("sha256").to_pylist()
    sha[1] = sha[2] = sha[0]
    table = table.set_column(2, table.schema.field("sha256"), [sha])
    (place / "e").mkdir()
    shard = write_shard(place / "e", 0, ids, rows, table)
    (place / "e/rejected.jsonl").write_bytes(b"")
    encoder = EncoderRecord("m", "1f", "2f", WIDTH, {})
    manifest = EmbeddingsManifest(encoder, "../p", 300, record_file(place / "e", "rejected.jsonl"), (shard,), 300, {})
    manifest.write(place / "e")
    return place


@pytest.fixture(scope="module", params=["Flat", "IVF4,SQ8"])
def index(request, folder):
    target = folder / request.param.replace(",", "-")
    build_index(folder / "e", target, IndexConfig(request.param, threads=1, measure=False))
    return load_index(target)


def slow_groups(index, near):
    """Connected groups, by comparing everything with everything and spreading labels until nothing changes."""
    ids = index.live_ids()
    rows, sha = index.vectors(ids), np.array(index.items_table().column("sha256").to_pylist())
    linked = (rows @ rows.T >= near) if near else np.zeros((len(ids), len(ids)), bool)
    linked |= sha[:, None] == sha[None, :]
    label = np.arange(len(ids))
    while True:
        spread = np.array([label[row].min() for row in linked])
        if (spread == label).all():
            break
        label = spread
    return sorted([ids[label == one].tolist() for one in np.unique(label) if (label == one).sum() > 1])


@pytest.mark.parametrize("near", [None, NEAR])
def test_groups_are_those_of_a_slow_comparison(index, near, monkeypatch):
    monkeypatch.setattr("indexes.searching.duplicates.NEIGHBOURS", 4)  # so that the 40 have to be asked for again
    groups = duplicate_groups(index, near)
    assert sorted(list(group.ids) for group in groups) == slow_groups(index, near)
    assert [len(group.ids) for group in groups] == sorted((len(group.ids) for group in groups), reverse=True)
    assert {group.ids: group.kind for group in groups}[(0, 1, 2)] == "exact"
    if near:
        assert [(group.ids, group.kind) for group in groups[:1]] == [(tuple(range(6, 46)), "near")]
        assert all(group.similarity >= near for group in groups)


def test_removed_pictures_are_no_duplicates(folder, index):
    build_index(folder / "e", folder / "less", IndexConfig("Flat", measure=False), overwrite=True)
    remove(folder / "less", [0, 1, *range(7, 46)])
    left = load_index(folder / "less")
    assert [group.ids for group in duplicate_groups(left, NEAR)] == [(3, 4, 5)]


@pytest.mark.parametrize("near", [None, NEAR])
def test_results_are_different_pictures_and_say_what_they_stand_for(index, near):
    queries = index.vectors(np.array([0, 6, 100]))
    for result, first in zip(search_distinct(index, queries, 20, near=near), (0, 6, 100), strict=True):
        assert len(result.ids) == len(set(result.ids.tolist())) == len(result.scores) == len(result.copies) == 20
        assert (np.diff(result.scores) <= 0).all()
        sha = index.items(result.ids).column("sha256").to_pylist()
        assert len(set(sha)) == 20
        rows = index.vectors(result.ids)
        if near:
            assert (rows @ rows.T - 2 * np.eye(20) < near).all()
            assert result.ids[0] in {first, *result.copies[0], *range(6, 46)}
    copies = search_distinct(index, queries[:1], 1, near=near)[0]
    assert (copies.ids.tolist(), copies.copies) == ([0], ((1,),)), "k = 1 looks at two results"


def test_fewer_results_come_where_there_are_fewer_pictures(index):
    allowed = np.array([0, 1, 2, 8, 9, 10])
    found = search_distinct(index, index.vectors(np.array([0])), 5, near=NEAR, allowed=allowed)[0]
    assert sorted(len(group) for group in found.copies) == [2, 2]
    assert len(found.ids) == 2


@pytest.mark.parametrize("near", [0, 1.5, -1])
def test_a_cosine_that_is_none_is_refused(index, near):
    with pytest.raises(BeholderError, match="near"):
        duplicate_groups(index, near)
