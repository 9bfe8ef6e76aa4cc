"""Retrieval metrics as pure functions: arrays in, one number per query out, chance levels in closed form.

A ranking is `hits` (Q, K) bool: hits[q, r] says whether the picture at rank r (0 = best) of query q is
relevant. `relevant` (Q,) is how many relevant pictures exist for each query, found or not. All results are
float64 in [0, 1]. recall, hit rate and knn_recall are three different things and never exchanged (many
papers print hit_rate as "R@k").
"""

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def ranked_hits(scores: npt.NDArray[np.floating], relevance: Bools, k: int | None = None) -> Bools:
    """`relevance` (Q, N) in the order of descending `scores` (Q, N), the first k columns; ties by the
    lower column.

    NaN scores are refused: they would rank anywhere.
    """
    if scores.shape != relevance.shape or scores.ndim != 2:
        raise BeholderError(f"scores {scores.shape} and relevance {relevance.shape}", "the same shape (Q, N)")
    if np.isnan(scores).any():
        raise BeholderError("scores hold NaN", "finite scores", "Look for empty pictures or texts.")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    hits: Bools = np.take_along_axis(relevance, order, axis=1)
    return hits


def hit_rate(hits: Bools, k: int) -> Floats:
    """(Q,) 1 where any relevant picture is in the top k, else 0."""
    _check_k(k)
    return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)


def recall(hits: Bools, relevant: Ints, k: int) -> Floats:
    """(Q,) relevant found in the top k / all relevant."""
    _check_k(k)
    return np.asarray(hits[:, :k].sum(axis=1) / _positive(relevant))


def average_precision(hits: Bools, relevant: Ints) -> Floats:
    """(Q,) mean over all relevant pictures of the precision at their rank; those not in `hits` count 0.

    Over a whole ranking this is trec_eval's `map`; over the first K it is a lower bound of it.
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / ranks
    return np.asarray((precision * hits).sum(axis=1) / _positive(relevant))


def ndcg(hits: Bools, relevant: Ints, k: int) -> Floats:
    """(Q,) discounted gain of the relevant pictures in the top k by the most that could be there: each counts
    1 / log2(1 + rank) (Jaervelin and Kekaelaeinen 2002 with binary gains; trec_eval's `ndcg_cut`).
    """
    _check_k(k)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    found = hits[:, :k]
    gained = (found * discounts[: found.shape[1]]).sum(axis=1)
    best = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(_positive(relevant).astype(np.int64), k)]
    return np.asarray(gained / best)


def first_rank(hits: Bools) -> Floats:
    """(Q,) rank of the first relevant picture, 1 = best. Raises BeholderError where a ranking holds none: cut-off
    rankings have no median rank.
    """
    if not hits.any(axis=1).all():
        raise BeholderError("a ranking without its relevant pictures", "whole rankings", "Rank all pictures.")
    return np.asarray(hits.argmax(axis=1) + 1, dtype=np.float64)


def r_precision(hits: Bools, relevant: Ints) -> Floats:
    """(Q,) precision in the first R ranks, where R is the number of relevant pictures of the query."""
    inside = np.arange(hits.shape[1])[None, :] < relevant[:, None]
    return np.asarray((hits & inside).sum(axis=1) / _positive(relevant))


def chance_average_precision(relevant: Ints, candidates: int) -> Floats:
    """(Q,) expected average precision of a random order of N candidates, R of them relevant (closed form).

    A rank i holds a relevant picture with probability R/N, and then (i-1)(R-1)/(N-1) more are expected
    above it, so E[AP] = (1/N) sum_i (1/i) (1 + (i-1)(R-1)/(N-1)) = (H + (R-1)/(N-1) (N-H)) / N with H = 1
    + 1/2 + ... + 1/N.
    """
    count = _positive(relevant)
    if candidates == 1:
        return np.ones(len(count))
    harmonic = float((1.0 / np.arange(1, candidates + 1)).sum())
    return (harmonic + (count - 1) / (candidates - 1) * (candidates - harmonic)) / candidates


def chance_r_precision(relevant: Ints, candidates: int) -> Floats:
    """(Q,) expected R-precision of a random order (closed form: R / N)."""
    return _positive(relevant) / candidates


def chance_hit_rate(relevant: Ints, candidates: int, k: int) -> Floats:
    """(Q,) expected hit rate of a random order (closed form: 1 - C(N-R, k) / C(N, k))."""
    _check_k(k)
    count = _positive(relevant)
    missed = np.ones(len(count))
    for drawn in range(min(k, candidates)):  # as a product, because binomials overflow
        missed *= np.maximum(candidates - count - drawn, 0) / (candidates - drawn)
    return 1 - missed


def chance_ndcg(relevant: Ints, candidates: int, k: int) -> Floats:
    """(Q,) expected `ndcg` of a random order (closed form: every rank holds a relevant one with chance R / N)."""
    _check_k(k)
    count = _positive(relevant)
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    expected = count / candidates * gains[min(k, candidates)]
    return np.asarray(expected / gains[np.minimum(count.astype(np.int64), k)])


def zero_shot_top1(scores: npt.NDArray[np.floating], labels: Ints) -> Floats:
    """(N,) 1 where the class with the highest score (N, C) is the picture's label (N,); ties go to the
    lower class.
    """
    if np.isnan(scores).any():
        raise BeholderError("scores hold NaN", "finite scores", "Look for empty pictures or texts.")
    return np.asarray(scores.argmax(axis=1) == labels, dtype=np.float64)


def knn_recall(found: Ints, exact: Ints, k: int) -> Floats:
    """(Q,) share of the exact top k ids (Q, >=k) that are in the first k of `found` (Q, any)."""
    _check_k(k)
    if exact.shape[1] < k:
        raise BeholderError(f"exact ids of width {exact.shape[1]}", f"at least k = {k}")
    matches = (exact[:, :k, None] == found[:, None, :k]).any(axis=2)
    return np.asarray(matches.mean(axis=1), dtype=np.float64)


def _positive(relevant: Ints) -> Floats:
    if (relevant < 1).any():
        raise BeholderError("a query has no relevant picture", "at least one", "Leave such queries out.")
    return relevant.astype(np.float64)


def _check_k(k: int) -> None:
    if k < 1:
        raise BeholderError(f"k is {k}", "a whole number from 1")
