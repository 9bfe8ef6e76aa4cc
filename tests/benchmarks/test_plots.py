"""Protects plots: well-formed SVG that holds every name, points where they belong, the same bytes, dark pages too."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from benchmarks.options import drawable
from benchmarks.plots import COLOURS, DARK, Bar, Curve, Dot, bar_plot, dot_plot, line_plot
from indexes.errors import BeholderError

SVG = "{http://www.w3.org/2000/svg}"
CURVES = [Curve("a < b", ((1, 2, "x"), (3, 5, "")), ((1, 3), (4, 6))), Curve("other", ((2, 2, "y"),))]


def words_of(drawn: str) -> set[str]:
    return {"".join(element.itertext()).strip() for element in ElementTree.fromstring(drawn).iter(f"{SVG}text")}


def markers_of(drawn: str, colour: str) -> list[tuple[float, float]]:
    """Places of the marks of a colour: what matplotlib uses a shape for."""
    uses = [one for one in ElementTree.fromstring(drawn).iter(f"{SVG}use") if colour in one.get("style", "")]
    return [(float(one.get("x", "nan")), float(one.get("y", "nan"))) for one in uses]


def test_lines_hold_every_name_and_rise_to_the_right_and_up() -> None:
    drawn = line_plot(CURVES, "across", "up & down", title="What it costs")
    assert {"a < b", "other", "x", "y", "across", "up & down", "What it costs"} <= words_of(drawn)
    first, last, legend = markers_of(drawn, COLOURS[0])
    assert first[0] < last[0]
    assert first[1] > last[1], "SVG counts from the top"
    assert legend != first
    assert drawn == line_plot(CURVES, "across", "up & down", title="What it costs")


def test_a_logarithmic_axis_gives_every_power_the_same_room() -> None:
    points = tuple((10.0**power, 10.0**-power, "") for power in range(4))
    drawn = line_plot([Curve("", points)], "n", "rate", log_x=True, log_y=True)
    places = markers_of(drawn, COLOURS[0])
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(places)]
    for step in steps:
        assert step == pytest.approx(steps[0], abs=0.01)
    with pytest.raises(BeholderError, match="rate is 0"):
        line_plot([Curve("", ((1, 0, ""),))], "n", "rate", log_y=True)


def test_stacked_bars_say_their_total_and_their_parts() -> None:
    drawn = bar_plot([Bar("one", {"encode": 3.0, "search": 1.5}), Bar("many", {"search": 2500.0})], "ms")
    assert {"one", "many", "encode", "search", "4.5", "2,500", "ms"} <= words_of(drawn)
    assert "encode" not in words_of(bar_plot([Bar("one", {"encode": 3.0})], "ms")), "one part needs no legend"


def test_dots_keep_their_order_from_the_top() -> None:
    drawn = dot_plot([Dot("first", 0.4, 0.3, 0.6, 0.5), Dot("second", 0.7)], "%")
    assert {"first", "second", "%"} <= words_of(drawn)
    (_, upper), (_, lower) = markers_of(drawn, COLOURS[0])
    assert upper < lower


def test_nothing_to_draw_is_one_line() -> None:
    for draw in (lambda: line_plot([], "", ""), lambda: bar_plot([], ""), lambda: dot_plot([], "")):
        with pytest.raises(BeholderError, match="nothing to plot"):
            draw()


def test_a_plot_fits_into_a_page_light_and_dark() -> None:
    drawn = line_plot(CURVES, "across", "up")
    assert drawn.startswith("<svg ")
    assert 'class="plot"' in drawn
    assert "<metadata>" not in drawn
    assert "DejaVu" not in drawn
    assert not re.search(r'<g id="', drawn), "two plots in one page would repeat ids"
    assert not re.search(r"(?:href|src)=\"(?!#)", drawn), "nothing is loaded"
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", re.sub(r"<style>.*?</style>", "", drawn, flags=re.S)))
    assert used <= set(DARK), "every colour has one for dark pages"
    assert "prefers-color-scheme: dark" in drawn


def test_without_matplotlib_a_measurement_is_kept_and_a_page_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawable()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not drawable()
    assert "pip install 'beholder[bench]'" in capsys.readouterr().err
    with pytest.raises(BeholderError, match=r"beholder\[bench\]"):
        line_plot(CURVES, "across", "up")
