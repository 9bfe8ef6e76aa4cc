"""Large pages are a hint: asked for where a graph lies in memory, for nothing else, and they change no answer."""

import sys

import faiss
import numpy as np
import pytest

from indexes.engine.faiss_build import _joined
from indexes.engine.huge_pages import PAGE, advise_graph


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="large pages are asked for on Linux only")
def test_codes_of_a_graph_get_large_pages_and_answers_stay(vectors):
    rows = vectors(20_000, 128)  # 10 MB of float32: some whole pages, wherever they begin
    index = faiss.index_factory(128, "HNSW4", faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 4
    index.add(rows)
    before = index.search(rows[:20], 5)
    advised = advise_graph(index)
    assert advised % PAGE == 0
    assert rows.nbytes - 2 * PAGE <= advised <= rows.nbytes + 20_000 * 4 * 2 * 4 * 2
    for one, other in zip(before, index.search(rows[:20], 5), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_kinds_and_small_graphs_get_none(vectors):
    for factory in ("Flat", "IVF4,Flat", "HNSW4"):
        index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors(400, 16))
        index.add(vectors(400, 16))
        assert advise_graph(index) == 0


@pytest.mark.parametrize("most", [1, 4, 5, 13, 100])
def test_rows_that_are_added_together_are_all_rows_in_their_order(most):
    rows = np.arange(26, dtype=np.float32).reshape(13, 2)
    blocks = iter(np.split(rows, [3, 8, 9]))
    added = [block.copy() for block in _joined(blocks, most, 13)]  # one array is used again
    np.testing.assert_array_equal(np.concatenate(added), rows)
    assert all(len(block) == min(most, 13) for block in added[:-1])
