"""The same run with several seeds: each figure's mean and interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from indexes.errors import ConditionFailed
from indexes.records.manifest import write_json_atomic

from .align import AlignReport, align
from .config import AlignConfig

# Student's t, 97.5 %, by degrees of freedom: seeds are few
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class SeedReport:
    """The runs that ended inside the budget, by seed, and the seeds of those that did not."""

    runs: dict[int, AlignReport]
    failed: tuple[int, ...]

    @property
    def measured(self) -> bool:
        """Whether this process has figures: under torchrun only the first one does."""
        return any(one.tuned for one in self.runs.values())


def align_seeds(
    config: AlignConfig,
    seeds: Sequence[int],
    run: Path,
    data: Path | None,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> SeedReport:
    """One run a seed, in run/seed-N, with what is computed once shared. Raises ConditionFailed where all fail."""
    runs, failed = {}, []
    for seed in seeds:
        try:
            one = replace(config, seed=seed)
            runs[seed] = align(one, run / f"seed-{seed}", data, cache=cache or run / "cache", say=say, **options)
        except ConditionFailed as error:
            failed.append(seed)
            if say:
                say(f"seed {seed}: {error}")
    if not runs:
        raise ConditionFailed(f"all seeds ({', '.join(map(str, seeds))}) failed", "one inside the budget", "See above.")
    report = SeedReport(runs, tuple(failed))
    if report.measured:
        write_json_atomic(run / "seeds.json", {"figures": summary(report), "failed": failed, "seeds": list(runs)})
    return report


def summary(report: SeedReport) -> dict[str, dict[str, float]]:
    """Per figure: mean over seeds, half width of its 95 % interval (Student; 0 for one seed), and the base's."""
    found = {}
    for name in next(iter(report.runs.values())).tuned:
        values = [one.tuned[name] for one in report.runs.values()]
        base = next(iter(report.runs.values())).base[name]
        found[name] = {"mean": mean(values), "half": half_width(values), "base": base}
    return found


def half_width(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    return STUDENT.get(len(values) - 1, 1.96) * stdev(values) / math.sqrt(len(values))


def told(report: SeedReport) -> list[str]:
    lines = [
        f"dev {name}\t{one['mean']:.2f} ± {one['half']:.2f}\tbase {one['base']:.2f}"
        for name, one in summary(report).items()
    ]
    seeds = f"{len(report.runs)} seeds, 95 % interval over them (Student)"
    return [f"{seeds}; outside the budget: {', '.join(map(str, report.failed)) or 'none'}", *lines]
