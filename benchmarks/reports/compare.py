"""Two runs of the same benchmark, number by number: the difference and how sure it is. Pure.

Where both kept their values per query (per_query.py) of the same queries the difference is paired by query; else the
two intervals are combined as if independent, which is said, and is wider than it need be where the queries were the
same. Ranges of repeats give no interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.measures.stats import Interval, paired_difference, paired_medians, unpaired_difference
from benchmarks.per_query import PerQuery
from benchmarks.run_table import Table, interval_text, value_text
from benchmarks.runs import Number, Run
from indexes.errors import BeholderError

PAIRED, UNPAIRED, REPEATS = "paired by query", "unpaired", "of repeats, no interval"
DATA = ("table_sha256", "splits_sha256", "split", "pictures", "queries", "candidates", "words_sha256", "queries_sha256")
Values = Mapping[str, PerQuery]


@dataclass(frozen=True)
class Difference:
    """One number of both runs. change: after - before, in points where they are shares. how: PAIRED, UNPAIRED, REPEATS,
    or "" where no interval is known."""

    name: str
    after: Number
    before: Number
    change: Number
    how: str

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        low, high = self.change.low, self.change.high
        return low is not None and high is not None and not low <= 0 <= high


def compared(after: Run, before: Run, values: Values, others: Values, seed: int = 0) -> list[Difference]:
    """Every number that both runs have, in the order of `after`. values, others: what each kept per query.

    Raises BeholderError where they have none in common.
    """
    found = []
    for name, number in after.numbers.items():
        other = before.numbers.get(name)
        if other is not None and other.unit == number.unit:
            change, how = _change(number, other, values.get(name), others.get(name), seed)
            found.append(Difference(name, number, other, change, how))
    if not found:
        raise BeholderError(f"{after.name} and {before.name} have no number in common", "runs of one benchmark")
    return found


def _change(
    number: Number, other: Number, mine: PerQuery | None, theirs: PerQuery | None, seed: int
) -> tuple[Number, str]:
    if mine is not None and theirs is not None and mine.queries == theirs.queries and mine.of_ranks == theirs.of_ranks:
        rule = paired_medians if mine.of_ranks else paired_difference
        return _number(rule(mine.values, theirs.values, seed=seed), number.unit), PAIRED
    if "range" in (number.spread, other.spread) and number.low is not None:
        return _number(Interval(number.value - other.value, None, None, 0), number.unit), REPEATS
    one, two = (Interval(given.value, given.low, given.high, given.n or 0) for given in (number, other))
    gap = unpaired_difference(one, two)
    return _number(gap, number.unit), UNPAIRED if gap.low is not None else ""


def _number(gap: Interval, unit: str) -> Number:
    factor, shown = (100, "points") if unit == "share" else (1, unit)
    low, high = (None if end is None else factor * end for end in (gap.low, gap.high))
    return Number(factor * gap.mean, shown, low, high, gap.n or None)


def table_of(after: Run, before: Run, differences: list[Difference]) -> Table:
    """A row for each number: both values, the difference, its interval, and how that was found."""
    heads = (after.name, before.name) if after.name != before.name else ("this run", "the other")
    rows = [
        (
            one.name,
            value_text(one.after.value, one.after.unit),
            value_text(one.before.value, one.before.unit),
            value_text(one.change.value, one.change.unit) + ("*" if one.sure else ""),
            interval_text(one.change),
            one.how,
        )
        for one in differences
    ]
    columns = ("measure", *heads, "difference", "95 % interval", "how")
    kept = [place for place in range(len(columns)) if place < 4 or any(row[place] for row in rows)]
    left = frozenset(kept.index(place) for place in (0, 5) if place in kept)
    return Table(tuple(columns[place] for place in kept), tuple(tuple(row[p] for p in kept) for row in rows), left)


def remarks(after: Run, before: Run, differences: list[Difference]) -> list[str]:
    """What must be known of a comparison: other data, another machine, what only one run has, what * says."""
    said = []
    other = [key for key in DATA if key in after.data and key in before.data and after.data[key] != before.data[key]]
    if other:
        words = ", ".join(f"{key} ({_shown(after.data[key])} against {_shown(before.data[key])})" for key in other)
        said.append(f"Warning: not the same data: {words}.")
    if any(one.after.spread == "range" for one in differences) and after.machine != before.machine:
        said.append("Warning: not the same machine; speeds do not compare.")
    lone = [name for name in {**after.numbers, **before.numbers} if name not in {one.name for one in differences}]
    if lone:
        shown = ", ".join(lone[:3]) + (" and others" if len(lone) > 3 else "")
        said.append(f"{len(lone)} numbers are in one of the runs only: {shown}.")
    if any(one.sure for one in differences):
        said.append("*: the interval leaves 0 out; with this many measures some do so by chance.")
    if any(one.how == UNPAIRED for one in differences):
        said.append(
            "unpaired: the intervals of both runs, taken as independent, as one of them has no values per query beside "
            "it; where both asked the same queries, the true interval is narrower."
        )
    return said


def _shown(value: object) -> str:
    text = str(value)
    return text[:8] if len(text) == 64 else text
