"""The critic that a service was started with, asked on threads of its own: no search waits for it.

A question is a picture (by its sha256) and words; two visitors who ask the same are answered by one answer, and what
was said is kept. At most `most_waiting` questions wait or are being answered, further ones are refused. Whatever goes
wrong is a fallback: a reason, counted, in place of words.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from indexes.errors import BeholderError
from retrieval.critic.critic import Ask, Critic, Said

from .metrics import Metrics
from .microbatch import Busy
from .pictures import NotShown

LOG = logging.getLogger("beholder.service")
KEPT = 4096  # texts held in memory, of at most said.MOST_CHARACTERS each
LONGEST_RETRY_S = 60
Key = tuple[str, str]  # sha256, question
Read = Callable[[], bytes]


@dataclass(eq=False)
class _Open:
    """A question that waits, or is being answered."""

    key: Key
    kind: str
    read: Read
    until: float  # of time.monotonic(): when the last one who asked gives up
    future: "Future[Said]" = field(default_factory=Future)


class CriticDesk:
    """Asks `critic`, `at_once` questions at a time. `waiting` counts those that are open."""

    def __init__(
        self, critic: Critic, metrics: Metrics, *, timeout_s: float = 120, most_waiting: int = 8, at_once: int = 4
    ) -> None:
        self.name, self.identity = critic.name, critic.identity
        self.answered = False  # whether it has ever answered: a model of this machine is loaded by then
        self._critic, self._metrics, self._timeout_s, self._most = critic, metrics, timeout_s, most_waiting
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Said] = OrderedDict()
        self._open: dict[Key, _Open] = {}
        self._queue: queue.SimpleQueue[_Open | None] = queue.SimpleQueue()
        self._closed, self._each_s = False, 0.0
        # Daemons: a model of this machine cannot be stopped in the middle of a sentence, the process can.
        self._threads = [threading.Thread(target=self._run, name="critic", daemon=True) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()
        metrics.watch_critic(lambda: len(self._open))

    async def ask(self, sha256: str, kind: str, question: str, read: Read) -> Said:
        """What the critic says of a picture; `read` gets its file, or raises NotShown. Raises Busy where too many
        questions wait. Where time is over, what is being said is kept for whoever asks next."""
        with self._lock:
            one = self._join((sha256, question), kind, read)
        if isinstance(one, Said):
            self._metrics.count_critique("kept")
            return one
        try:
            said = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(one.future)), self._timeout_s)
        except TimeoutError:
            said = Said(None, "timed out")
        self._metrics.count_critique("said" if said.text is not None else "none", said.fallback)
        return said

    def _join(self, key: Key, kind: str, read: Read) -> Said | _Open:
        """What is kept, or the open question; with the lock."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self._closed:
            raise Busy("the service is ending", 1)
        until = time.monotonic() + self._timeout_s
        one = self._open.get(key)
        if one is None:
            if len(self._open) >= self._most:
                seconds = 1 + int(len(self._open) * self._each_s / len(self._threads))
                raise Busy(f"{len(self._open)} questions wait for the critic", min(seconds, LONGEST_RETRY_S))
            one = self._open[key] = _Open(key, kind, read, until)
            self._queue.put(one)
        one.until = until
        return one

    def close(self, patience_s: float) -> None:
        """Refuses what is asked from now on, and waits so long for what is being said."""
        with self._lock:
            self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (one := self._queue.get()) is not None:
            started = time.monotonic()
            late = self._closed or started > one.until  # nobody is there to be told
            said = Said(None, "timed out") if late else self._said(one)
            with self._lock:
                del self._open[one.key]
                if not late:
                    self._each_s = 0.8 * self._each_s + 0.2 * (time.monotonic() - started)
                if said.text is not None:
                    self._kept[one.key] = replace(said, cached=True)
                    if len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
            one.future.set_result(said)

    def _said(self, one: _Open) -> Said:
        try:
            said = self._critic.say([Ask((one.read(),), one.key[1], one.kind)])[0]
        except NotShown as error:
            return Said(None, str(error).partition(";")[0])
        except BeholderError as error:  # a model that cannot be loaded, a server that is not there
            LOG.error("%s", error)
            return Said(None, "the critic cannot be asked")
        except Exception:  # as of any fault of the program: the log has it, the visitor a reason
            LOG.exception("the critic %s failed", self.name)
            return Said(None, "the critic failed")
        self.answered = True
        return said
