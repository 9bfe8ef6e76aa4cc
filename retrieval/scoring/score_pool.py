"""Pictures read and decoded for scorers, in order, by worker processes; formulas of `look` are computed there."""

import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from indexes.errors import BeholderError
from retrieval.sources.archives import Picture as Source
from retrieval.sources.archives import content_of
from retrieval.sources.images import MAX_PIXELS, BadPicture, Picture, decode, shrink
from retrieval.sources.workers import start_worker

from .card import of_pixels
from .scorers import load_scorer

TASK = 8  # pictures a task: arrays of 3 MB may come back from each


@dataclass(frozen=True)
class Wanted:
    """What is asked of every picture: formulas by name, and its pixels with no side above `side` px (0: not needed)."""

    formulas: tuple[str, ...] = ()
    side: int = 0
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Looked:
    """A picture that was read: its file's sha256, scores by formula and pixels, or the reason why there are none."""

    uri: str
    sha256: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    pixels: Picture | None = None
    reason: str = ""


def look_at(pictures: Iterable[Source], wanted: Wanted) -> list[Looked]:
    """A task, done here."""
    scorers = of_pixels([load_scorer(name) for name in wanted.formulas])
    done = []
    for one in pictures:
        try:
            content = content_of(one)
            pixels = np.asarray(decode(content, wanted.max_pixels))
        except OSError as error:
            done.append(Looked(one.uri, reason=one.reason or f"cannot be read: {error.strerror}"))
            continue
        except BadPicture as error:
            done.append(Looked(one.uri, reason=str(error)))
            continue
        scores = {scorer.card.name: float(scorer.score_pictures([pixels])[0]) for scorer in scorers}
        kept = np.ascontiguousarray(shrink(pixels, wanted.side)) if wanted.side else None
        done.append(Looked(one.uri, hashlib.sha256(content).hexdigest(), scores, kept))
    return done


@contextmanager
def looking(pictures: Iterable[Source], wanted: Wanted, workers: int) -> Iterator[Iterator[Looked]]:
    """The pictures in order, a bounded number read ahead. One worker is this process itself."""
    groups = _groups(pictures)
    if workers == 1:
        yield (looked for group in groups for looked in look_at(group, wanted))
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half alive
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
    try:
        yield _in_order(pool, groups, wanted, ahead=2 * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def workers_for(workers: int, pictures: int) -> int:
    """Worker processes for so many pictures: few pictures are read here, a process costs a second to start."""
    return 1 if pictures < 4 * TASK else workers or os.cpu_count() or 1


def _in_order(
    pool: ProcessPoolExecutor, groups: Iterator[list[Source]], wanted: Wanted, ahead: int
) -> Iterator[Looked]:
    waiting: deque[Future[list[Looked]]] = deque()
    for group in groups:
        waiting.append(pool.submit(look_at, group, wanted))
        if len(waiting) >= ahead:
            yield from _result(waiting.popleft())
    while waiting:
        yield from _result(waiting.popleft())


def _result(future: "Future[list[Looked]]") -> list[Looked]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise BeholderError(
            "a worker died (out of memory, or a decoder crashed)", "workers that live", "Run it with --workers 1."
        ) from error


def _groups(pictures: Iterable[Source]) -> Iterator[list[Source]]:
    group: list[Source] = []
    for one in pictures:
        group.append(replace(one, carried={}))
        if len(group) == TASK:
            yield group
            group = []
    if group:
        yield group
