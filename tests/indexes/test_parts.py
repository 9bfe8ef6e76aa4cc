"""Parts are one index: the merged answer is the whole's, ids stay apart, and a part that is down is told of."""

import json
import threading
import time

import numpy as np
import pytest

from indexes.errors import BeholderError, FormatError
from indexes.records.exact import Neighbors, exact_search
from indexes.records.shards import EncoderRecord
from indexes.searching.parts import (
    PART_BITS,
    PartDown,
    PartRecord,
    PartsManifest,
    asked,
    is_parts,
    merged,
    split_id,
    whole_ids,
    write_parts,
)

ENCODER = EncoderRecord("a model", "1f", "2f", 16, {})


def test_the_best_of_the_parts_are_the_best_of_the_whole(vectors):
    rows, queries = vectors(300, 16), vectors(20, 16, seed=3)
    rows[250] = rows[10]  # the same score in two parts
    bounds = [(0, 0, 100), (1, 100, 101), (2, 101, 300)]
    found = {
        number: exact_search(queries, [(np.arange(end - start), rows[start:end])], 12) for number, start, end in bounds
    }
    whole = exact_search(queries, [(np.arange(300), rows)], 12)
    starts = np.array([start for _, start, _ in bounds])
    best = merged(found, 12)
    np.testing.assert_array_equal(best.scores, whole.scores)
    np.testing.assert_array_equal(starts[best.ids >> PART_BITS] + (best.ids & ((1 << PART_BITS) - 1)), whole.ids)


def test_fewer_pictures_than_asked_for_and_none_at_all():
    one = Neighbors(np.array([[4]]), np.array([[0.5]], np.float32))
    none = Neighbors(np.empty((1, 0), np.int64), np.empty((1, 0), np.float32))
    assert merged({0: none, 3: one}, 10).ids.tolist() == [[(3 << PART_BITS) + 4]]
    assert merged({0: none, 1: none}, 10).ids.shape == (1, 0)


def test_ids_come_apart_again_and_fit_into_json():
    assert split_id(int(whole_ids(8191, np.array([(1 << 40) - 1]))[0])) == (8191, (1 << 40) - 1)
    assert int(whole_ids(8191, np.array([(1 << 40) - 1]))[0]) < 2**53
    for wrong in (-1, 1 << 40):
        with pytest.raises(BeholderError, match="has the id"):
            whole_ids(0, np.array([wrong]))


def test_all_parts_are_asked_at_once_and_those_that_are_down_are_named():
    together = threading.Barrier(3, timeout=20)

    def ask(number):
        together.wait()
        if number == 1:
            raise PartDown("refused")
        return number

    found = asked(["a", "b", "c"], ask)
    assert found.said == {0: 0, 2: 2}
    assert [(down.number, down.place, down.reason) for down in found.down] == [(1, "b", "refused")]


def test_a_mistake_is_no_outage():
    def ask(number):
        time.sleep(0.01 * number)
        raise BeholderError("a wrong condition")

    with pytest.raises(BeholderError, match="a wrong condition"):
        asked(["a", "b"], ask)


def test_the_folder_says_what_it_is_of(tmp_path):
    parts = (PartRecord("../a.index", 3), PartRecord("http://host:8000/?index=b", 4))
    write_parts(tmp_path / "all", [ENCODER, ENCODER], parts)
    assert is_parts(tmp_path / "all")
    assert not is_parts(tmp_path)
    again = PartsManifest.read(tmp_path / "all")
    assert (again.parts, again.encoder, again.count) == (parts, ENCODER, 7)
    assert [part.is_remote for part in again.parts] == [False, True]
    write_parts(tmp_path / "all", [ENCODER], parts[:1])  # named anew
    assert PartsManifest.read(tmp_path / "all").count == 3


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    other = EncoderRecord("another", "3f", "2f", 16, {})
    parts = [PartRecord("a", 1), PartRecord("b", 1)]
    with pytest.raises(BeholderError, match="b is of another"):
        write_parts(tmp_path / "all", [ENCODER, other], parts)
    with pytest.raises(BeholderError, match="named twice"):
        write_parts(tmp_path / "all", [ENCODER, ENCODER], [parts[0], parts[0]])
    with pytest.raises(BeholderError, match="0 parts"):
        write_parts(tmp_path / "all", [], [])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").touch()
    with pytest.raises(BeholderError, match="no index of parts"):
        write_parts(tmp_path / "full", [ENCODER], parts[:1])


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"kind": "beholder-index"}, {"parts": []}, {"parts": [{}]}, {"encoder": 3}, {"parts": 1}]
)
def test_a_manifest_of_another_shape_is_refused(tmp_path, change):
    write_parts(tmp_path / "all", [ENCODER], [PartRecord("a", 1)])
    path = tmp_path / "all" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FormatError):
        PartsManifest.read(tmp_path / "all")
