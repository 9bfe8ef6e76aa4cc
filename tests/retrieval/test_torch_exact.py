"""Exact search by torch gives the answers of the CPU to the last digit; here torch's own CPU stands in for the GPU."""

from pathlib import Path

import numpy as np
import pytest

from indexes import IndexConfig, build_index, exact_search, load_index
from indexes.building.growth import remove
from indexes.errors import BeholderError
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, write_shard
from retrieval.doctor import examine
from retrieval.encoding import torch_exact
from retrieval.encoding.torch_exact import TorchExact, open_index
from tests.retrieval.served import RECORD, items_of, unit_rows


def make(folder: Path, count: int, factory: str = "Flat") -> Path:
    embeddings = folder / "emb"
    embeddings.mkdir()
    rows = unit_rows(count)
    rows[count // 2] = rows[3]  # equal scores: the lower id comes first
    shard = write_shard(embeddings, 0, np.arange(count), rows, items_of(folder, [f"{n}.jpg" for n in range(count)]))
    (embeddings / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(embeddings, "rejected.jsonl")
    EmbeddingsManifest(RECORD, "../pictures", count, rejected, (shard,), count, {}).write(embeddings)
    build_index(embeddings, folder / "index", IndexConfig(factory=factory))
    return folder / "index"


@pytest.fixture
def without_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAISS sees no GPU; torch's is the CPU."""
    monkeypatch.setattr(torch_exact, "gpu_path", lambda: "torch")
    real = torch_exact.TorchExact
    monkeypatch.setattr(torch_exact, "TorchExact", lambda device, needed: real("cpu", needed))


@pytest.mark.usefixtures("without_faiss")
@pytest.mark.parametrize("block", [64, 1 << 18])
def test_answers_are_those_of_the_cpu(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_exact, "BLOCK_ROWS", block)
    folder = make(tmp_path, 700)
    remove(folder, range(0, 700, 9))
    here, there = load_index(folder), open_index(folder, device="cuda")
    assert there.device == "cuda"
    queries = np.concatenate([unit_rows(30, seed=5), unit_rows(700)[[3, 40]]])
    for k in (1, 10, 650, 2000):
        expected = exact_search(queries, here.blocks(), k)
        found = there.search(queries, k)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
    allowed = np.arange(5, 690, 2)
    mine, theirs = there.search(queries, 9, allowed=allowed), here.search(queries, 9, allowed=allowed)
    np.testing.assert_array_equal(mine.ids, theirs.ids)
    with pytest.raises(BeholderError, match="at most 2,048"):
        there.search(queries, 2049)


@pytest.mark.usefixtures("without_faiss")
def test_an_index_that_is_not_flat_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match=r"torch does not search.*--factory Flat"):
        open_index(make(tmp_path, 300, "IVF8,Flat"), device="cuda")


def test_without_any_gpu_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch_exact, "gpu_path", lambda: "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BeholderError, match=r"neither FAISS nor torch.*doctor"):
        open_index(make(tmp_path, 20), device="cuda")


def test_memory_is_compared_before_anything_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 30, 80 << 30))
    TorchExact("cuda", 1 << 29)
    with pytest.raises(BeholderError, match=r"needs 12\.0 GiB of GPU memory, 3\.0 GiB are free"):
        TorchExact("cuda", 10 << 30)


@pytest.mark.parametrize(("path", "said"), [("faiss", "by FAISS"), ("torch", "by torch"), ("", "no GPU")])
def test_doctor_says_which_searches_on_a_gpu(path: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_exact, "gpu_path", lambda: path)
    (found,) = [finding for finding in examine() if finding.name == "gpu search"]
    assert said in found.found
    assert found.optional


@pytest.mark.gpu
def test_a_real_gpu_gives_the_answers_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    monkeypatch.setattr(torch_exact, "gpu_path", lambda: "torch")
    folder = make(tmp_path, 5000)
    queries = unit_rows(100, seed=5)
    expected, found = load_index(folder).search(queries, 10), open_index(folder, device="cuda").search(queries, 10)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
