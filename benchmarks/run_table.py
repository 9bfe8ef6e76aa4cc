"""A run's numbers as a table of texts, for Markdown and for pages: long, a row for each number, or wide, a row for each
system and a column for each measure. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from indexes.errors import FormatError

from .runs import Number, Run

Numbers = Mapping[str, Number]


@dataclass(frozen=True)
class Table:
    """Texts by row; the first column is a name, the others are read as numbers where `left` does not say otherwise."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[int] = frozenset({0})

    def markdown(self) -> list[str]:
        """Its lines."""
        marks = ["---" if place in self.left else "---:" for place in range(len(self.columns))]
        return [_line(self.columns), "| " + " | ".join(marks) + " |", *map(_line, self.rows)]


def chosen(run: Run, patterns: Sequence[str]) -> dict[str, Number]:
    """The numbers whose names fit a pattern (* and ? stand for others), pattern by pattern; all without patterns.

    Raises FormatError for a pattern that fits none: the document would silently lose what it showed.
    """
    if not patterns:
        return dict(run.numbers)
    found: dict[str, Number] = {}
    for pattern in patterns:
        fitting = {name: one for name, one in run.numbers.items() if fnmatchcase(name, pattern)}
        if not fitting:
            raise FormatError(f"no number of {run.name} fits {pattern!r}", "one at least", "Mend the block.")
        found |= fitting
    return found


def long_table(numbers: Numbers) -> Table:
    """A row for each number; columns for what at least one of them has: an interval, chance, n, a source."""
    kinds = {number.spread == "range" for number in numbers.values() if number.low is not None}
    ends, count = {
        frozenset({True}): ("lowest to highest", "repeats"),
        frozenset({True, False}): ("95 % interval; of repeats: lowest to highest", "n, or repeats"),
    }.get(frozenset(kinds), ("95 % interval", "n"))
    cells = {"measure": list(numbers), "value": [value_text(one.value, one.unit) for one in numbers.values()]}
    wanted = {
        ends: [interval_text(one) for one in numbers.values()],
        "chance": ["" if one.chance is None else value_text(one.chance, one.unit) for one in numbers.values()],
        count: ["" if one.n is None else f"{one.n:,}" for one in numbers.values()],
    }
    cells |= {name: texts for name, texts in wanted.items() if any(texts)}
    if any(one.source is not None for one in numbers.values()):
        cells["source"] = [one.origin for one in numbers.values()]
    left = frozenset(place for place, name in enumerate(cells) if name in ("measure", "source"))
    return Table(tuple(cells), tuple(zip(*cells.values(), strict=True)), left)


def wide_table(numbers: Numbers) -> Table:
    """Of numbers named "row: column": a row for each system with values and intervals, then chance where it is known;
    a column's n stands in its head where all its numbers have the same. Raises FormatError for another name."""
    odd = next((name for name in numbers if ": " not in name), None)
    if odd is not None:
        raise FormatError(f"{odd!r} has no place in a wide table", "names such as 'row: column'", "Leave 'wide' out.")
    placed = {tuple(name.rsplit(": ", 1)): one for name, one in numbers.items()}
    rows, columns = (list(dict.fromkeys(name[side] for name in placed)) for side in (0, 1))
    heads, chances = [], []
    for column in columns:
        mine = [one for (_, name), one in placed.items() if name == column]
        counts, levels = {one.n for one in mine}, {one.chance for one in mine if one.chance is not None}
        count = counts.pop() if len(counts) == 1 else None
        heads.append(column if count is None else f"{column} (n = {count:,})")
        chances.append(value_text(levels.pop(), mine[0].unit) if len(levels) == 1 else "")
    body = [(row, *(_cell(placed.get((row, column))) for column in columns)) for row in rows]
    if any(chances):
        body.append(("chance", *chances))
    return Table(("", *heads), tuple(body))


def _cell(number: Number | None) -> str:
    if number is None:
        return ""
    interval = interval_text(number)
    return value_text(number.value, number.unit) + (f" ({interval})" if interval else "")


def value_text(value: float, unit: str) -> str:
    """A value as it is shown: shares in percent, others by their size with their unit."""
    if unit == "share":
        return f"{100 * value:.1f} %"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def interval_text(number: Number) -> str:
    """ "low to high" without units; "" where there is none."""
    if number.low is None or number.high is None:
        return ""
    ends = (value_text(end, number.unit).removesuffix(number.unit).rstrip(" %") for end in (number.low, number.high))
    return " to ".join(ends)


def machine_text(run: Run) -> str:
    """Cores, processor and versions in words."""
    machine = run.machine
    parts = [f"{machine.get('cores', '?')} cores of {machine.get('cpu', '?')}"]
    if machine.get("accelerator"):
        parts.append(machine["accelerator"])
    parts += [f"{name} {machine[name]}" for name in ("python", "torch", "faiss") if machine.get(name)]
    return ", ".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
