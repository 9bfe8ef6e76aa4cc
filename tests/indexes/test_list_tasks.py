"""Lists that others find are the lists that one process finds: the same bytes of FAISS's index."""

import pickle
from dataclasses import dataclass

import faiss
import numpy as np
import pytest

from indexes.engine.faiss_build import Training, faiss_index, shares_lists
from indexes.engine.list_tasks import nearest_lists


class InTurn:
    """Tasks in this process; what they are given and give back goes through pickle, as on a cluster."""

    def __init__(self) -> None:
        self.rows = 0

    def map(self, function, tasks, *common):
        for task in tasks:
            self.rows += len(task)
            yield pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps((task, *common))))))


@dataclass(frozen=True)
class Rows:
    vectors: np.ndarray

    @property
    def count(self):
        return len(self.vectors)

    @property
    def dimension(self):
        return self.vectors.shape[1]

    def blocks(self):
        for start in range(0, self.count, 700):
            part = self.vectors[start : start + 700]
            yield np.arange(start, start + len(part)), part


def built(factory, rows, tasks=None):
    index = faiss_index(factory, rows, Training(tasks=tasks), lambda done, total: None)
    return faiss.serialize_index(index).tobytes()


@pytest.mark.parametrize("factory", ["IVF30,Flat", "IVF30,SQ8", "IVF30,PQ8", "IVF30,RaBitQ"])
def test_lists_found_elsewhere_give_the_same_bytes(factory, vectors):
    rows, tasks = Rows(vectors(3000, 32).astype(np.float16)), InTurn()
    assert shares_lists(factory)
    assert built(factory, rows, tasks) == built(factory, rows)
    assert tasks.rows == 3000


@pytest.mark.parametrize("factory", ["Flat", "SQfp16", "HNSW16_SQfp16", "IVF30,PQ16x4fs", "OPQ8,IVF30,PQ8x4fs"])
def test_kinds_without_lists_to_share_are_built_here(factory, vectors):
    tasks = InTurn()
    assert not shares_lists(factory)
    built(factory, Rows(vectors(1500, 32).astype(np.float16)), tasks)
    assert tasks.rows == 0


def test_a_rows_list_is_that_of_its_nearest_centre(vectors):
    rows, centres = vectors(200, 16).astype(np.float16), vectors(11, 16, seed=4)
    expected = (rows.astype(np.float64) @ centres.T.astype(np.float64)).argmax(axis=1)
    np.testing.assert_array_equal(nearest_lists(rows, centres), expected)


def test_what_does_the_work_is_no_part_of_how_it_is_done():
    assert Training(tasks=InTurn()) == Training()
