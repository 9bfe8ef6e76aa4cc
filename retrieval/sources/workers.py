"""Decode workers: processes that read, hash, decode and fit pictures, in order, a bounded number ahead."""

import hashlib
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .archives import Picture, content_of
from .images import BadPicture, Preprocessing, decode, fit

TASK = 16  # pictures per task: large enough that passing 150 kB arrays costs little, small enough to share evenly
TASK_BYTES = 16 << 20  # a task of pictures that are passed as bytes (out of Parquet, or a compressed tar) ends here


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
    carried: Mapping[str, Any] = field(default_factory=dict)  # what the source knows of it


@dataclass(frozen=True)
class Task:
    pictures: tuple[Picture, ...]  # without what they carry, which stays with the reader
    preprocessing: Preprocessing
    max_pixels: int


def run_task(task: Task) -> tuple[list[Decoded], float, float]:
    """The pictures of a task, and the seconds spent reading and decoding."""
    done, reading, decoding = [], 0.0, 0.0
    for item in task.pictures:
        uri, started = item.uri, time.perf_counter()
        try:
            mtime_ns = os.stat(item.path).st_mtime_ns if item.path else 0
            content = content_of(item)
        except OSError as error:
            reason = item.reason or f"cannot be read: {error.strerror}"
            done.append(Decoded(uri, None, reason=reason))
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


def start_worker() -> None:
    """Workers yield to the encoder, which is what the run waits for, and never outlive a killed parent."""
    os.nice(5)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


class DecodeHere:
    """The same in the calling process, for tasks that are many on a machine already."""

    def __init__(self, max_pixels: int) -> None:
        self.max_pixels = max_pixels
        self.read_s = self.decode_s = 0.0

    def decoded(self, pictures: Iterable[Picture], preprocessing: Preprocessing, ahead: int) -> Iterator[Decoded]:
        """The pictures in order, a group at a time: `ahead` is not needed."""
        for group in _groups(pictures):
            plain = tuple(replace(picture, carried={}) for picture in group)
            done, reading, decoding = run_task(Task(plain, preprocessing, self.max_pixels))
            self.read_s += reading
            self.decode_s += decoding
            yield from _carrying(done, [picture.carried for picture in group])


class DecodePool:
    """`with DecodePool(workers) as pool: for picture in pool.decoded(...)`; seconds of all workers are summed."""

    def __init__(self, workers: int, max_pixels: int) -> None:
        self.workers, self.max_pixels = workers, max_pixels
        self.read_s = self.decode_s = 0.0

    def __enter__(self) -> "DecodePool":
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's and FAISS's threads half alive
        self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=start_worker)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def warm(self) -> None:
        """Starts the processes now, so that a measurement need not count it."""
        list(self._pool.map(abs, range(self.workers * 4)))

    def decoded(self, pictures: Iterable[Picture], preprocessing: Preprocessing, ahead: int) -> Iterator[Decoded]:
        """The pictures in order, at most about `ahead` of them read or decoded before they are asked for."""
        groups = _groups(pictures)
        waiting: deque[tuple[Future[tuple[list[Decoded], float, float]], list[Mapping[str, Any]]]] = deque()
        room = max(2 * self.workers, -(-ahead // TASK))

        def submit() -> None:
            group = next(groups, None)
            if group is not None:
                task = Task(tuple(replace(picture, carried={}) for picture in group), preprocessing, self.max_pixels)
                waiting.append((self._pool.submit(run_task, task), [picture.carried for picture in group]))

        for _ in range(room):
            submit()
        while waiting:
            future, carried = waiting.popleft()
            try:
                done, reading, decoding = future.result()
            except BrokenProcessPool as error:
                raise BeholderError(
                    "a decode worker died (out of memory, or a decoder crashed)",
                    "workers that live",
                    "Run it again with fewer --workers; finished shards are kept.",
                ) from error
            self.read_s += reading
            self.decode_s += decoding
            submit()
            yield from _carrying(done, carried)


def _carrying(done: list[Decoded], carried: list[Mapping[str, Any]]) -> Iterator[Decoded]:
    return (replace(one, carried=what) if what else one for one, what in zip(done, carried, strict=True))


def _groups(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """At most TASK pictures and about TASK_BYTES of content at a time."""
    group: list[Picture] = []
    size = 0
    for picture in pictures:
        group.append(picture)
        size += len(picture.content or b"")
        if len(group) == TASK or size >= TASK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
