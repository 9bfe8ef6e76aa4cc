"""Plots of reports as SVG text, drawn by matplotlib: lines with intervals, bars and stacked bars, values with whiskers.

Numbers in, text out: no files, no global state of matplotlib, and the same call gives the same text. Text stays text,
so a page's font shows it and a reader can copy it; the background is transparent. Colours are those of a light page,
and a style in the SVG turns them round where the reader prefers dark, inside a page and as a picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from html import escape
from io import StringIO
from textwrap import fill
from typing import TYPE_CHECKING, Any

from indexes.errors import BeholderError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, BAR_HEIGHT = 500, 340, 34  # px: text of 12 px can still be read where a phone shows 360 of them
LABEL = 30  # characters in a line of a row's name: longer ones would leave the values no room
PX = 1 / 72  # matplotlib's SVG has 72 units an inch, each shown as a pixel
INK, QUIET, GRID = "#1d1c1a", "#69655f", "#e2dfd8"
COLOURS = ("#1f5fa8", "#c2571a", "#2e7d4f", "#7a3b9a", "#8a6d1b", "#5f6b77")
MARKERS = ("o", "s", "^", "D", "v", "P")  # beside colours, which not everybody tells apart
DARK = dict(
    zip(
        (INK, QUIET, GRID, *COLOURS),
        ("#ece9e3", "#a8a39a", "#35322e", "#7db1ec", "#f0945c", "#7fc79d", "#c796e3", "#d9bd6a", "#aab6c2"),
        strict=True,
    )
)
FONTS = "Inter, system-ui, sans-serif"


@dataclass(frozen=True)
class Curve:
    """Points (x, y, label) in the order in which they are joined, "" for no label; `whiskers` (low, high) of y for
    each point where they are known."""

    name: str
    points: tuple[tuple[float, float, str], ...]
    whiskers: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Bar:
    """A bar of one or more parts, which are stacked; `whisker` (low, high) of the whole."""

    name: str
    parts: Mapping[str, float]
    whisker: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dot:
    """A value with its interval, and the value of chance where there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None


def line_plot(
    curves: Sequence[Curve], x_title: str, y_title: str, *, title: str = "", log_x: bool = False, log_y: bool = False
) -> str:
    """The curves, each point marked, labelled and with its whisker. Raises BeholderError without a point, or where a
    logarithmic axis has values of 0 and less."""
    points = [point for curve in curves for point in curve.points]
    _some(points, "a point")
    for log, values, axis in ((log_x, [x for x, _, _ in points], x_title), (log_y, [y for _, y, _ in points], y_title)):
        if log and min(values) <= 0:
            raise BeholderError(
                f"{axis} is {min(values):g}", "values above 0 on a logarithmic axis", "Leave it linear."
            )
    with _style():
        figure, axes = _figure(WIDTH, HEIGHT)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        for number, curve in enumerate(curves):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            xs, ys = [x for x, _, _ in curve.points], [y for _, y, _ in curve.points]
            axes.plot(xs, ys, color=colour, marker=marker, markersize=5, linewidth=1.8, label=curve.name)
            for x, (low, high) in zip(xs, curve.whiskers, strict=False):
                axes.plot([x, x], [low, high], color=colour, linewidth=1.2)
            side = 1 if number % 2 == 0 else -1  # beside the point, where its whisker is not; curves that cross part
            for x, y, label in curve.points:
                axes.annotate(
                    label, (x, y), (7 * side, 0), textcoords="offset points", color=colour,
                    ha="left" if side > 0 else "right", va="center_baseline",
                )  # fmt: skip
        axes.margins(0.1, 0.1)
        axes.set_xlabel(x_title)
        axes.set_ylabel(y_title)
        if len(curves) > 1:
            axes.legend(frameon=False)
        return _svg(figure, axes, title)


def bar_plot(bars: Sequence[Bar], value_title: str, *, title: str = "") -> str:
    """Horizontal bars from the top down, each with its total; parts of one name have one colour and a legend."""
    _some(bars, "a bar")
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    with _style():
        figure, axes = _figure(WIDTH, BAR_HEIGHT * len(bars) + 70 + 26 * (len(names) > 1))
        rows = range(len(bars))
        lefts = [0.0] * len(bars)
        for number, name in enumerate(names):
            widths = [bar.parts.get(name, 0.0) for bar in bars]
            axes.barh(rows, widths, 0.62, lefts, color=COLOURS[number % len(COLOURS)], label=name)
            lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
        for row, (bar, total) in enumerate(zip(bars, lefts, strict=True)):
            end = total
            if bar.whisker:
                axes.plot(bar.whisker, [row, row], color=INK, linewidth=1.4)
                end = max(total, bar.whisker[1])
            axes.annotate(
                f"{total:.3g}" if total < 1000 else f"{total:,.0f}",
                (end, row),
                (5, 0),
                textcoords="offset points",
                va="center",
            )
        axes.margins(x=0.14)
        _rows(axes, [bar.name for bar in bars], value_title)
        if len(names) > 1:
            figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return _svg(figure, axes, title)


def dot_plot(dots: Sequence[Dot], value_title: str, *, title: str = "") -> str:
    """Values from the top down with their intervals, and a tick where chance would be."""
    _some(dots, "a value")
    with _style():
        figure, axes = _figure(WIDTH, 26 * len(dots) + 14 * sum(len(dot.name) > LABEL for dot in dots) + 60)
        for row, dot in enumerate(dots):
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [row, row], color=COLOURS[0], linewidth=1.6)
            axes.plot([dot.value], [row], color=COLOURS[0], marker="o", markersize=5.5, linestyle="none")
            if dot.chance is not None:
                axes.plot([dot.chance], [row], color=QUIET, marker="|", markersize=11, linestyle="none")
        axes.margins(x=0.08)
        _rows(axes, [dot.name for dot in dots], value_title)
        return _svg(figure, axes, title)


def _rows(axes: Axes, names: Sequence[str], value_title: str) -> None:
    axes.set_yticks(range(len(names)), [fill(name, LABEL, break_on_hyphens=False) for name in names], linespacing=1.05)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlabel(value_title)


def _some(values: Sequence[Any], what: str) -> None:
    if not values:
        raise BeholderError("nothing to plot", f"at least {what}")


def _style() -> AbstractContextManager[None]:
    """matplotlib's settings while one plot is drawn. Raises BeholderError where it is not installed."""
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError as error:
        raise BeholderError("matplotlib is not installed", "it, for plots", "pip install 'beholder[bench]'") from error
    return rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "beholder",  # else ids in the file differ from call to call
            "font.size": 12,
            "text.color": INK,
            "axes.edgecolor": GRID,
            "axes.labelcolor": QUIET,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.spines.left": False,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "xtick.minor.size": 0,
            "ytick.minor.size": 0,
        }
    )


def _figure(width_px: float, height_px: float) -> tuple[Figure, Axes]:
    """A figure without pyplot, which would keep every figure it makes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px * PX, height_px * PX), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, axes: Axes, title: str) -> str:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # a page holds no second XML head
    text = re.sub(r"<metadata>.*?</metadata>\n?", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {FONTS}", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # two plots in a page would repeat them
    text = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"|height="[\d.]+pt" |width="[\d.]+pt" ', "", text)
    text = text.replace("<svg ", f'<svg class="plot" role="img" aria-label="{escape(title or axes.get_xlabel())}" ', 1)
    text = text.replace('<style type="text/css">*{', f"<style>{_dark_style()}.plot *{{", 1)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _dark_style() -> str:
    """Rules that turn the literal colours round. Literal, as not every viewer of SVG knows variables."""
    rules = "".join(
        f'.plot [style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK.items()
        for kind in ("stroke", "fill")
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"
