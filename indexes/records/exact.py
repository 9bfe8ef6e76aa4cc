"""Exact search by brute force in blocks: the oracle that every index is measured against. Bounded memory,
numpy only."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .vectors import Block

QUERY_CHUNK = 1024  # with rows = 8192: 64 MiB of scores and as much of sort keys, however many queries there are


@dataclass(frozen=True)
class Neighbors:
    """The best of each query: ids (Q, K) int64, scores (Q, K) float32 (inner products), best first, ties by
    lower id.

    K is what was asked for, or the number of vectors where that is less; -1 never occurs.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]


def check_queries(queries: NDArray[np.generic], dimension: int | None, k: int) -> NDArray[np.float32]:
    """The queries as contiguous (Q, D) float32. Raises BeholderError for another width, non-finite values or
    k < 1."""
    if k < 1:
        raise BeholderError(f"k = {k}", "k of at least 1")
    width = "D" if dimension is None else str(dimension)
    if queries.ndim != 2 or (dimension is not None and queries.shape[1] != dimension):
        remedy = "The queries must come from the encoder that made the index."
        raise BeholderError(f"query vectors of shape {queries.shape}", f"(queries, {width})", remedy)
    checked = np.ascontiguousarray(queries, dtype=np.float32)
    # The squares' sum is finite but for strange values, and quicker than a look at each.
    if not math.isfinite(np.vdot(checked, checked)) and not np.isfinite(checked).all():
        row = int(np.argmin(np.isfinite(checked).all(axis=1)))
        raise BeholderError(f"query {row} has values that are not finite", "finite numbers")
    return checked


def best(scores: NDArray[np.float32], ids: NDArray[np.int64], k: int) -> Neighbors:
    """The top min(k, n) of scores (Q, n) with ids (n,) in any order, or (Q, n): by score, then by lower
    id."""
    if ids.ndim == 1:
        # One whole number per pair, (score, -id's rank), makes all pairs differ: a partial sort then cannot
        # drop the wrong one of two equal scores at the k-th place, as argpartition of the scores would.
        rank = np.empty(len(ids), np.int64)
        rank[np.argsort(ids, kind="stable")] = np.arange(len(ids))
        keys = _ordered(scores) << 32
        keys |= (1 << 32) - 1 - rank
        if k < len(ids):
            chosen = np.argpartition(keys, len(ids) - k, axis=1)[:, len(ids) - k :]
            scores, ids = np.take_along_axis(scores, chosen, 1), ids[chosen]
        else:
            ids = np.broadcast_to(ids, scores.shape)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Neighbors(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def _ordered(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Whole numbers in the order of the floats: negative floats have their bits below the sign turned
    round."""
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 equal to 0.0
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)


def exact_search(queries: NDArray[np.generic], blocks: Iterable[Block], k: int, *, rows: int = 8192) -> Neighbors:
    """The exact top k of queries (Q, D) among all (ids (n,), vectors (n, D)) of the blocks; K = min(k,
    vectors).

    Products are summed in float64 and rounded to float32 once, so that equal vectors have equal scores
    wherever they lie. Memory: (QUERY_CHUNK + D) * rows * 16 bytes at most, and Q * k * 24 for the answer.
    Raises BeholderError for k < 1, non-finite queries, or blocks of another width.
    """
    queries = check_queries(queries, None, k)
    found_ids = np.empty((len(queries), 0), np.int64)
    found_scores = np.empty((len(queries), 0), np.float32)
    for ids, vectors in blocks:
        if vectors.shape[1] != queries.shape[1]:
            raise BeholderError(f"query vectors of width {queries.shape[1]}", f"{vectors.shape[1]}")
        for start in range(0, len(ids), rows):
            columns = vectors[start : start + rows].astype(np.float64).T
            part = [
                best(
                    (queries[q : q + QUERY_CHUNK].astype(np.float64) @ columns).astype(np.float32),
                    ids[start : start + rows],
                    k,
                )
                for q in range(0, max(1, len(queries)), QUERY_CHUNK)
            ]
            found_ids = np.concatenate([found_ids, np.concatenate([p.ids for p in part])], 1)
            found_scores = np.concatenate([found_scores, np.concatenate([p.scores for p in part])], 1)
            merged = best(found_scores, found_ids, k)
            found_ids, found_scores = merged.ids, merged.scores
    return Neighbors(found_ids, found_scores)
