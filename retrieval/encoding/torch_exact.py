"""Exact search by torch on a GPU, for machines where torch has one and FAISS was built without: the same
`--device cuda`, over Flat indexes.

It stands in for `indexes.engine.gpu.Gpus`: the segments of an index give it their rows and ask it for candidates, which
they score again as they score FAISS's, so answers are those of the CPU. Rows are held as float16, as the INDEX stores
them, and multiplied as float32, a block at a time.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from indexes import load_index
from indexes.engine.faiss_types import SearchKind, unwrapped
from indexes.engine.gpu import Gpus
from indexes.errors import BeholderError
from indexes.searching.search import Index

BLOCK_ROWS = 1 << 18  # rows multiplied at once: at 256-d a quarter of a GiB as float32
BLOCK_SCORES = 1 << 28  # scores of a block at most, 1 GiB: with many queries, fewer rows at once
SLACK_BYTES = 2 << 30  # beside the rows: one block as float32, its scores, and torch's own


class TorchExact:
    """One GPU of torch's, by name ("cuda", "cuda:1"; "cpu" for tests). needed: bytes of rows, compared with what is
    free before anything is copied. Raises BeholderError where torch has no such device, or not enough memory."""

    def __init__(self, device: str, needed: int) -> None:
        import torch

        self._device, self._lock = torch.device(device), threading.Lock()
        if self._device.type == "cuda":
            count = torch.cuda.device_count()
            if not count or (self._device.index or 0) >= count:
                found = f"device {device}, but neither FAISS nor torch sees it"
                raise BeholderError(found, "a GPU", "Use device cpu, or see what `beholder doctor` says is missing.")
            free = torch.cuda.mem_get_info(self._device)[0]
            if needed + SLACK_BYTES > free:
                found = f"the index needs {(needed + SLACK_BYTES) / 2**30:.1f} GiB of GPU memory, {free / 2**30:.1f}"
                raise BeholderError(f"{found} GiB are free", "", "Use device cpu.")

    def copied(self, index: Any, where: str) -> list[Any]:
        """The rows of a FAISS index (N, D) float16 on the device. Raises BeholderError for one that is not Flat."""
        import faiss
        import torch

        inner: Any = unwrapped(index)
        if not isinstance(inner, faiss.IndexFlat):
            found = f"{where} is a {type(inner).__name__}, which torch does not search"
            remedy = "Install faiss-gpu, use device cpu, or build it with --factory Flat."
            raise BeholderError(found, "Flat, where FAISS has no GPU build", remedy)
        count, width = int(inner.ntotal), int(inner.d)
        held = torch.empty((count, width), dtype=torch.float16, device=self._device)
        rows = faiss.rev_swig_ptr(inner.get_xb(), count * width).reshape(count, width)
        for start in range(0, count, BLOCK_ROWS):
            held[start : start + BLOCK_ROWS] = torch.from_numpy(rows[start : start + BLOCK_ROWS])
        return [held]

    def search(
        self, copies: Sequence[Any], kind: SearchKind, queries: NDArray[np.float32], fetch: int, nprobe: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions (-1 for none) and scores, both (Q, fetch), best first."""
        import torch

        (held,) = copies
        most = min(BLOCK_ROWS, max(BLOCK_SCORES // max(len(queries), 1), fetch))
        with self._lock, torch.inference_mode():
            asked = torch.from_numpy(queries).to(self._device)
            scores = torch.empty((len(queries), 0), device=self._device)
            positions = torch.empty((len(queries), 0), dtype=torch.int64, device=self._device)
            for start in range(0, len(held), most):
                part = held[start : start + most].float()
                best, places = (asked @ part.T).topk(min(fetch, len(part)), dim=1)
                scores, positions = torch.cat([scores, best], 1), torch.cat([positions, places + start], 1)
                scores, order = scores.topk(min(fetch, scores.shape[1]), dim=1)
                positions = positions.gather(1, order)
            found = positions.cpu().numpy(), scores.cpu().numpy()
        if found[0].shape[1] == fetch:
            return found
        room = fetch - found[0].shape[1]
        return (
            np.pad(found[0], ((0, 0), (0, room)), constant_values=-1),
            np.pad(found[1], ((0, 0), (0, room)), constant_values=-np.inf),
        )


def open_index(folder: str | Path, *, device: str = "cpu", mmap: bool | None = None) -> Index:
    """The index of a folder on a device, as load_index: on a GPU by FAISS where it sees one, else by torch."""
    if device == "cpu" or gpu_path() == "faiss":
        return load_index(folder, device=device, mmap=mmap)
    index = load_index(folder, mmap=False)
    needed = sum(segment.faiss.bytes for segment in index.manifest.segments) // 2  # float32 there, float16 here
    index.lend(cast(Gpus, TorchExact(device, needed)), device)
    return index


def gpu_path() -> str:
    """What `device="cuda"` means on this machine: "faiss", "torch" (exact, over Flat), or "" where neither sees a
    GPU."""
    import faiss

    if faiss.get_num_gpus():
        return "faiss"
    import torch

    return "torch" if torch.cuda.is_available() else ""
