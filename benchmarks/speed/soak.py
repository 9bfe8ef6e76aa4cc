"""A service under steady load for a long time: errors, latency, and whether its memory grows."""

import threading
from pathlib import Path

import numpy as np

from benchmarks.runs import Number
from indexes.errors import ConditionFailed

from .load import LoadMaker
from .serve_sides import Server

SHARE = 0.7  # of capacity: a service at its limit only shows how long its queue is
CONNECTIONS = 32
EVERY_S = 1.0
GROWN = 0.02  # growth over the second half, as a share, that is still noise of allocators


def soak(
    maker: LoadMaker, server: Server, path: str, bodies: Path, *, seconds: float, capacity: float
) -> dict[str, Number]:
    """Numbers of `seconds` at SHARE of `capacity` (requests/s), open loop. Growth is that of a line fitted to the
    memory of the second half, over that half. Raises ConditionFailed for an error, or for more growth than GROWN."""
    sizes: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_S):
            sizes.append(server.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load = maker.run(server.port, path, bodies, connections=CONNECTIONS, seconds=seconds, rate=SHARE * capacity)
    finally:
        done.set()
        watcher.join()
    growth = grown(sizes)
    if load.errors:
        raise ConditionFailed(f"the soak saw {load.errors} errors in {load.requests} requests", "none")
    if growth > GROWN:
        raise ConditionFailed(f"memory grew by {growth:.1%} over the second half of the soak", f"at most {GROWN:.0%}")
    return {
        "soak, time": Number(load.seconds, "s"),
        "soak, asked for": Number(SHARE * capacity, "requests/s"),
        "soak, answered": Number(load.rate, "requests/s", n=load.requests),
        "soak, errors": Number(load.errors, ""),
        "soak, p50": Number(load.p50_ms, "ms"),
        "soak, p99": Number(load.p99_ms, "ms"),
        "soak, growth of memory over the second half": Number(growth),
        "soak, most memory": Number(max(sizes) / 1e6, "MB"),
    }


def grown(sizes: list[int]) -> float:
    """The growth of a line fitted to the second half of the sizes, as a share of its beginning; 0.0 for too few."""
    half = np.asarray(sizes[len(sizes) // 2 :], np.float64)
    if len(half) < 3:
        return 0.0
    slope, start = np.polyfit(np.arange(len(half)), half, 1)
    return float(slope * (len(half) - 1) / start)
