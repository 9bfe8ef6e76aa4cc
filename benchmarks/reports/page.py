"""Runs as one HTML page that needs nothing else, and as Markdown: tables, plots, comparisons, rows of pictures.

The same runs give the same bytes. A run that says of itself that it cannot be believed says so in the page's first
line. Plots are SVG inside the page, and files beside the Markdown.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from benchmarks.per_query import read_per_query
from benchmarks.report import render
from benchmarks.run_table import Table, long_table, machine_text
from benchmarks.runs import MEASURED, Run, read_run
from indexes.errors import BeholderError
from indexes.records.manifest import write_bytes_atomic

from .compare import Difference, compared, remarks, table_of
from .gallery import GalleryRow, Shown
from .run_plots import difference_plot, plots_of

LONG = 24  # rows of a table that are shown without being asked for
DIGITS = re.compile(r"-?[\d.,]+( %)?( to -?[\d.,]+)?\*?")


@dataclass(frozen=True)
class Comparison:
    """Two runs and what differs; says: what must be known of it."""

    after: Run
    before: Run
    differences: list[Difference]

    @property
    def says(self) -> list[str]:
        return remarks(self.after, self.before, self.differences)

    @property
    def title(self) -> str:
        same = self.after.name == self.before.name
        return f"{self.after.name}, {'this run against the other' if same else f'against {self.before.name}'}"


def read_runs(paths: Sequence[Path], others: Sequence[Path], seed: int = 0) -> tuple[list[Run], list[Comparison]]:
    """The runs, and each compared with the other run at its place, or all with the only one. Raises BeholderError for
    another number of them."""
    if len(others) not in (0, 1, len(paths)):
        raise BeholderError(f"{len(others)} runs to compare {len(paths)} with", f"1 or {len(paths)}", "Give as many.")
    runs = {path: read_run(path) for path in (*paths, *others)}
    kept = {path: read_per_query(path, {name: one.value for name, one in run.numbers.items()}) if others else {}
            for path, run in runs.items()}  # fmt: skip
    pairs = zip(paths, others if len(others) != 1 else [*others] * len(paths), strict=bool(others))
    found = [
        Comparison(runs[one], runs[two], compared(runs[one], runs[two], kept[one], kept[two], seed))
        for one, two in pairs
    ]
    return [runs[path] for path in paths], found


def page(runs: Sequence[Run], comparisons: Sequence[Comparison], rows: Sequence[GalleryRow], title: str) -> str:
    """The HTML."""
    warnings = "".join(
        f"<p class=warning><b>{escape(one.name)}</b> {escape(one.headline)}</p>" for one in _doubted(runs)
    )
    sections = [_comparison(number, one) for number, one in enumerate(comparisons)]
    sections += [_run(number, run) for number, run in enumerate(runs)]
    titles = [f'<a href="#c{number}">{escape(one.title)}</a>' for number, one in enumerate(comparisons)]
    titles += [f'<a href="#r{number}">{escape(run.name)}</a>' for number, run in enumerate(runs)]
    if rows:
        sections.append(_gallery(rows))
        titles.append('<a href="#gallery">pictures</a>')
    template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        warnings=warnings,
        contents=f'<nav aria-label="Contents">{"".join(titles)}</nav>' if len(titles) > 1 else "",
        sections="\n".join(sections),
    )


def markdown(
    runs: Sequence[Run], comparisons: Sequence[Comparison], rows: Sequence[GalleryRow], title: str, pictures: str | None
) -> tuple[str, dict[str, str]]:
    """The Markdown, and its plots by the name of their file. pictures: how these names start; None: no plots."""
    parts = [f"# {title}", *(f"**{run.name}: {run.headline}**" for run in _doubted(runs))]
    files: dict[str, str] = {}

    def plotted(name: str, drawn: Callable[[], Sequence[str]]) -> None:
        for number, svg in enumerate(drawn() if pictures is not None else (), 1):
            file = f"{pictures}-{name}{f'-{number}' if number > 1 else ''}.svg"
            files[file] = svg
            parts.append(f"![{name}]({file})")

    for one in comparisons:
        parts += [f"## {one.title}", "\n".join(table_of(one.after, one.before, one.differences).markdown())]
        parts += ["  \n".join(one.says)] if one.says else []
        plotted(f"{one.after.name}-against-{one.before.name}", partial(_drawn, one))
    for run in runs:
        parts += [f"## {run.name}", render(run).rstrip()]
        plotted(run.name, partial(plots_of, run))
    if rows:
        parts.append(f"Rows of pictures for {len({row.query for row in rows})} queries: on the page (`--html`).")
    return "\n\n".join(parts) + "\n", files


def write_text(path: Path, text: str) -> int:
    """Writes it; its size in bytes. Raises BeholderError where it cannot be written."""
    content = text.encode("utf-8", errors="replace")  # half a surrogate pair of a query has no bytes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, content)
    except OSError as error:
        raise BeholderError(f"cannot write {path} ({error.strerror})", "a file", "Check the path.") from error
    return len(content)


def _drawn(one: Comparison) -> list[str]:
    drawn = difference_plot(one.differences)
    return [drawn] if drawn else []


def _doubted(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.headline]


def _run(number: int, run: Run) -> str:
    notes = "".join(f"<p>{escape(note)}</p>" for note in run.notes)
    sources = sorted({one.origin for one in run.numbers.values()})
    source = "" if len(sources) > 1 else f"Source: {sources[0] if sources else MEASURED}. "
    command = f"<pre><code>{escape(run.command)}</code></pre>" if run.command else ""
    machine = f"{machine_text(run)}; seed {run.seed}." if run.machine else ""
    plots = "".join(f'<div class="plots">{svg}</div>' for svg in plots_of(run))
    headline = f'<p class="warning">{escape(run.headline)}</p>' if run.headline else ""
    return (
        f'<section id="r{number}">\n<h2>{escape(run.name)}</h2>{headline}\n<div class="beside"><div>'
        f"{_table(long_table(run.numbers))}</div>{plots}</div>\n"
        f'<div class="notes">{notes}<p>{escape(source + machine)}</p>{command}</div>\n</section>'
    )


def _comparison(number: int, one: Comparison) -> str:
    plot = "".join(f'<div class="plots">{drawn}</div>' for drawn in _drawn(one))
    says = "".join(f"<p{' class=warning' if say.startswith('Warning') else ''}>{escape(say)}</p>" for say in one.says)
    table = _table(table_of(one.after, one.before, one.differences))
    return (
        f'<section id="c{number}">\n<h2>{escape(one.title)}</h2>\n<div class="beside"><div>{table}</div>{plot}</div>\n'
        f'<div class="notes">{says}</div>\n</section>'
    )


def _table(table: Table) -> str:
    """The table; the rows beyond LONG are folded away."""
    head = "".join(
        f"<th scope=col{_side(table, place)}>{escape(name)}</th>" for place, name in enumerate(table.columns)
    )
    lines = [
        "<tr>" + "".join(_cell(table, place, text) for place, text in enumerate(row)) + "</tr>" for row in table.rows
    ]

    def tabular(rows: Sequence[str]) -> str:
        body = "\n".join(rows)
        return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'

    if len(lines) <= LONG:
        return tabular(lines)
    rest = f"{len(lines) - LONG} more numbers"
    return f"{tabular(lines[:LONG])}<details><summary>{rest}</summary>{tabular(lines[LONG:])}</details>"


def _cell(table: Table, place: int, text: str) -> str:
    if place == 0:
        return f"<th scope=row>{escape(text)}</th>"
    return f"<td{_side(table, place)}>{escape(text)}</td>"


def _side(table: Table, place: int) -> str:
    return ' class="words"' if place in table.left else ""


def _gallery(rows: Sequence[GalleryRow]) -> str:
    parts = []
    for query in dict.fromkeys(row.query for row in rows):
        mine = "\n".join(
            f'<h4>{escape(row.system)}</h4><div class="row">{"".join(_picture(one) for one in row.pictures)}</div>'
            if row.pictures
            else f"<h4>{escape(row.system)}</h4><p>No picture was found.</p>"
            for row in rows
            if row.query == query
        )
        parts.append(f"<h3>{escape(query)}</h3>\n{mine}")
    return '<section id="gallery">\n<h2>Pictures</h2>\n' + "\n".join(parts) + "\n</section>"


def _picture(one: Shown) -> str:
    words = escape(one.words)
    if one.thumbnail is None:
        return f'<div class="blank" role="img" aria-label="{words}, not found">{words}</div>'
    width, height = one.thumbnail.width, one.thumbnail.height
    ratio = f"--ratio:{width / height:.4f}"
    return (
        f'<img src="{one.thumbnail.data_uri}" width="{width}" height="{height}" alt="{words}" title="{words}" '
        f'style="{ratio}">'
    )
