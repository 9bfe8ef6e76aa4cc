"""The page, driven in a real browser against a real service: what a person does shows what the service answers."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from retrieval.hpir import read_hpir
from tests.retrieval.browser import FLAGS, HOSTILE, chromium, make_collection, serving

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
if chromium() is None:
    pytest.skip("no Chromium on this machine (Debian's package chromium)", allow_module_level=True)
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

Open = Callable[..., Any]
ORDER = "() => [...document.querySelectorAll('#pictures > li')].map((item) => Number(item.dataset.id))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    index = make_collection(folder)
    with serving(f"pictures={index}", f"again={index}", "--votes", folder / "votes.jsonl") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as running:
        yield running.chromium.launch(executable_path=chromium(), args=FLAGS)


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Open]:
    """Opens the page; at the end no script has failed and nothing was asked of another host."""
    contexts, wrong = [], []

    def opened(path: str = "/", *, width: int = 1280, height: int = 800, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security" in line.text else None)
        ours = (address, "blob:", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(ours) else wrong.append(asked.url))
        page.goto(address + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def answered(address: str, query: Any, **config: Any) -> list[dict[str, Any]]:
    body = json.dumps({"query": query, "config": {"k": 48, **config}}).encode()
    with urlopen(Request(f"{address}/search", body, {"content-type": "application/json"}), timeout=120) as answer:
        results: list[dict[str, Any]] = json.load(answer)["results"]
    return results


def ids(address: str, query: Any, **config: Any) -> list[int]:
    return [one["id"] for one in answered(address, query, **config)]


def shows(page: Any, expected: list[int]) -> None:
    """Waits until the wall shows these pictures first, in this order."""
    same = f"(wanted) => JSON.stringify(({ORDER})().slice(0, wanted.length)) === JSON.stringify(wanted)"
    try:
        page.wait_for_function(same, arg=expected)
    except playwright_api.TimeoutError:
        assert page.evaluate(ORDER)[: len(expected)] == expected


def typed(words: str) -> dict[str, Any]:
    return {"text": [{"text": words, "weight": 1}]}


def test_typing_shows_what_the_service_finds_and_the_address_keeps_it(open_page: Open, address: str) -> None:
    page = open_page()
    page.locator("#words").press_sequentially("portrait of a woman", delay=15)
    expected = ids(address, typed("portrait of a woman"))
    shows(page, expected)
    assert "48 of 100 pictures" in page.locator("#status").inner_text()
    page.reload()
    shows(page, expected)
    assert page.locator("#words").input_value() == "portrait of a woman"


def test_pictures_come_as_the_end_is_neared_until_all_are_there(open_page: Open, address: str) -> None:
    page = open_page("/?q=flowers")
    shows(page, ids(address, typed("flowers")))
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function("() => document.querySelectorAll('#pictures > li').length > 48")
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    shows(page, ids(address, typed("flowers"), k=100))
    page.wait_for_function("() => document.querySelector('#status').textContent.startsWith('100 of 100')")


def test_a_slider_by_its_scorers_name_orders_the_pictures_again(open_page: Open, address: str) -> None:
    page = open_page("/?q=a boat")
    shows(page, ids(address, typed("a boat")))
    slider = page.get_by_role("slider", name="brightness")
    slider.focus()
    for _ in range(12):
        slider.press("ArrowRight")
    bright = answered(address, typed("a boat"), beauty={"brightness": 1.2})
    shows(page, [one["id"] for one in bright])
    assert page.locator(".slider output").first.inner_text() == "+1.2"
    plain = answered(address, typed("a boat"))
    mean = [sum(one["scores"]["brightness"] for one in some[:10]) / 10 for some in (plain, bright)]
    assert mean[1] > mean[0] + 0.1
    slider.press("0")
    shows(page, [one["id"] for one in plain])


def test_a_dropped_picture_finds_itself_and_a_negative_weight_sends_it_away(
    open_page: Open, address: str, folder: Path
) -> None:
    first = answered(address, typed("a boat"), where="uri LIKE '%\\_%' ESCAPE '\\'")[0]
    content = (folder / "pictures" / first["uri"]).read_bytes()
    page = open_page()
    page.evaluate(
        """(data) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "mine.jpg", { type: "image/jpeg" }));
          for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(
              new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(content).decode(),
    )
    shows(page, [first["id"]])
    chip = page.locator(".chip.picture")
    assert "mine.jpg" in chip.inner_text()
    weight = chip.get_by_role("spinbutton", name="Weight of mine.jpg")
    page.locator("#words").fill("a boat")
    weight.fill("-2")
    weight.press("Tab")
    data = base64.b64encode(content).decode()
    expected = ids(address, {**typed("a boat"), "image": [{"data": data, "weight": -2}]})
    shows(page, expected)
    assert first["id"] not in expected
    page.get_by_role("button", name="Remove mine.jpg").click()
    shows(page, ids(address, typed("a boat")))


def test_a_file_that_is_no_picture_is_said_in_words(open_page: Open, address: str) -> None:
    page = open_page("/?q=a boat")
    shows(page, ids(address, typed("a boat")))
    page.locator("#file").set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"})
    page.get_by_text("notes.txt is not a picture").wait_for()
    page.locator("#file").set_input_files({"name": "bad.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.get_by_text("no picture in a known format").wait_for()
    page.get_by_role("button", name="Remove bad.jpg").click()
    shows(page, ids(address, typed("a boat")))


def test_words_against_are_a_part_of_the_query(open_page: Open, address: str) -> None:
    page = open_page("/?q=a garden")
    page.get_by_role("button", name="Without").click()
    page.get_by_label("Without", exact=True).last.fill("people")
    page.keyboard.press("Enter")
    shows(page, ids(address, {**typed("a garden"), "not": ["people"]}))
    assert page.locator(".chip.not").inner_text().split() == ["without", "people"]
    page.get_by_role("button", name="Remove without people").click()
    shows(page, ids(address, typed("a garden")))


def test_filters_leave_only_what_fits_and_a_wrong_one_is_told(open_page: Open, address: str) -> None:
    page = open_page("/?q=a garden")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("button", name="Landscape").click()
    shows(page, ids(address, typed("a garden"), where="width > height"))
    page.locator("#column").select_option("width")
    page.locator("#value").fill("320")
    page.locator("#add-condition").click()
    shows(page, ids(address, typed("a garden"), where="(width > height) AND (width >= 320)"))
    page.locator("#raw").fill("no such column")
    page.locator("#raw").press("Enter")
    page.locator("#status.error", has_text="cannot be used").wait_for()
    page.get_by_role("button", name="Remove the filter no such column").click()
    shows(page, ids(address, typed("a garden"), where="(width > height) AND (width >= 320)"))


def test_no_good_match_is_said_and_the_nearest_can_still_be_seen(open_page: Open, address: str) -> None:
    page = open_page("/?q=trees")
    shows(page, ids(address, typed("trees")))
    # The made-up vectors of the test have no cut-off of use: what the service says of a query without a match is given.
    nothing = {"query": {"rewrites": []}, "good_match": False, "results": [], "seconds": {}}

    def answer(route: Any) -> None:
        route.fulfill(json=nothing) if "min_relevance" in route.request.post_data else route.continue_()

    page.route("**/search", answer)
    page.evaluate("document.querySelector('#good-pick').hidden = false")
    page.locator("#good").check()
    page.locator("#status", has_text="No good match for trees").wait_for()
    page.get_by_role("button", name="Show the nearest anyway").click()
    shows(page, ids(address, typed("trees")))


def test_copies_can_be_left_out(open_page: Open, address: str) -> None:
    page = open_page("/?q=trees")
    shows(page, ids(address, typed("trees")))
    with page.expect_request("**/search") as asked:
        page.get_by_label("No copies").check()
    assert asked.value.post_data_json["config"]["near"] == 0.97
    shows(page, ids(address, typed("trees"), near=0.97))


def test_a_full_service_is_asked_again_and_one_that_is_gone_is_said(open_page: Open, address: str) -> None:
    page, busy = open_page("/?q=trees"), [503]
    shows(page, ids(address, typed("trees")))

    def full_once(route: Any) -> None:
        if busy:
            route.fulfill(status=busy.pop(), headers={"retry-after": "1"}, json={"error": "full"})
        else:
            route.continue_()

    page.route("**/search", full_once)
    page.locator("#words").fill("a boat")
    shows(page, ids(address, typed("a boat")))
    assert busy == []
    page.unroute("**/search")
    page.route("**/search", lambda route: route.abort())
    page.locator("#words").fill("a garden")
    page.get_by_text("the service does not answer").wait_for()
    page.unroute("**/search")
    page.locator("#words").fill("a house")
    shows(page, ids(address, typed("a house")))
    assert "error" not in (page.locator("#status").get_attribute("class") or "")


def test_a_rewrite_is_shown_before_and_after(open_page: Open, address: str) -> None:
    page = open_page("/?q=a boat")
    page.locator("#rewrite").select_option("template")
    shows(page, ids(address, typed("a boat"), rewrite="template"))
    told = page.locator("#rewritten")
    told.wait_for()
    assert told.inner_text().startswith("asked as a boat")
    assert len(told.locator("ins").all_inner_texts()) >= 2
    page.locator("#rewrite").select_option("none")
    told.wait_for(state="hidden")


def test_keys_alone_search_move_open_and_find_what_is_similar(open_page: Open, address: str) -> None:
    page = open_page()
    shows(page, [])
    page.locator("body").press("/") if page.evaluate("document.activeElement.id") != "words" else None
    page.keyboard.type("trees")
    expected = answered(address, typed("trees"))
    shows(page, [one["id"] for one in expected])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.closest('li').dataset.id") == str(expected[1]["id"])
    page.keyboard.press("Enter")
    viewer = page.locator("#viewer")
    viewer.wait_for()
    assert f"relevance {expected[1]['relevance']:.3f}" in viewer.inner_text()
    page.keyboard.press("ArrowRight")
    assert f"relevance {expected[2]['relevance']:.3f}" in viewer.inner_text()
    page.keyboard.press("Escape")
    viewer.wait_for(state="hidden")
    page.wait_for_function(f"() => document.activeElement.closest('li')?.dataset.id === '{expected[2]['id']}'")
    page.keyboard.press("m")
    alike = ids(address, {"like": [{"id": expected[2]["id"], "weight": 1}]})
    shows(page, alike)
    assert expected[2]["id"] not in alike
    page.go_back()
    shows(page, [one["id"] for one in expected])
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "words"


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
        return [_contrast(one, other) for one, other in page.evaluate(code)]

    light, dark = (open_page("/?q=trees", color_scheme=scheme) for scheme in ("light", "dark"))
    for page in (light, dark):
        shows(page, ids(address, typed("trees")))
        assert min(contrasts(page)) >= 4.5  # WCAG AA
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert _luminance(light.evaluate(background)) > 0.8
    assert _luminance(dark.evaluate(background)) < 0.02
    dark.get_by_role("button", name="Light or dark").click()
    assert _luminance(dark.evaluate(background)) > 0.8
    dark.reload()
    assert _luminance(dark.evaluate(background)) > 0.8


def test_words_of_a_caption_are_words(open_page: Open, address: str) -> None:
    hostile = next(one for one in answered(address, typed("a"), k=100) if one["caption"] == HOSTILE)
    page = open_page(f"/?like={hostile['id']}&q={HOSTILE[:20]}")
    page.get_by_role("button", name="Details").click()
    page.goto(f"{address}/?q=a&where=id = {hostile['id']}")
    shows(page, [hostile["id"]])
    page.locator("#pictures .open").first.click()
    assert page.locator("#viewer h2").inner_text() == HOSTILE
    assert page.locator("#viewer h2 *").count() == 0
    assert "taken" not in page.title()


def test_votes_are_blind_kept_and_exported(open_page: Open, address: str, folder: Path) -> None:
    page = open_page("/?q=trees")
    page.get_by_role("button", name="Compare").click()
    page.locator(".row .open").nth(12).wait_for()  # side by side: more than one row's worth
    assert "pictures, brightness +1" in page.locator("#taste").inner_text()
    page.get_by_role("button", name="Vote blind").click()
    page.locator(".question").first.wait_for()
    titles = page.locator(".row h2")
    assert titles.all_inner_texts() == ["Upper row", "Lower row"]
    assert not any(word in " ".join(page.locator(".row").all_inner_texts()) for word in ("brightness", "relevance"))
    upper = page.evaluate(
        "[...document.querySelectorAll('.row')[0].querySelectorAll('li')].map((one) => +one.dataset.id)"
    )
    page.get_by_label("Your name with the votes").fill("anna")
    page.get_by_label("Your name with the votes").press("Tab")
    page.get_by_role("group", name="Which row fits the words better?").get_by_role("button", name="Upper").click()
    page.get_by_text("1 vote kept").wait_for()
    page.locator("body").press("2")
    page.get_by_text("2 votes kept").wait_for()
    page.locator("body").press("3")
    page.get_by_role("table").wait_for()
    plain = ids(address, typed("trees"), k=5)
    order = "ab" if upper == plain else "ba"
    assert titles.all_inner_texts()[order.index("a")] == "A · pictures, relevance alone"
    assert titles.all_inner_texts()[order.index("b")] == "B · pictures, brightness +1"
    with page.expect_download() as download:
        page.get_by_text("Export votes").click()
    download.value.save_as(folder / "hpir.jsonl")
    item = read_hpir(folder / "hpir.jsonl")[-1]
    assert (item.query, item.voters, item.shown_order) == ("trees", ("anna",), (order,))
    assert item.votes == {"accuracy": (order[0],), "aesthetics": (order[1],), "diversity": ("same",)}
    shas = {one["id"]: one["sha256"] for one in answered(address, typed("trees"), k=100)}
    assert item.group_a == tuple(shas[one] for one in plain)
    page.locator("body").press("n")
    page.wait_for_function("() => document.querySelector('#words').value !== 'trees'")
    page.get_by_text("1 of 12").wait_for()


def test_two_indexes_are_compared_but_not_by_the_ids_of_one(open_page: Open, address: str) -> None:
    like = ids(address, typed("trees"))[0]
    page = open_page(f"/?q=trees&like={like}")
    page.get_by_role("button", name="Compare").click()
    sides = page.locator("fieldset.side")
    sides.nth(1).get_by_label("Index").select_option("again")
    page.get_by_text("drop its file instead").wait_for()
    page.get_by_role("button", name=f"Remove picture {like}").click()
    page.locator(".row").nth(1).locator(".open").nth(9).wait_for()
    page.get_by_role("button", name="Vote blind").click()  # the same folder twice, so the same pictures
    page.get_by_text("nothing to vote on").wait_for()


def test_a_token_is_asked_for_once_and_the_services_limit_ends_the_wall(
    browser: Any, folder: Path, address: str
) -> None:
    with serving(
        f"pictures={folder / 'pictures.index'}", "--votes", folder / "v.jsonl", "--token", "sesame-open", "--max-k", 60
    ) as own:
        page = browser.new_page()
        page.goto(own)
        page.get_by_label("Token").fill("wrong-wrong")
        page.get_by_role("button").click()
        page.get_by_label("Token").fill("sesame-open")
        page.get_by_role("button").click()
        page.locator("#pictures img.there").first.wait_for()
        assert "sesame" not in page.url
        page.locator("#words").fill("trees")
        page.locator("#status", has_text="48 of 100").wait_for()
        page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
        page.locator("#status", has_text="60 of 100").wait_for()
        page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(500)
        assert "60 of 100" in page.locator("#status").inner_text()
        page.close()


def _luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
