"""knn_recall: the share of the exact top k that an index returns, with its interval, and how long it takes.

Timings are what a caller of Index.search sees, exact second scores included.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.records.exact import exact_search
from indexes.records.vectors import Block
from indexes.searching.search import Index

K = 10
BATCH = 64  # queries at once, for queries per second
LATENCIES = 200  # single queries that are timed, at most
RESAMPLES = 2000  # of the bootstrap, as everywhere in Beholder
TRUTH_ROWS = 1024  # rows at once in exact search: with 1,000 queries 16 MiB of scores and keys


@dataclass(frozen=True)
class Queries:
    """Queries (Q, D) float32 with their exact answers (Q, k) ids. `own` (Q,): ids of held-out rows, each left
    out of its own answers; None for queries from outside."""

    vectors: NDArray[np.float32]
    answers: NDArray[np.int64]
    kind: str  # "text", "vectors", or "held-out"
    own: NDArray[np.int64] | None = None
    beauty: Mapping[str, float] | None = None  # beauty weights that the answers are for


def answered(
    vectors: NDArray[np.float32], blocks: Iterable[Block], kind: str, own: NDArray[np.int64] | None = None, k: int = K
) -> Queries:
    """The queries with their exact top k among the rows of the blocks: fewer where there are fewer rows."""
    found = exact_search(vectors, blocks, k + (own is not None), rows=TRUTH_ROWS).ids
    return Queries(vectors, found if own is None else _without(found, own), kind, own)


def _without(found: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row of ids (Q, K) without its own id, or without its last where it is not among them: (Q, K - 1)."""
    width = max(found.shape[1] - 1, 0)
    order = np.argsort(found == own[:, None], axis=1, kind="stable")[:, :width]
    return np.take_along_axis(found, order, 1)


def shares(
    index: Index, queries: Queries, parameters: Mapping[str, int], threads: int = 0
) -> tuple[NDArray[np.float64], float]:
    """(the share of its exact answers that each query found (Q,), queries per second in batches of BATCH)."""
    k = queries.answers.shape[1] + (queries.own is not None)
    found, started = [], time.perf_counter()
    for start in range(0, len(queries.vectors), BATCH):
        batch = queries.vectors[start : start + BATCH]
        found.append(
            index.search(batch, max(k, 1), beauty=queries.beauty, parameters=parameters, threads=threads or None).ids
        )
    seconds = time.perf_counter() - started
    ids = np.concatenate(found)
    if queries.own is not None:
        ids = _without(ids, queries.own)
    hits = (queries.answers[:, :, None] == ids[:, None, :]).any(axis=2)
    return hits.sum(axis=1) / max(queries.answers.shape[1], 1), len(queries.vectors) / max(seconds, 1e-9)


def latency_ms(
    index: Index, queries: Queries, parameters: Mapping[str, int], threads: int = 0, most: int = LATENCIES
) -> float:
    """The median of single queries, in milliseconds, after five that warm up."""
    times = []
    for place in range(-5, min(most, len(queries.vectors))):
        query = queries.vectors[max(place, 0)][None]
        started = time.perf_counter()
        index.search(query, K, parameters=parameters, threads=threads or None)
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times[5:]))


def interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of (Q,) values, over RESAMPLES resamples of the queries."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measured(
    index: Index, queries: Queries, parameters: Mapping[str, int], *, target: float, seed: int, threads: int = 0
) -> dict[str, Any]:
    """What the manifest keeps of one setting: see segments.IndexManifest.measured."""
    values, first = shares(index, queries, parameters, threads)
    speeds = sorted([first, *(shares(index, queries, parameters, threads)[1] for _ in range(2))])
    low, high = interval(values, seed)
    return {
        "k": K,
        "knn_recall": round(float(values.mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
        "queries": len(values),
        "kind": queries.kind,
        "target": target,
        "qps": round(speeds[1], 1),
        "latency_ms": round(latency_ms(index, queries, parameters, threads), 4),
        "seed": seed,
    }
