"""How the page looks in a real browser: on narrow screens, in the dark, to whom cannot see it; rows are flush."""

import random
from itertools import pairwise
from typing import Any

import pytest

from tests.retrieval.page_client import Open, contrast, ids, luminance, shows, typed


def test_every_control_has_a_name_and_results_are_announced(open_page: Open, address: str) -> None:
    page = open_page("/?q=trees&not=people&where=width > 10")
    shows(page, ids(address, {**typed("trees"), "not": ["people"]}, where="width > 10"))
    page.get_by_role("button", name="Filter", exact=True).click()
    for _ in range(2):
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, a, img")]
              .filter((one) => one.checkVisibility() && !one.ariaLabel && !one.alt && !one.textContent.trim())
              .filter((one) => !one.labels?.[0]?.textContent.trim())
              .filter((one) => !one.closest("button[aria-label]"))
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert nameless == []
        page.get_by_role("button", name="Compare").click()
    status = page.locator("#status")
    assert (status.get_attribute("role"), status.get_attribute("aria-live")) == ("status", "polite")
    assert page.get_by_role("search").count() == 1
    assert page.evaluate("document.querySelectorAll('#pictures [tabindex=\"0\"]').length") == 1  # one stop for Tab


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_is_not_scrolled_sideways_and_its_targets_can_be_hit(
    open_page: Open, address: str, width: int
) -> None:
    page = open_page("/?q=trees&not=people", width=width, height=780, has_touch=True, is_mobile=True)
    shows(page, ids(address, {**typed("trees"), "not": ["people"]}))
    for place in ("answer", "comparing", "voting"):
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, place
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, select")].filter((one) => one.checkVisibility())
              .filter((one) => one.getBoundingClientRect().height < 24).map((one) => one.outerHTML.slice(0, 100))"""
        )
        assert small == [], place
        if place == "answer":
            sizes = page.evaluate("[...document.querySelectorAll('#pictures .open')].map((one) => one.offsetHeight)")
            assert min(sizes[:20]) > 60
            page.get_by_role("button", name="Compare").click()
        elif place == "comparing":
            page.get_by_role("button", name="Vote blind").click()
            page.locator(".question").first.wait_for()
    page.get_by_role("button", name="Compare").click()
    page.locator("#pictures .open").first.tap()
    page.locator("#viewer").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0


def test_rows_are_flush_in_order_and_near_the_wanted_height(open_page: Open) -> None:
    page, generator = open_page(), random.Random(0)
    for _ in range(30):
        ratios = [generator.choice([0.3, 0.66, 0.75, 1, 1.33, 1.5, 1.78, 4]) for _ in range(generator.randint(1, 60))]
        width, height, gap = generator.choice([300, 720, 1300, 1800]), generator.choice([150, 260, 340]), 12
        given = {"width": width, "height": height, "gap": gap}
        code = "async ([ratios, given]) => (await import('/page/layout.js')).justified(ratios, given)"
        layout = page.evaluate(code, [ratios, given])
        places, top = layout["places"], 0.0
        assert len(places) == len(ratios)
        rows: dict[float, list[dict[str, float]]] = {}
        for place in places:
            rows.setdefault(place["top"], []).append(place)
        for number, (row_top, row) in enumerate(rows.items()):
            assert row_top == pytest.approx(top)
            assert len({place["height"] for place in row}) == 1
            for one, other in pairwise(row):
                assert other["left"] == pytest.approx(one["left"] + one["width"] + gap)
            right = row[-1]["left"] + row[-1]["width"]
            assert right <= width + 1e-6
            if number < len(rows) - 1:
                assert right == pytest.approx(width)
                assert height / 2.2 < row[0]["height"] < height * 2.2 or len(row) == 1
            top += row[0]["height"] + gap
        assert layout["height"] == pytest.approx(top - gap)


def test_dark_follows_the_system_can_be_set_and_both_can_be_read(open_page: Open, address: str) -> None:
    def contrasts(page: Any) -> list[float]:
        code = """() => ["#status", "#words", ".slider .name", ".idea", "#add-not"].map((one) =>
          [getComputedStyle(document.querySelector(one)).color, getComputedStyle(document.body).backgroundColor])"""
        return [contrast(one, other) for one, other in page.evaluate(code)]

    light, dark = (open_page("/?q=trees", color_scheme=scheme) for scheme in ("light", "dark"))
    for page in (light, dark):
        shows(page, ids(address, typed("trees")))
        assert min(contrasts(page)) >= 4.5  # WCAG AA
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert luminance(light.evaluate(background)) > 0.8
    assert luminance(dark.evaluate(background)) < 0.02
    dark.get_by_role("button", name="Light or dark").click()
    assert luminance(dark.evaluate(background)) > 0.8
    dark.reload()
    assert luminance(dark.evaluate(background)) > 0.8
