"""Curves as SVG, without a plotting library: numbers in, text out. For reports that are committed beside their run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 460, 70, 20, 20, 60
COLOURS = ("#1f5fa8", "#c2571a", "#2e7d4f", "#7a3b9a")
TICKS = 7  # at most, on an axis


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in the order in which they are joined, with a label each ("" for none)."""

    name: str
    points: tuple[tuple[float, float, str], ...]


def svg(curves: Sequence[Curve], x_title: str, y_title: str) -> str:
    """A picture of the curves: axes of round numbers around all values, each tick labelled. The same curves give the
    same text."""
    x_ticks = ticks([x for curve in curves for x, _, _ in curve.points])
    y_ticks = ticks([y for curve in curves for _, y, _ in curve.points])
    xs, ys = (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1])

    def across(x: float) -> float:
        return LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (y - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    ]
    for x in x_ticks:
        parts.append(_line(across(x), TOP, across(x), HEIGHT - BOTTOM, "#ddd"))
        parts.append(_text(across(x), HEIGHT - BOTTOM + 18, f"{x:.6g}", "middle"))
    for y in y_ticks:
        parts.append(_line(LEFT, up(y), WIDTH - RIGHT, up(y), "#ddd"))
        parts.append(_text(LEFT - 8, up(y) + 4, f"{y:.6g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_title, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 18 {middle:.1f})">{_text(18, middle, y_title, "middle")}</g>')
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y, _ in curve.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, label in curve.points:
            parts.append(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5" fill="{colour}"/>')
            if label:
                shift = -8 if number % 2 else 16
                parts.append(_text(across(x), up(y) + shift, label, "middle", colour))
        parts.append(_text(LEFT + 12, HEIGHT - BOTTOM - 14 - 16 * number, curve.name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(values: Sequence[float]) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, rising, from the last below all values to the first above: at most
    TICKS."""
    low, high = min(values), max(values)
    power = math.floor(math.log10((high - low) or 1)) - 1
    steps = (factor * 10.0**exponent for exponent in range(power, power + 4) for factor in (1, 2, 5))
    for step in steps:
        first, last = math.floor(low / step), math.ceil(high / step)
        if 1 <= last - first < TICKS:
            return [number * step for number in range(first, last + 1)]
    return [low - 1, high + 1]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
