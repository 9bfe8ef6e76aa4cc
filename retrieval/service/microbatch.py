"""Requests that wait are worked on together: a bounded queue, one thread, a deadline for each request.

There is no waiting for company: the thread takes whatever has gathered while it was busy, so a lone request is not
delayed and a crowd is served in batches. A queue that is full refuses at once, and a request whose deadline has
passed, or whose client has gone, is never worked on.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from indexes.errors import BeholderError

Asked = TypeVar("Asked")
Given = TypeVar("Given")


class Busy(Exception):
    """The queue is full, or the service ends; `retry_after_s` is how long it would take to work off what waits."""

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class TooLate(Exception):
    """The request was not answered before its deadline."""


@dataclass(eq=False)
class _Waiting(Generic[Asked]):
    asked: Asked
    future: "asyncio.Future[Any]"
    deadline: float  # of time.monotonic()
    loop: asyncio.AbstractEventLoop
    gone: bool = False
    since: float = field(default_factory=time.monotonic)


class Microbatcher(Generic[Asked, Given]):
    """`work(requests)` gives an answer or an exception for each of at most `most_batch` requests; it is called from
    one thread. `most_waiting`: requests that may wait; more are refused. `observe(size, oldest_wait_s)` is told of
    each batch."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Asked]], Sequence[Given | Exception]],
        *,
        most_waiting: int = 256,
        most_batch: int = 64,
        observe: Callable[[int, float], None] = lambda size, wait: None,
    ) -> None:
        if most_waiting < 1 or most_batch < 1:
            found = f"a queue of {most_waiting} and batches of {most_batch}"
            raise BeholderError(found, "1 or more of both", "Correct the options.")
        self._work, self._observe = work, observe
        self._most_waiting, self._most_batch = most_waiting, most_batch
        self._queue: deque[_Waiting[Asked]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._each_s = 0.0  # seconds per request, lately: what a refusal's Retry-After is reckoned from
        self._thread = threading.Thread(target=self._run, name=f"batches of {name}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    async def ask(self, asked: Asked, timeout_s: float) -> Given:
        """The answer to one request. Raises Busy where the queue is full, TooLate after timeout_s seconds, and what
        `work` gave as an exception."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(asked, loop.create_future(), time.monotonic() + timeout_s, loop)
        with self._wake:
            if self._closed:
                raise Busy("the service is ending", 1)
            if len(self._queue) >= self._most_waiting:
                seconds = 1 + int(len(self._queue) * self._each_s)
                raise Busy(f"{len(self._queue)} requests are waiting", seconds)
            self._queue.append(waiting)
            self._wake.notify()
        alarm = loop.call_later(timeout_s, _fail, waiting)
        try:
            answer: Given = await waiting.future
            return answer
        finally:
            waiting.gone = True
            alarm.cancel()

    def close(self) -> None:
        """Works off what waits, then ends the thread. What is asked later is refused."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closed:
                    self._wake.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._most_batch))]
            now = time.monotonic()
            alive = [waiting for waiting in batch if not waiting.gone and now < waiting.deadline]
            if not alive:
                continue
            self._observe(len(alive), now - alive[0].since)
            answers = self._answers([waiting.asked for waiting in alive])
            self._each_s = 0.9 * self._each_s + 0.1 * (time.monotonic() - now) / len(alive)
            done = list(zip(alive, answers, strict=True))
            # Usually all are of one loop: one wake-up for the whole batch.
            for loop in {waiting.loop for waiting in alive}:
                mine = [(waiting, answer) for waiting, answer in done if waiting.loop is loop]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, mine)

    def _answers(self, asked: list[Asked]) -> Sequence[Given | Exception]:
        try:
            answers = self._work(asked)
        except Exception as error:  # a fault of the program must reach every client as an error, not hang it
            return [error] * len(asked)
        if len(answers) != len(asked):
            return [RuntimeError(f"{len(answers)} answers to {len(asked)} requests")] * len(asked)
        return answers


def _settle(done: list[tuple[_Waiting[Any], Any]]) -> None:
    for waiting, answer in done:
        if waiting.future.done():
            continue
        if isinstance(answer, Exception):
            waiting.future.set_exception(answer)
        else:
            waiting.future.set_result(answer)


def _fail(waiting: _Waiting[Any]) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(TooLate("the request was not answered in time"))


def in_groups(
    asked: Sequence[Asked],
    key: Callable[[Asked], Any],
    work: Callable[[Sequence[Asked]], Sequence[Given]],
) -> list[Given | Exception]:
    """work(group) of the requests of each key, answers in the order asked. Where a group is refused (BeholderError),
    its requests are tried one by one, so that one bad request spoils no other."""
    groups: dict[Any, list[int]] = {}
    for place, one in enumerate(asked):
        groups.setdefault(key(one), []).append(place)
    answers: dict[int, Given | Exception] = {}
    for places in groups.values():
        try:
            found: Sequence[Given | Exception] = work([asked[place] for place in places])
        except BeholderError as error:
            found = [error] if len(places) == 1 else [_alone(work, asked[place]) for place in places]
        answers.update(zip(places, found, strict=True))
    return [answers[place] for place in range(len(asked))]


def _alone(work: Callable[[Sequence[Asked]], Sequence[Given]], one: Asked) -> Given | Exception:
    try:
        return work([one])[0]
    except BeholderError as error:
        return error
