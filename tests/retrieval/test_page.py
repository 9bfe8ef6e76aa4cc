"""The page, driven in a real browser against a real service: what a person does shows what the service answers."""

import base64
from pathlib import Path
from typing import Any

from tests.retrieval.browser import HOSTILE, serving
from tests.retrieval.page_client import Open, answered, ids, shows, typed


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
    open_page: Open, address: str, page_folder: Path
) -> None:
    first = answered(address, typed("a boat"), where="uri LIKE '%\\_%' ESCAPE '\\'")[0]
    content = (page_folder / "pictures" / first["uri"]).read_bytes()
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


def test_a_token_is_asked_for_once_and_the_services_limit_ends_the_wall(
    browser: Any, page_folder: Path, address: str
) -> None:
    index = page_folder / "pictures.index"
    with serving(
        f"pictures={index}",
        "--votes",
        page_folder / "v.jsonl",
        "--token",
        "sesame-open",
        "--max-k",
        60,
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
