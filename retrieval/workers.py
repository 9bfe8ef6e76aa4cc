"""Decode workers: processes that read, hash, decode and fit pictures, in order, a bounded number ahead."""

import hashlib
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .images import BadPicture, Preprocessing, decode, fit

TASK = 16  # pictures per task: large enough that passing 150 kB arrays costs little, small enough to share evenly


@dataclass(frozen=True)
class Decoded:
    """A picture ready for the encoder, or the reason why there is none (then `pixels` is None)."""

    uri: str
    pixels: NDArray[np.uint8] | None  # (S, S, 3)
    sha256: str = ""
    width: int = 0  # of the upright picture
    height: int = 0
    bytes: int = 0
    mtime_ns: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Task:
    root: str
    uris: tuple[str, ...]
    preprocessing: Preprocessing
    max_pixels: int


def run_task(task: Task) -> tuple[list[Decoded], float, float]:
    """The pictures of a task, and the seconds spent reading and decoding."""
    done, reading, decoding = [], 0.0, 0.0
    for uri in task.uris:
        started = time.perf_counter()
        path = Path(task.root, uri)
        try:
            mtime_ns = path.stat().st_mtime_ns
            content = path.read_bytes()
        except OSError as error:
            done.append(Decoded(uri, None, reason=f"cannot be read: {error.strerror}"))
            continue
        digest = hashlib.sha256(content).hexdigest()
        read = time.perf_counter()
        try:
            picture = decode(content, task.max_pixels)
            pixels = fit(picture, task.preprocessing)
            done.append(Decoded(uri, pixels, digest, *picture.size, len(content), mtime_ns))
        except BadPicture as error:
            done.append(Decoded(uri, None, digest, bytes=len(content), mtime_ns=mtime_ns, reason=str(error)))
        reading += read - started
        decoding += time.perf_counter() - read
    return done, reading, decoding


def _start_worker() -> None:
    """Workers yield to the encoder, which is what the run waits for, and never outlive a killed parent."""
    os.nice(5)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


class DecodePool:
    """`with DecodePool(workers) as pool: for picture in pool.decoded(...)`; seconds of all workers are summed."""

    def __init__(self, workers: int, max_pixels: int) -> None:
        self.workers, self.max_pixels = workers, max_pixels
        self.read_s = self.decode_s = 0.0

    def __enter__(self) -> "DecodePool":
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's and FAISS's threads half alive
        self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def warm(self) -> None:
        """Starts the processes now, so that a measurement need not count it."""
        list(self._pool.map(abs, range(self.workers * 4)))

    def decoded(self, root: Path, uris: Sequence[str], preprocessing: Preprocessing, ahead: int) -> Iterator[Decoded]:
        """The pictures in the order of `uris`, at most about `ahead` of them decoded before they are asked for."""
        starts = iter(range(0, len(uris), TASK))
        waiting: deque[Future[tuple[list[Decoded], float, float]]] = deque()
        room = max(2 * self.workers, -(-ahead // TASK))

        def submit() -> None:
            start = next(starts, None)
            if start is not None:
                task = Task(os.fspath(root), tuple(uris[start : start + TASK]), preprocessing, self.max_pixels)
                waiting.append(self._pool.submit(run_task, task))

        for _ in range(room):
            submit()
        while waiting:
            try:
                pictures, reading, decoding = waiting.popleft().result()
            except BrokenProcessPool as error:
                raise BeholderError(
                    "a decode worker died (out of memory, or a decoder crashed)",
                    "workers that live",
                    "Run it again with fewer --workers; finished shards are kept.",
                ) from error
            self.read_s += reading
            self.decode_s += decoding
            submit()
            yield from pictures
