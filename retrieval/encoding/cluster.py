"""Tasks on a Ray cluster: the only module that knows Ray. A task is a function of this package and a value.

Ray schedules, moves arguments and results, and gives a task whose worker or machine dies to another one: that task
alone is done again. Results come in the order of the tasks, a bounded number of them waiting, so that what is
written from them is what one machine would have written.
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from indexes.errors import BeholderError, ConditionFailed

Result = TypeVar("Result")
LOCAL = "local"
RETRIES = 3  # of a task whose worker died; a picture that kills every decoder must end the run, not hold it for ever
KNOCK_S = 5.0
AHEAD = 2  # tasks given out per task that can run: the next one waits on its machine


class Cluster:
    """`with Cluster("auto") as cluster: for result in cluster.map(function, tasks)`. The address is `local` (a cluster
    of this machine's cores, for as long as it is open), `auto` (the one that runs here, or at RAY_ADDRESS) or a
    HOST:PORT. Raises BeholderError without Ray, or without a cluster at the address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __enter__(self) -> "Cluster":
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes to others that was not asked for
            if self.address != LOCAL:
                os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # Ray's 20 for one that is gone: 14 minutes
            import ray
        except ImportError as error:
            raise BeholderError("ray is not installed", "the extra scale", "pip install 'beholder[scale]'") from error
        quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if self.address == LOCAL:
            quiet |= {"include_dashboard": False}
        self._knock()
        try:
            ray.init(address=self.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _no_cluster(self.address, error) from error
        self._ray: Any = ray
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _knock(self) -> None:
        """Raises BeholderError where nobody listens at an address that is named: Ray itself would try for minutes."""
        address = os.environ.get("RAY_ADDRESS", "") if self.address == "auto" else self.address
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit():
            return
        try:
            socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from error

    @property
    def cpus(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def map(
        self, function: Callable[..., Result], tasks: Iterable[Any], *common: Any, cpus: int = 1, gpus: int = 0
    ) -> Iterator[Result]:
        """function(task, *common) for each, in order; what is common goes to each machine once. `cpus` and `gpus` is
        what one task needs.

        Raises what the function raised, BeholderError where no machine has so many CPUs or GPUs, ConditionFailed
        where a task's worker died RETRIES + 1 times.
        """
        self._check_fits(cpus, gpus)
        remote = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_guarded)
        room = AHEAD * max(1, self.cpus // max(cpus, 1))
        left, waiting = iter(tasks), deque[Any]()
        held = [self._ray.put(value) for value in common]
        try:
            while True:
                for task in left:
                    waiting.append(remote.remote(function, task, *held))
                    if len(waiting) >= room:
                        break
                if not waiting:
                    return
                yield self._result(waiting.popleft())
        finally:
            for reference in waiting:
                self._ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            result, refused = self._ray.get(reference)
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as error:
            raise ConditionFailed(
                f"a task lost its worker {RETRIES + 1} times ({type(error).__name__})",
                "workers that live",
                "Look for a picture that crashes the decoder, or give it more memory; finished shards are kept.",
            ) from error
        if refused is not None:
            kind, *parts = refused
            raise kind(*parts)
        return result

    def _check_fits(self, cpus: int, gpus: int) -> None:
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(machine.get("CPU", 0) >= cpus and machine.get("GPU", 0) >= gpus for machine in machines):
            return
        found = f"no machine of the cluster {self.address} has {cpus} CPUs" + (f" and {gpus} GPUs" if gpus else "")
        remedy = "Give fewer --threads (they decide the bytes), or add machines."
        raise BeholderError(found, "one that a task fits on", remedy)


def _no_cluster(address: str, error: Exception) -> BeholderError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    remedy = "Start one with `ray start --head` (if it asks for a token, set RAY_AUTH_MODE=token), or --ray local."
    return BeholderError(f"no Ray cluster at {address} ({reason})", "a running one", remedy)


def _guarded(function: Callable[..., Result], task: Any, *common: Any) -> tuple[Result | None, tuple[Any, ...] | None]:
    """The result, or an error of ours as plain parts: Ray would wrap it in one of its own."""
    try:
        return function(task, *common), None
    except BeholderError as error:
        return None, (type(error), error.found, error.expected, error.remedy)
