"""FAISS on GPUs: what an index needs there and what is free, the copies, and searches one at a time per GPU.

Flat vectors are kept as float16, which is what the INDEX stores: nothing is lost. FAISS's GPU resources must
not be used by two threads at once, so each GPU has one resource object and a lock around its searches; over
several GPUs an index is copied to each (more searches at once), or cut into one part for each where it does
not fit on one. Written against FAISS 1.15's interface; see docs for what was run on a GPU.
"""

import ctypes
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .faiss_types import SearchKind, search_parameters, unwrapped
from .threads import split

GPU_MOST = 2048  # FAISS on a GPU returns at most so many per query, and probes at most so many lists
TYPES = {"IndexFlat", "IndexFlatIP", "IndexIVFFlat", "IndexIVFScalarQuantizer", "IndexIVFPQ"}
# FAISS would take 1.5 GiB of each GPU for its scratch; this is enough for 4,096 queries and never short of a
# plain allocation, to which it falls back.
SCRATCH_BYTES = 512 << 20
SLACK = 1.1  # lists are padded to 32 rows and CUDA allocates in pages
SPLIT_FROM = 256  # queries from which a batch is shared among the copies of an index
_DEVICE = re.compile(r"cuda(?::([0-9]+(?:,[0-9]+)*))?")


def gpus_of(device: str) -> list[int] | None:
    """GPU numbers of "cuda" (all), "cuda:1" or "cuda:0,2"; None for "cpu".

    Raises BeholderError for another name, or GPUs that FAISS does not see.
    """
    if device == "cpu":
        return None
    named = _DEVICE.fullmatch(device)
    if not named:
        raise BeholderError(f"device {device!r}", "cpu or cuda (all GPUs), cuda:0, cuda:0,1")
    import faiss

    # Not hasattr(faiss, "StandardGpuResources"): a GPU build has it on a machine without a GPU too.
    seen = faiss.get_num_gpus()
    if seen == 0:
        remedy = "Use device cpu, or see what `beholder doctor` says is missing."
        raise BeholderError(f"device {device}, but FAISS sees no GPU", "a GPU", remedy)
    chosen = [int(number) for number in named[1].split(",")] if named[1] else list(range(seen))
    if len(set(chosen)) != len(chosen) or max(chosen) >= seen:
        raise BeholderError(f"device {device}", f"different GPUs of 0 to {seen - 1}")
    return chosen


def check_limits(k: int, nprobe: int, candidates: int) -> None:
    """Raises BeholderError for a search that FAISS cannot do on a GPU. candidates: per result."""
    for name, value in (("k", k), ("nprobe", nprobe), ("k x candidates", k * candidates)):
        if value > GPU_MOST:
            found = f"{name} = {value} on a GPU"
            raise BeholderError(found, f"at most {GPU_MOST:,}, FAISS's limit there", "Search on device cpu.")


def gpu_bytes(index: Any) -> int:
    """Bytes that the copy of a FAISS index takes on one GPU, scratch included."""
    import faiss

    inner: Any = unwrapped(index)
    count, width = int(inner.ntotal), int(inner.d)
    if isinstance(inner, faiss.IndexIVF):
        # Codes as they are (FAISS keeps IVF-Flat in float32), 64-bit ids, centres, 8 KiB per list that is padded.
        held = count * (int(inner.code_size) + 8) + int(inner.nlist) * (4 * width + 8192)
    else:
        held = count * 2 * width
    return int(SLACK * held) + SCRATCH_BYTES


def free_bytes(gpu: int) -> int:
    """Bytes free on a GPU. Raises BeholderError where CUDA does not say."""
    for name in ("libcudart.so.12", "libcudart.so.13"):  # FAISS has loaded the one that it uses
        try:
            runtime = ctypes.CDLL(name)
        except OSError:
            continue
        before, free, total = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_size_t()
        runtime.cudaGetDevice(ctypes.byref(before))
        failed = runtime.cudaSetDevice(gpu) or runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        runtime.cudaSetDevice(before)
        if not failed:
            return int(free.value)
    raise BeholderError(f"CUDA does not say how much memory GPU {gpu} has", "a working CUDA runtime", "Use device cpu.")


def spread_of(needed: int, free: Sequence[int]) -> str:
    """ "replicate" where `needed` bytes fit on each GPU, "shard" where they fit on all together.

    Raises BeholderError where they do not: both numbers in it.
    """
    if needed <= min(free):
        return "replicate"
    # Each part has its own scratch; the fullest GPU bounds all parts, which are of one size.
    if (needed - SCRATCH_BYTES) / len(free) + SCRATCH_BYTES <= min(free) and len(free) > 1:
        return "shard"
    have = " + ".join(f"{size / 2**30:.1f}" for size in free)
    found = f"the index needs {needed / 2**30:.1f} GiB of GPU memory, {have} GiB are free"
    raise BeholderError(found, "", "Build it smaller (index build --memory), use more GPUs, or device cpu.")


@dataclass(frozen=True)
class Lane:
    """The resources of one GPU, or of all GPUs where an index is cut up, and who may use them."""

    resources: tuple[Any, ...]  # one faiss.StandardGpuResources per GPU; they outlive every index made with them
    gpus: tuple[int, ...]
    lock: threading.Lock


class Gpus:
    """The GPUs that one INDEX is open on. `needed` bytes for all its segments are compared with what is free
    before anything is copied."""

    def __init__(self, gpus: Sequence[int], needed: int) -> None:
        import faiss

        spread = spread_of(needed, [free_bytes(gpu) for gpu in gpus])
        resources = []
        for _ in gpus:
            one = faiss.StandardGpuResources()
            one.setTempMemory(SCRATCH_BYTES)
            resources.append(one)
        parts = [tuple(range(len(gpus)))] if spread == "shard" else [(place,) for place in range(len(gpus))]
        self.lanes = [
            Lane(tuple(resources[p] for p in part), tuple(gpus[p] for p in part), threading.Lock()) for part in parts
        ]

    def copied(self, index: Any, where: str) -> list[Any]:
        """A copy of a FAISS index for each lane. Raises BeholderError for a type that FAISS has on CPUs only."""
        import faiss

        name = type(unwrapped(index)).__name__
        if name not in TYPES:
            found = f"{where} is a {name}, which FAISS has for CPUs only"
            raise BeholderError(found, "Flat, IVF-Flat, IVF-SQ8 or IVF-PQ", "Use device cpu, or build --device cuda.")
        options = faiss.GpuMultipleClonerOptions()
        options.useFloat16 = True
        options.shard = True
        copies = []
        for lane in self.lanes:
            try:
                if len(lane.gpus) == 1:
                    copies.append(faiss.index_cpu_to_gpu(lane.resources[0], lane.gpus[0], index, options))
                else:
                    resources, gpus = list(lane.resources), list(lane.gpus)
                    copies.append(faiss.index_cpu_to_gpu_multiple_py(resources, index, options, gpus))
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise BeholderError(f"{where} does not go onto a GPU ({reason})", "", "Use device cpu.") from error
        return copies

    def search(
        self, copies: Sequence[Any], kind: SearchKind, queries: NDArray[np.float32], fetch: int, nprobe: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions (-1 for none) and scores, both (Q, fetch); fetch is at most GPU_MOST."""

        def on(place: int, part: NDArray[np.float32], params: Any) -> tuple[NDArray[Any], NDArray[Any]]:
            scores, positions = copies[place].search(part, fetch, params=params)
            return positions, scores

        params = search_parameters(kind, min(nprobe, GPU_MOST), fetch, None)
        if len(self.lanes) > 1 and len(queries) >= SPLIT_FROM:
            parts = split(len(queries), len(self.lanes))

            def alone(place: int) -> tuple[NDArray[Any], NDArray[Any]]:
                with self.lanes[place].lock:
                    return on(place, queries[parts[place]], params)

            with ThreadPoolExecutor(len(parts)) as pool:
                positions, scores = zip(*pool.map(alone, range(len(parts))), strict=True)
            return np.concatenate(positions), np.concatenate(scores)
        place = self._free_lane()
        try:
            return on(place, queries, params)
        finally:
            self.lanes[place].lock.release()

    def _free_lane(self) -> int:
        """A lane whose lock is now held: one that nobody uses, else the first to be let go."""
        for place, lane in enumerate(self.lanes):
            if lane.lock.acquire(blocking=False):
                return place
        place = threading.get_ident() % len(self.lanes)
        self.lanes[place].lock.acquire()
        return place
