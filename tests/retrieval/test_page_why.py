""" "Why?" in the page, in a real browser: a critic's words under its name, apart from what was measured; and what is
shown where it has none, is slow, or is not there."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indexes.records.critiques import FILE, Critique, write_critiques
from tests.retrieval.browser import HOSTILE, serving
from tests.retrieval.page_client import Open, answered, contrast, ids, shows, typed

KEPT = "A quiet <i>picture</i> of water."


@pytest.fixture(scope="module")
def address(browser: Any, page_folder: Path, chat_server: str) -> Iterator[str]:
    index = page_folder / "pictures.index"
    critic = f"llm:sees@{chat_server}"
    with serving(f"pictures={index}", "--votes", page_folder / "votes.jsonl", "--critic", critic) as address:
        yield address


def opened(open_page: Open, address: str, **settings: Any) -> Any:
    """The page, with the first picture in the viewer."""
    page = open_page("/?q=trees", **settings)
    shows(page, ids(address, typed("trees")))
    page.locator("#pictures .open").first.click()
    page.locator("#viewer").wait_for()
    return page


def questions(chat_server: str) -> int:
    with urllib.request.urlopen(chat_server.removesuffix("/v1") + "/log") as reply:
        return sum(one["model"] == "sees" for one in json.load(reply)["requests"])


def test_a_critic_is_asked_by_key_or_button_and_its_words_are_kept(
    open_page: Open, address: str, chat_server: str
) -> None:
    page = opened(open_page, address)
    viewer, words, why = page.locator("#viewer"), page.locator(".why blockquote"), page.locator("section.why")
    assert not why.is_visible(), "nobody has asked"
    before = questions(chat_server)
    page.keyboard.press("w")
    words.wait_for()
    assert words.inner_text() in ("A picture full of light.", "A picture full of shadow.")
    assert page.locator(".why .by").inner_text() == "llm:sees · a model’s words, not a measurement"
    assert page.locator(".scores").count() == 1
    assert page.locator(".why .scores, .scores .why").count() == 0, "measured facts stand elsewhere"
    assert "measured" in viewer.locator(".of").inner_text()
    page.get_by_role("button", name="Form").click()
    page.locator(".why .kinds [aria-pressed=true]", has_text="Form").wait_for()
    words.wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Form"
    assert questions(chat_server) == before + 2
    page.keyboard.press("w")
    why.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.textContent") == "Why?", "keys are still heard"
    page.keyboard.press("ArrowRight")
    assert not why.is_visible(), "the next picture was not asked about"
    page.get_by_role("button", name="Why?").click()
    words.wait_for()
    page.keyboard.press("ArrowLeft")
    why.wait_for(state="hidden")  # as it was left
    page.keyboard.press("?")
    words.wait_for()
    page.keyboard.press("ArrowRight")
    words.wait_for()
    assert questions(chat_server) == before + 3, "what was said is remembered"
    page.keyboard.press("Escape")
    viewer.wait_for(state="hidden")


def test_no_words_are_a_reason_and_can_be_asked_for_again(open_page: Open, address: str) -> None:
    page = opened(open_page, address)
    answers: list[Any] = [
        {"status": 503, "headers": {"retry-after": "30"}, "json": {"error": "8 questions wait for the critic"}},
        {"json": {"answer": {"critic": "llm:sees", "text": None, "fallback": "refused"}}},
        {"json": {"answer": {"critic": "llm:sees", "text": HOSTILE, "fallback": ""}}},
    ]
    page.route("**/critique/**", lambda route: route.fulfill(**answers.pop(0)))
    page.get_by_role("button", name="Why?").click()
    page.get_by_text("has no words for this: 8 questions wait for the critic").wait_for()
    page.get_by_role("button", name="Ask again").click()
    page.get_by_text("llm:sees has no words for this: refused.").wait_for()
    assert page.locator(".why blockquote").count() == 0
    page.get_by_role("button", name="Ask again").click()
    page.locator(".why blockquote").wait_for()
    assert page.locator(".why blockquote").inner_text() == HOSTILE
    assert page.locator(".why blockquote *").count() == 0
    assert "taken" not in page.title()


def test_a_slow_critic_is_waited_for_while_the_page_goes_on(open_page: Open, address: str) -> None:
    page, held = opened(open_page, address), []
    page.route("**/critique/**", lambda route: held.append(route))
    page.keyboard.press("w")
    page.locator(".looking", has_text="llm:sees is looking").wait_for()
    page.locator(".seconds", has_text=re.compile(r"\d s")).wait_for()
    page.keyboard.press("ArrowRight")
    assert page.locator(".looking").count() == 0
    held[0].fulfill(json={"answer": {"critic": "llm:sees", "text": "At last.", "fallback": ""}})
    page.wait_for_timeout(200)
    assert "At last." not in page.locator("#viewer").inner_text(), "it is about the picture before"
    page.keyboard.press("ArrowLeft")
    page.get_by_text("At last.").wait_for()


def test_texts_of_the_index_are_shown_at_once_under_their_critics_name(
    open_page: Open, address: str, page_folder: Path
) -> None:
    index = page_folder / "pictures.index"
    first, second = answered(address, typed("trees"))[:2]
    write_critiques(index, [Critique(first["sha256"], "light", "a-critic", "1", "How is the light?", KEPT)])
    try:
        page = opened(open_page, address)
        page.locator(".why blockquote", has_text=KEPT).wait_for()
        assert page.locator(".why .by b").inner_text() == "a-critic"
        assert page.locator(".why .kinds .plain").all_inner_texts() == ["In short", "Form", "Feeling", "light"]
        page.get_by_role("button", name="In short").click()
        page.locator(".why .by b", has_text="llm:sees").wait_for()
        page.keyboard.press("ArrowRight")
        page.locator("#viewer h2", has_text=second["caption"][:20]).wait_for()
        assert not page.locator("section.why").is_visible()
    finally:
        (index / FILE).unlink()


@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 780), (1280, 800)])
def test_words_can_be_read_on_any_screen(open_page: Open, address: str, width: int, height: int) -> None:
    narrow = {"has_touch": True, "is_mobile": True} if width < 640 else {}
    page = opened(open_page, address, width=width, height=height, **narrow)
    text = "The light comes low from the left and leaves the far shore in shade. " * 6
    page.route(
        "**/critique/**",
        lambda route: route.fulfill(json={"answer": {"critic": "llm:sees", "text": text, "fallback": ""}}),
    )
    page.get_by_role("button", name="Why?").click()
    words = page.locator(".why blockquote")
    words.wait_for()
    words.scroll_into_view_if_needed()
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    box, about = words.bounding_box(), page.locator("#viewer .about").bounding_box()
    assert about["x"] <= box["x"]
    assert box["x"] + box["width"] <= about["x"] + about["width"] <= width
    assert page.locator("#viewer img").first.bounding_box()["height"] > height / 5, "the picture is still seen"
    small = page.evaluate(
        """() => [...document.querySelectorAll(".why button")].filter((one) => one.checkVisibility())
          .filter((one) => one.getBoundingClientRect().height < 24).length"""
    )
    assert small == 0
    colours = """() => [".why blockquote", ".why .by", ".why .kinds .plain"].map((one) =>
      getComputedStyle(document.querySelector(one)).color)"""
    assert min(contrast(one, "rgb(16, 15, 14)") for one in page.evaluate(colours)) >= 4.5


def test_a_service_without_a_critic_has_no_why(browser: Any, page_folder: Path, address: str) -> None:
    with serving(f"pictures={page_folder / 'pictures.index'}", "--votes", page_folder / "v.jsonl") as own:
        page = browser.new_page()
        page.goto(f"{own}/?q=trees")
        shows(page, ids(own, typed("trees")))
        assert not page.locator("#why-key").is_visible()
        page.locator("#pictures .open").first.click()
        page.locator("#viewer").wait_for()
        page.keyboard.press("w")
        assert not page.get_by_role("button", name="Why?").is_visible()
        assert not page.locator("section.why").is_visible()
        page.close()
