"""The plots of a run, as SVG: what each benchmark draws of itself, else the shares that it measured, with intervals."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from benchmarks.plots import Dot, bar_plot, dot_plot, line_plot
from benchmarks.runs import Number, Run

from .compare import Difference

MOST = 16  # dots in a plot: more are no longer read
LOOKED_AT = {"bench look": "*all words: percentile"}  # where a run has more shares than a plot can show


def plots_of(run: Run) -> list[str]:
    """None where nothing would be seen: a single share, or numbers without intervals."""
    verb = run.command.removeprefix("beholder ")
    own = next((draw for start, draw in OWN.items() if verb.startswith(start)), None)
    return own(run) if own else _shares(run, verb)


def difference_plot(differences: list[Difference]) -> str:
    """Differences of shares with their intervals, beside no difference; "" where there are none."""
    dots = [
        Dot(one.name, one.change.value, one.change.low, one.change.high, 0.0)
        for one in differences
        if one.change.unit == "points" and one.change.low is not None
    ]
    return dot_plot(dots[:MOST], "difference in points") if len(dots) > 1 else ""


def _shares(run: Run, verb: str) -> list[str]:
    pattern = next((pattern for start, pattern in LOOKED_AT.items() if verb.startswith(start)), "*")
    shown = {name: one for name, one in run.numbers.items() if _share(one) and fnmatchcase(name, pattern)}
    dots = [Dot(name, *(_percent(end) for end in (one.value, one.low, one.high, one.chance)))  # type: ignore[arg-type]
            for name, one in shown.items()]  # fmt: skip
    if len(dots) < 2:
        return []
    first = f", the first {MOST} of {len(dots)}" if len(dots) > MOST else ""
    return [dot_plot(dots[:MOST], f"% with 95 % interval{first}")]


def _share(number: Number) -> bool:
    return number.unit == "share" and number.spread == "interval" and number.low is not None


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _beauty(run: Run) -> list[str]:
    from benchmarks.quality.pareto import curves

    return [line_plot(curves(run), "hit_rate@10 (%)", "mean percentile in the top 10")]


def _stages(run: Run) -> list[str]:
    from benchmarks.speed.stages import bars

    return [bar_plot(found, "ms a query" if not kind else "ms") for kind, found in bars(run).items()]


def _index(run: Run) -> list[str]:
    from benchmarks.speed.index import curves

    found = curves(run)
    return [line_plot(found, "knn_recall@10", "queries/s, one at a time", log_y=True)] if found else []


def _scaling(run: Run) -> list[str]:
    from benchmarks.speed.scaling import curves

    return [line_plot(curves(run), "vectors", "times the cost of the smallest", log_x=True, log_y=True)]


OWN: dict[str, Callable[[Run], list[str]]] = {
    "bench pareto": _beauty,
    "bench speed search": _stages,
    "bench speed index": _index,
    "bench speed scaling": _scaling,
}
