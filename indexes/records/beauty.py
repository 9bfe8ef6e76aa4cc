"""Relevance and beauty as one inner product: s_b(q, x) = s(q, x) + sum of b * spread * z(x) over the scorers.

z is the normal score of a picture's percentile (percentiles.py), spread the typical standard deviation of relevance
within a text query's top results: at b = 1 one sigma of beauty is worth one sigma of relevance. FAISS holds
[x ; z / sqrt(D)], zero-padded, and is asked [q ; b * spread * sqrt(D)]: the division keeps the added dimensions of the
size of x's own, and `spread` can be measured again without touching the index. Pure functions over arrays.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .percentiles import CLIP
from .vectors import Block

PADDED = 32  # widths are padded to a multiple: product quantisers need pieces of one size
TOP_MOST, TOP_SHARE = 1000, 10  # of a query's results that spread is taken over: min(1000, N / 10)
# Products of queries and rows that measuring spread may take: all of 500 queries up to a million pictures. More
# pictures get fewer queries, at least SPREAD_LEAST: the median of so many has settled.
SPREAD_PRODUCTS = 1 << 29
SPREAD_LEAST = 32
ROWS = 8192  # at once: with 500 queries 16 MiB of scores
STEPS = (-4, -2, -1, 1, 2, 4)  # beauty weights beside 0 that search parameters are chosen for
MOST = 4.0  # beyond, approximate indexes are searched exactly


def padded_width(dimension: int, scorers: int) -> int:
    """The width of FAISS's vectors: D without scorers, else D + S padded to a multiple of PADDED."""
    return dimension if not scorers else PADDED * math.ceil((dimension + scorers) / PADDED)


def augmented(vectors: NDArray[Any], z: NDArray[np.float32]) -> NDArray[np.float32]:
    """[x ; z / sqrt(D) ; 0] (n, padded_width) float32 of vectors (n, D) and normal scores (n, S)."""
    count, dimension = vectors.shape
    rows = np.zeros((count, padded_width(dimension, z.shape[1])), np.float32)
    rows[:, :dimension] = vectors
    rows[:, dimension : dimension + z.shape[1]] = z / np.float32(math.sqrt(dimension))
    return rows


def augmented_queries(queries: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """[q ; w * sqrt(D) ; 0] (Q, padded_width) float32 of queries (Q, D) and weights w = b * spread (S,)."""
    count, dimension = queries.shape
    rows = np.zeros((count, padded_width(dimension, len(weights))), np.float32)
    rows[:, :dimension] = queries
    rows[:, dimension : dimension + len(weights)] = weights * np.float32(math.sqrt(dimension))
    return rows


def longest_row(dimension: int, scorers: int) -> float:
    """The greatest length of a row of `augmented`, for bounds on rounding."""
    return math.sqrt(1 + scorers * CLIP**2 / dimension)


def spread_of(queries: NDArray[np.float32], blocks: Iterable[Block], count: int) -> tuple[float, int]:
    """(spread, queries used): the median over queries (Q, D) of the standard deviation of relevance within their
    top min(1000, N / 10), at least two, of the `count` rows (n, D) of the blocks; 0 for fewer than two rows.

    Exact, in float32; memory: Q * (ROWS + 2,000) * 4 bytes.
    """
    used = max(SPREAD_LEAST, SPREAD_PRODUCTS // max(count, 1))
    queries = np.ascontiguousarray(
        queries[np.unique(np.linspace(0, len(queries) - 1, min(used, len(queries)), dtype=int))]
    )
    top = max(2, min(TOP_MOST, count // TOP_SHARE))
    kept = np.empty((len(queries), 0), np.float32)
    for _, vectors in blocks:
        for start in range(0, len(vectors), ROWS):
            scores = queries @ vectors[start : start + ROWS].astype(np.float32).T
            if scores.shape[1] > top:
                scores = np.partition(scores, scores.shape[1] - top, axis=1)[:, -top:]
            kept = np.concatenate([kept, scores], axis=1)
            if kept.shape[1] > top:
                kept = np.partition(kept, kept.shape[1] - top, axis=1)[:, -top:]
    if kept.shape[1] < 2 or not len(queries):
        return 0.0, len(queries)
    return float(np.median(kept.astype(np.float64).std(axis=1))), len(queries)


def weights_of(beauty: Mapping[str, float], scorers: Sequence[str], spread: float) -> NDArray[np.float32]:
    """b * spread (S,) in the order of the scorers. Raises BeholderError for a b that is not finite."""
    for name, b in beauty.items():
        if isinstance(b, bool) or not isinstance(b, int | float) or not math.isfinite(b):
            raise BeholderError(f"beauty {name}:{b}", "a finite number", f"Example: {name}:1")
    return np.array([beauty.get(name, 0.0) * spread for name in scorers], np.float32)


@dataclass(frozen=True)
class Step:
    """Search parameters of one scorer at one beauty weight; None where none reached the target: search is exact."""

    parameters: dict[str, int] | None
    knn_recall: float  # of the parameters, or the best that was found

    def to_dict(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "knn_recall": self.knn_recall}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Step":
        """Raises KeyError, TypeError or ValueError for content that is none."""
        given = content["parameters"]
        parameters = None if given is None else {str(name): int(value) for name, value in given.items()}
        if parameters is not None and not all(1 <= value < 1 << 31 for value in parameters.values()):
            raise ValueError(f"search parameters {parameters}")
        return cls(parameters, float(content["knn_recall"]))


def parameters_at(
    beauty: Mapping[str, float], steps: Mapping[str, Mapping[int, Step]], plain: Mapping[str, int]
) -> dict[str, int] | None:
    """The search parameters for beauty weights, or None where only exact search meets the target.

    Between two steps the greater effort of both; of several scorers each counts at the sum of all |b|, with its own
    sign, and the greatest effort wins: an upper bound, not a measurement. plain: those of b = 0.
    """
    given = {name: b for name, b in beauty.items() if b}
    total = sum(abs(b) for b in given.values())
    if not given:
        return dict(plain)
    if total > MOST:
        return None
    chosen = dict(plain)
    for name, b in given.items():
        sizes = sorted(abs(step) for step in STEPS if step * b > 0)
        above = next(size for size in sizes if size >= total)
        around = [size for size in sizes if size <= above][-2:]
        for size in around:
            step = steps.get(name, {}).get(int(math.copysign(size, b)))
            if step is None or step.parameters is None:
                return None
            chosen = {key: max(chosen.get(key, 0), step.parameters.get(key, 0)) for key in {*chosen, *step.parameters}}
    return chosen
