"""The queue between HTTP and search: what waits is worked on together, bounded, in time, and nothing hangs."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from indexes.errors import BeholderError
from retrieval.service.microbatch import Busy, Microbatcher, TooLate, in_groups

LONG = 30.0  # seconds: far above what anything here takes, even on a busy machine


class Held:
    """Work that waits at the first request until it is let go, so that others gather behind it."""

    def __init__(self) -> None:
        self.begun, self.go, self.batches = threading.Event(), threading.Event(), list[list[int]]()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asked))
        self.begun.set()
        assert self.go.wait(LONG)
        return [2 * one for one in asked]


async def asked_behind(batcher: Microbatcher[int, int], held: Held, count: int) -> list["asyncio.Task[int]"]:
    """The first request, being worked on, and `count` more that wait."""
    tasks = [asyncio.create_task(batcher.ask(0, LONG))]
    await asyncio.to_thread(held.begun.wait, LONG)
    tasks += [asyncio.create_task(batcher.ask(one, LONG)) for one in range(1, count + 1)]
    await asyncio.sleep(0)
    return tasks


def test_what_gathers_while_the_thread_is_busy_is_one_batch() -> None:
    held = Held()
    batcher = Microbatcher("test", held)

    async def run() -> list[int]:
        tasks = await asked_behind(batcher, held, 5)
        held.go.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]
    assert held.batches == [[0], [1, 2, 3, 4, 5]]
    batcher.close()


def test_batches_are_no_larger_than_said() -> None:
    held = Held()
    batcher = Microbatcher("test", held, most_batch=2)

    async def run() -> None:
        tasks = await asked_behind(batcher, held, 5)
        held.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert [len(batch) for batch in held.batches] == [1, 2, 2, 1]
    batcher.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    held = Held()
    batcher = Microbatcher("test", held, most_waiting=3)

    async def run() -> None:
        tasks = await asked_behind(batcher, held, 3)
        with pytest.raises(Busy, match="3 requests are waiting") as refused:
            await batcher.ask(9, LONG)
        assert refused.value.retry_after_s >= 1
        held.go.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6]

    asyncio.run(run())
    batcher.close()


def test_a_request_past_its_deadline_is_told_so_and_never_worked_on() -> None:
    held = Held()
    batcher = Microbatcher("test", held)

    async def run() -> None:
        tasks = await asked_behind(batcher, held, 0)
        with pytest.raises(TooLate):
            await batcher.ask(7, 0.01)
        held.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    batcher.close()
    assert held.batches == [[0]]


def test_a_request_whose_client_has_gone_is_never_worked_on() -> None:
    held = Held()
    batcher = Microbatcher("test", held)

    async def run() -> None:
        first, gone, other = await asked_behind(batcher, held, 2)
        gone.cancel()
        await asyncio.sleep(0.01)
        held.go.set()
        assert await first == 0
        assert await other == 4

    asyncio.run(run())
    batcher.close()
    assert held.batches == [[0], [2]]


def test_a_fault_reaches_every_client_and_the_next_batch_is_worked_on() -> None:
    calls: list[int] = []

    def work(asked: Sequence[int]) -> list[int | Exception]:
        calls.append(len(asked))
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return list(asked)

    batcher = Microbatcher("test", work)

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await batcher.ask(1, LONG)
        assert await batcher.ask(2, LONG) == 2

    asyncio.run(run())
    batcher.close()


def test_closing_answers_what_waits_and_refuses_what_comes() -> None:
    held = Held()
    batcher = Microbatcher("test", held)

    async def run() -> None:
        tasks = await asked_behind(batcher, held, 3)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="ending"):
            await batcher.ask(9, LONG)
        held.go.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6]
        await closing

    asyncio.run(run())


def test_one_bad_request_spoils_no_other_of_its_group() -> None:
    groups: list[list[int]] = []

    def work(group: Sequence[int]) -> list[int]:
        groups.append(list(group))
        if 3 in group:
            raise BeholderError("three")
        return [10 * one for one in group]

    answers = in_groups([1, 2, 3, 5], lambda one: one % 2, work)
    assert [one if isinstance(one, int) else str(one) for one in answers] == [10, 20, "three", 50]
    assert groups == [[1, 3, 5], [1], [3], [5], [2]]


def test_a_queue_of_nothing_is_refused() -> None:
    with pytest.raises(BeholderError, match="queue of 0"):
        Microbatcher("test", lambda asked: [], most_waiting=0)
