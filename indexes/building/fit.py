"""The least search effort that meets a target of knn_recall, over any index: nprobe of lists, efSearch of a
graph, and the candidates per result that lossy codes need."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from indexes.engine.factories import Kind, work
from indexes.searching.search import Index
from indexes.searching.segment_reader import GRAPH_KEEPS

from .recall import Queries, shares

CANDIDATES = 2, 4, 8, 16, 32  # per result, scored again: below 2 nothing is mended, above 32 lists are the cheaper way
MOST_EF = 4096
CURVE_ENDS = 0.995  # beyond, more effort buys nothing worth showing


@dataclass(frozen=True)
class Point:
    """One setting: the share of the exact top k found, and queries per second in batches."""

    parameters: dict[str, int]
    knn_recall: float
    qps: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters,
            "knn_recall": round(self.knn_recall, 4),
            "qps": round(self.qps, 1),
        }


@dataclass(frozen=True)
class Fit:
    """The chosen setting, or None where none meets the target, and every setting that was tried."""

    chosen: Point | None
    tried: tuple[Point, ...]

    def best(self) -> Point:
        """The chosen one, else the one that finds most."""
        return self.chosen or max(self.tried, key=lambda point: (point.knn_recall, point.qps))

    def curve(self) -> list[dict[str, Any]]:
        """The settings that were tried with the chosen number of candidates, from little effort to much."""
        least = self.best().parameters
        name = next((name for name in least if name != "candidates"), "candidates")
        same = [
            point
            for point in self.tried
            if name == "candidates" or point.parameters.get("candidates") == least.get("candidates")
        ]
        return [point.to_dict() for point in sorted(same, key=lambda point: point.parameters.get(name, 0))]


def fit(
    index: Index,
    queries: Queries,
    kind: Kind,
    target: float,
    *,
    threads: int = 0,
    whole_curve: bool = False,
    slowest_qps: float = 0,
) -> Fit:
    """The smallest nprobe or efSearch (doubling, then halving the step down to a sixteenth) that meets the
    target; with lossy codes the number of candidates whose smallest effort is the least work.

    whole_curve: also the doublings above the chosen one, until nothing is left to gain. slowest_qps: no effort is
    raised beyond a setting that is slower. Raises nothing where the target is out of reach: see Fit.chosen.
    """
    tried: list[Point] = []

    def at(parameters: dict[str, int]) -> Point:
        for point in tried:
            if point.parameters == parameters:
                return point
        values, qps = shares(index, queries, parameters, threads)
        tried.append(Point(parameters, float(values.mean()), qps))
        return tried[-1]

    least = 1 if kind.lists else math.ceil(GRAPH_KEEPS * queries.answers.shape[1])  # fewer are not kept for so many

    def cost(point: Point) -> float:
        return work(kind, len(index), index.manifest.dimension, point.parameters, queries.answers.shape[1])

    chosen: Point | None = None
    for candidates in CANDIDATES if kind.rescores else (0,):
        found = _least(
            at, {"candidates": candidates} if candidates else {}, kind, len(index), target, least, slowest_qps
        )
        if not found and tried[-1].qps < slowest_qps:
            break
        if found and chosen and cost(found) >= cost(chosen):
            break
        chosen = found or chosen
    if whole_curve and kind.parameter:
        _rest(at, (chosen or max(tried, key=lambda p: p.knn_recall)).parameters, kind, len(index))
    return Fit(chosen, tuple(tried))


def _most(kind: Kind, count: int) -> int:
    """The greatest useful effort."""
    return kind.lists if kind.lists else max(1, min(MOST_EF, count))


def _least(
    at: Callable[[dict[str, int]], Point],
    fixed: dict[str, int],
    kind: Kind,
    count: int,
    target: float,
    least: int,
    slowest_qps: float,
) -> Point | None:
    if not kind.parameter:
        only = at(fixed)
        return only if only.knn_recall >= target else None

    def effort(value: int) -> Point:
        return at({str(kind.parameter): value, **fixed})

    most = _most(kind, count)
    high = min(least, most)
    low, tried_twice = high - 1, False
    while effort(high).knn_recall < target:
        stuck = kind.rescores and tried_twice and _stuck(effort(low).knn_recall, effort(high).knn_recall)
        # A pause is not the end: with few queries a doubling may gain nothing and the next one all.
        if high == most or effort(high).qps < slowest_qps or (stuck and effort(most).knn_recall < target):
            return None
        low, high, tried_twice = high, min(2 * high, most), True
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if effort(middle).knn_recall >= target else (middle, high)
    return effort(high)


def _stuck(less: float, more: float) -> bool:
    """Whether twice the effort gained next to nothing: then the codes are the limit, not the lists."""
    return less > 0.5 and more - less < 5e-4


def _rest(at: Callable[[dict[str, int]], Point], chosen: dict[str, int], kind: Kind, count: int) -> None:
    name, effort = str(kind.parameter), chosen[str(kind.parameter)]
    while effort < _most(kind, count) and at({**chosen, name: effort}).knn_recall < CURVE_ENDS:
        effort = min(2 * effort, _most(kind, count))
        at({**chosen, name: effort})
