"""Scores per query -> numbers with intervals, and what one encoder has kept of another's. Pure.

Kept means: the same queries, the same pictures, the difference paired by query. The budget is held on one measure of
each kind of table (GATES), the one that alignment keeps too.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.measures import metrics
from benchmarks.measures.metrics import Bools, Floats, Ints
from benchmarks.measures.stats import bootstrap_mean, bootstrap_median, paired_difference, paired_medians
from benchmarks.per_query import PerQuery
from benchmarks.runs import Number, Run
from indexes.errors import BeholderError, ConditionFailed

HIT_RATE_AT = (1, 5, 10)
NDCG_AT = 10
MEDIAN = "median rank"
GATES = (f"hit_rate@{max(HIT_RATE_AT)}", "mAP", "zero-shot top-1")  # the first that a table has
BASE, CHANGE = "base: ", "change of "


@dataclass(frozen=True)
class Scored:
    """One measure: `values` (Q,) a query, and the level of a random order where that is known."""

    values: Floats
    chance: float | None = None
    of_ranks: bool = False  # ranks, of which the median is shown; else shares, of which the mean is

    def number(self, seed: int) -> Number:
        if self.of_ranks:
            middle = bootstrap_median(self.values, seed=seed)
            return Number(middle.mean, "", middle.low, middle.high, middle.n, self.chance)
        return Number.of(bootstrap_mean(self.values, seed=seed), self.chance)

    def per_query(self, queries: str) -> PerQuery:
        """Its values, of queries with this digest."""
        return PerQuery(np.asarray(self.values, np.float64), queries, self.of_ranks)


def caption_scores(hits: Bools, relevant: Ints, candidates: int, prefix: str = "") -> dict[str, Scored]:
    """Of hits (Q, K): hit rates and nDCG; of whole rankings (K = candidates) mAP and median rank too."""
    found: dict[str, Scored] = {}
    for k in HIT_RATE_AT:
        chance = metrics.chance_hit_rate(relevant, candidates, k).mean()
        found[f"{prefix}hit_rate@{k}"] = Scored(metrics.hit_rate(hits, k), float(chance))
    chance = metrics.chance_ndcg(relevant, candidates, NDCG_AT).mean()
    found[f"{prefix}nDCG@{NDCG_AT}"] = Scored(metrics.ndcg(hits, relevant, NDCG_AT), float(chance))
    if hits.shape[1] == candidates:
        chance = metrics.chance_average_precision(relevant, candidates).mean()
        found[f"{prefix}mAP"] = Scored(metrics.average_precision(hits, relevant), float(chance))
        found[f"{prefix}{MEDIAN}"] = Scored(metrics.first_rank(hits), of_ranks=True)
    return found


def label_scores(hits: Bools, relevant: Ints, candidates: int, suffix: str = "") -> dict[str, Scored]:
    """Of whole rankings (Q, candidates): mAP, R-precision and nDCG."""
    ndcg = metrics.ndcg(hits, relevant, NDCG_AT)
    precision = metrics.average_precision(hits, relevant)
    return {
        f"mAP{suffix}": Scored(precision, float(metrics.chance_average_precision(relevant, candidates).mean())),
        f"R-precision{suffix}": Scored(
            metrics.r_precision(hits, relevant), float(metrics.chance_r_precision(relevant, candidates).mean())
        ),
        f"nDCG@{NDCG_AT}{suffix}": Scored(ndcg, float(metrics.chance_ndcg(relevant, candidates, NDCG_AT).mean())),
    }


def retention(after: dict[str, Scored], before: dict[str, Scored], seed: int) -> dict[str, Number]:
    """The base's numbers, and the paired changes from it. Raises BeholderError for other measures or queries."""
    if list(after) != list(before):
        raise BeholderError(f"measures {', '.join(after)} against {', '.join(before)}", "the same on both sides")
    numbers: dict[str, Number] = {}
    for name, base in before.items():
        numbers[BASE + name] = base.number(seed)
        if base.of_ranks:
            gap = paired_medians(after[name].values, base.values, seed=seed)
            numbers[CHANGE + name] = Number(gap.mean, "", gap.low, gap.high, gap.n)
        else:
            change = paired_difference(after[name].values, base.values, seed=seed)
            numbers[CHANGE + name] = Number.of(change)
    return numbers


def check_retention(run: Run, points: float) -> None:
    """Raises ConditionFailed where a gate of the run has lost more than `points` (percentage points) against the base;
    the mean decides, not its interval."""
    gates = [next((key for key in run.numbers if key.startswith(CHANGE + gate)), None) for gate in GATES]
    first = next((key for key in gates if key), None)
    if first is None:
        raise BeholderError("a run without a base", "one with --compare BASE")
    kind = first.partition(" (")[0]
    lost = {
        key.removeprefix(CHANGE): -100 * number.value
        for key, number in run.numbers.items()
        if key == first or key.startswith(f"{kind} (")
    }
    worst = max(lost, key=lambda name: lost[name])
    if not np.isfinite(lost[worst]) or lost[worst] > points + 1e-9:
        raise ConditionFailed(f"{worst} lost {lost[worst]:.2f} points", f"at most {points:g}")
