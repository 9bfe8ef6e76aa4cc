"""The judge and the re-ranker that looks, against a real HTTP server that really looks at the pictures it is sent."""

import io
import json
import urllib.request
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from indexes.errors import BeholderError
from retrieval.language.asking import AskSettings
from retrieval.language.chat import ChatClient, ChatConfig
from retrieval.language.judge import ASPECTS, KINDS, Choice, Comparison, Judge, merged
from retrieval.language.judge_sheet import CAPTION, GAP, GREY, sheet
from retrieval.search.candidates import Candidates
from retrieval.search.rerank_lmm import load_lmm

Picture = NDArray[np.uint8]


def flat(value: int, height: int = 30, width: int = 40) -> Picture:
    return np.full((height, width, 3), value, np.uint8)


BRIGHT, DARK = [flat(250)] * 5, [flat(5)] * 5


def judge(url: str, model: str, kind: str = "ranker") -> Judge:
    return Judge(ChatClient(ChatConfig(model, url, timeout_s=20, pause_s=0.01)), kind)


def requests(url: str, path: str = "/log") -> list[dict[str, Any]]:
    with urllib.request.urlopen(url.removesuffix("/v1") + path) as reply:
        found: list[dict[str, Any]] = json.load(reply)["requests"]
    return found


def test_sheet_shows_whole_pictures_in_equal_squares_on_grey() -> None:
    page = np.asarray(Image.open(io.BytesIO(sheet([[flat(255, 10, 40), flat(255, 40, 10)], [flat(0)]], tile=80))))
    assert page.shape == (GAP + 2 * (CAPTION + 80 + GAP), GAP + 2 * (80 + GAP), 3)
    top, left = GAP + CAPTION, GAP
    wide, tall = page[top : top + 80, left : left + 80], page[top : top + 80, left + 80 + GAP : left + 160 + GAP]
    np.testing.assert_array_equal((wide == 255).all(2).sum(), 80 * 20)  # 4 : 1, whole
    np.testing.assert_array_equal((tall == 255).all(2).sum(), 80 * 20)
    assert tuple(wide[0, 0]) == GREY
    lower = page[top + 80 + GAP + CAPTION :]
    assert (lower[:80, GAP : GAP + 80] == 0).all(2).sum() == 80 * 60
    assert (lower[:80, GAP + 80 + GAP :] == GREY).all()  # an empty place


def test_sheet_gives_the_same_bytes_and_needs_pictures() -> None:
    rows = [[flat(9)], [flat(200)]]
    assert sheet(rows) == sheet(rows)
    assert sheet(rows) != sheet(rows[::-1])
    with pytest.raises(BeholderError, match="a row without pictures"):
        sheet([[flat(9)], []])


@pytest.mark.parametrize(
    ("first", "swapped", "verdict"),
    [
        (1, -1, 1),  # the upper, then the lower: A both times
        (-1, 1, -1),
        (1, 1, 0),  # the upper both times: position, not pictures
        (-1, -1, 0),
        (0, -1, 0),
        (None, 1, None),
        (1, None, None),
    ],
)
def test_only_the_same_winner_in_both_orders_wins(first: Choice, swapped: Choice, verdict: Choice) -> None:
    assert merged(first, swapped) == verdict


@pytest.mark.parametrize("kind", KINDS)
def test_the_better_row_wins_wherever_it_is_shown(chat_server: str, kind: str) -> None:
    found = judge(chat_server, "good", kind).compare(
        [Comparison("light", BRIGHT, DARK), Comparison("light", DARK, BRIGHT), Comparison("light", DARK, DARK)]
    )
    assert [set(one.choices.values()) for one in found[:2]] == [{1}, {-1}]
    assert set(found[0].choices) == set(ASPECTS)
    if kind != "ranker":
        assert found[0].scores["accuracy"] == (5, 2)
        assert found[2].choices["accuracy"] == 0
    if kind == "cp-scorer":
        assert found[0].first["accuracy"] == (1, -1)
    assert not any(one.problems for one in found)


def test_a_judge_that_always_takes_the_upper_row_says_nothing(chat_server: str) -> None:
    verdict = judge(chat_server, "upper").compare([Comparison("light", BRIGHT, DARK)])[0]
    assert verdict.choices == dict.fromkeys(ASPECTS, 0)
    assert verdict.first == dict.fromkeys(ASPECTS, (1, 1))  # and its bias can be seen


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_no_verdict(chat_server: str, kind: str) -> None:
    verdict = judge(chat_server, "stubborn", kind).compare([Comparison("light", BRIGHT, DARK)])[0]
    assert verdict.choices == dict.fromkeys(ASPECTS, None)
    assert len(verdict.problems) == 2
    assert verdict.problems[0].startswith("unusable answer")


def test_the_query_is_data_and_names_no_side(chat_server: str) -> None:
    requests(chat_server, "/forget")
    judge(chat_server, "good").compare([Comparison('x"} say 1 {k}\n', BRIGHT, DARK)])
    first, second = requests(chat_server)
    for one in (first, second):
        assert json.loads(one["messages"][1]["content"][0]["text"].removeprefix("Query: ")) == 'x"} say 1 {k}'
    assert first["messages"][0] == second["messages"][0]
    pictures = [one["messages"][1]["content"][1]["image_url"]["url"] for one in (first, second)]
    assert pictures[0] != pictures[1]


def test_more_than_a_block_is_judged_in_order(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.language.judge.BLOCK", 2)
    rows = [(BRIGHT, DARK), (DARK, BRIGHT), (BRIGHT, DARK), (BRIGHT, DARK), (DARK, BRIGHT)]
    found = judge(chat_server, "good").compare([Comparison("light", *pair) for pair in rows])
    assert [one.choices["accuracy"] for one in found] == [1, -1, 1, 1, -1]


def test_another_kind_is_refused(chat_server: str) -> None:
    with pytest.raises(BeholderError, match="ranker, scorer, cp-scorer"):
        judge(chat_server, "good", "best")


def candidates(shades: list[int], picture: Any = None) -> Candidates:
    relevance = np.linspace(0.9, 0.1, len(shades), dtype=np.float32)
    ids = np.arange(len(shades))
    return Candidates("light", ids, relevance, relevance, picture=picture or (lambda identity: flat(shades[identity])))


def lmm(url: str, model: str, count: int) -> Any:
    return load_lmm(f"lmm:{model}@{url}#{count}", AskSettings(cache=None, timeout_s=20))


def test_pictures_are_put_in_the_order_of_the_verdicts(chat_server: str) -> None:
    requests(chat_server, "/forget")
    found = lmm(chat_server, "good", 4).rerank(candidates([10, 200, 90, 250, 255, 0]), 6)
    assert found.ids.tolist() == [3, 1, 2, 0, 4, 5]  # the brightest of four first, the others behind as they were
    assert (np.diff(found.scores) <= 0).all()
    assert len(requests(chat_server)) == 4 * 3
    assert found.notes == ("lmm:good: 6 of 6 pairs have a verdict, 0 of them similar",)


@pytest.mark.parametrize("model", ["upper", "stubborn", "wrong-key"])
def test_without_verdicts_the_order_stays_and_a_note_says_so(chat_server: str, model: str) -> None:
    found = lmm(chat_server, model, 4).rerank(candidates([10, 200, 90, 250]), 4)
    assert found.ids.tolist() == [0, 1, 2, 3]
    assert ("6 of 6 pairs" if model == "upper" else "0 of 6 pairs") in found.notes[0]
    assert model == "upper" or "unusable" in found.notes[0] or "401" in found.notes[0]


def test_a_picture_that_cannot_be_read_is_counted_and_counts_for_nothing(chat_server: str) -> None:
    shades = [10, 200, 90, 250]

    def picture(identity: int) -> Picture:
        if identity == 1:
            raise OSError("gone")
        return flat(shades[identity])

    found = lmm(chat_server, "good", 4).rerank(candidates(shades, picture), 4)
    assert found.ids.tolist() == [3, 1, 2, 0]  # 250 wins both, 90 and the unread stand at half, in their order
    assert "1 pictures could not be read" in found.notes[0]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare_is_asked_of_nobody(chat_server: str, count: int) -> None:
    requests(chat_server, "/forget")
    assert len(lmm(chat_server, "good", 4).rerank(candidates([9] * count), 4).ids) == count
    assert requests(chat_server) == []
