"""Comparisons are blind and fair, votes reach the file, the export is theirs; the page's files and nothing else."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from indexes.errors import BeholderError
from retrieval.hpir import read_hpir
from retrieval.service.errors import Hidden, handlers
from retrieval.service.page import DOOR, page_files, page_router
from retrieval.service.taste import BLIND, Pending, taste_router
from retrieval.votes import ASPECTS, Shown, Side, VoteBook

PLAIN: dict[str, Any] = {"index": "art"}
PRETTY: dict[str, Any] = {"index": "art", "beauty": {"saturation": 1.0}}


async def find(query: Any, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Pictures 0 and on; the other way round with beauty."""
    if query == {"text": []}:
        raise BeholderError("a query without parts")
    ids = list(range(0 if "where" in config else config["k"]))[:: -1 if "beauty" in config else 1]
    return [
        {
            "id": one,
            "rank": 1,
            "sha256": f"{one:064x}",
            "relevance": 0.5,
            "scores": {"saturation": 0.1},
            "uri": "a/b.jpg",
            "width": 4,
            "height": 3,
            "caption": f"picture {one}",
            "image": f"/images/{one}",
            "thumbnail": f"/thumbnails/{one}",
        }
        for one in ids
    ]


def opened(votes: Path) -> TestClient:
    app = FastAPI(exception_handlers=handlers(Hidden([], [])))
    app.include_router(taste_router(find, VoteBook(votes)))
    app.include_router(page_router())
    return TestClient(app)


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    return tmp_path / "votes.jsonl"


@pytest.fixture
def client(votes: Path) -> TestClient:
    return opened(votes)


def compared(client: TestClient, query: Any = "a boat", a: Any = PLAIN, b: Any = PRETTY) -> dict[str, Any]:
    answer = client.post("/compare", json={"query": query, "a": a, "b": b})
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def vote(client: TestClient, token: str, aspect: str, choice: int, voter: str = "anna", status: int = 200) -> Any:
    answer = client.post("/votes", json={"token": token, "voter": voter, "aspect": aspect, "choice": choice})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_rows_show_nothing_that_tells_them_apart_and_come_in_either_order(client: TestClient) -> None:
    orders = set()
    for _ in range(60):  # one order only: 1 in 2^59
        content = compared(client)
        assert [len(row) for row in content["rows"]] == [5, 5]
        assert all(set(one) == set(BLIND) for row in content["rows"] for one in row)
        orders.add(tuple(row[0]["id"] for row in content["rows"]))
        assert "beauty" not in json.dumps(content)
    assert orders == {(0, 4), (4, 0)}


def test_three_votes_reveal_which_row_was_which_and_are_in_the_export(client: TestClient, votes: Path) -> None:
    content = compared(client)
    plain_above = content["rows"][0][0]["id"] == 0
    assert vote(client, content["token"], "accuracy", 0)["revealed"] is None
    assert vote(client, content["token"], "aesthetics", 1)["revealed"] is None
    last = vote(client, content["token"], "diversity", -1)
    upper, lower = ("a", "b") if plain_above else ("b", "a")
    assert last["revealed"]["order"] == upper + lower
    assert last["revealed"]["voted"] == {"accuracy": upper, "aesthetics": lower, "diversity": "same"}
    assert last["revealed"]["tally"]["accuracy"] == {"a": 0, "b": 0, "same": 0, upper: 1}
    exported = client.get("/votes/export")
    assert "hpir.jsonl" in exported.headers["content-disposition"]
    votes.with_name("hpir.jsonl").write_bytes(exported.content)
    (item,) = read_hpir(votes.with_name("hpir.jsonl"))
    assert item.group_a == tuple(f"{one:064x}" for one in range(5))
    assert item.group_b == item.group_a[::-1]
    assert item.votes == {"accuracy": (upper,), "aesthetics": (lower,), "diversity": ("same",)}
    assert item.systems == ({"a": {**PLAIN, "k": 5}, "b": {**PRETTY, "k": 5}},)
    assert item.query == "a boat"


def test_the_upper_row_wins_half_of_the_time_when_people_always_pick_it(client: TestClient) -> None:
    for number in range(40):
        vote(client, compared(client)["token"], "accuracy", 0, f"v{number}")
    item = [json.loads(line) for line in client.get("/votes/export").text.splitlines()][1]
    for order, choice in zip(item["shown_order"], item["votes"]["accuracy"], strict=True):
        assert order[0] == choice
    assert 0 < item["votes"]["accuracy"].count("a") < 40


def test_votes_are_kept_over_a_restart_but_not_what_was_only_shown(client: TestClient, votes: Path) -> None:
    token = compared(client)["token"]
    vote(client, token, "accuracy", 0)
    again = opened(votes)
    assert len(again.get("/votes/export").text.splitlines()) == 2
    assert "compare again" in vote(again, token, "accuracy", 0, status=410)["error"]


def test_settings_that_give_the_same_pictures_are_nothing_to_vote_on(client: TestClient, votes: Path) -> None:
    content = compared(client, a=PLAIN, b=PLAIN)
    assert content["same"]
    assert content["token"] is None
    assert not votes.exists()


def test_a_query_is_one_item_in_whichever_form_it_was_sent(client: TestClient) -> None:
    for query in ("a boat", {"text": ["a boat"]}, {"text": [{"text": "a boat", "weight": 1}], "not": []}):
        vote(client, compared(client, query)["token"], "accuracy", 0)
    vote(client, compared(client, {"text": [{"text": "a boat", "weight": 2}]})["token"], "accuracy", 0)
    items = [json.loads(line) for line in client.get("/votes/export").text.splitlines()[1:]]
    assert [(item["query"], len(item["voters"])) for item in items] == [("a boat", 3), ("a boat", 1)]


def test_an_empty_row_is_nothing_to_vote_on(client: TestClient) -> None:
    content = compared(client, b={**PRETTY, "where": "id < 0"})
    assert content["token"] is None
    assert not content["same"]


def test_pictures_of_a_query_are_kept_as_their_sha256_only(client: TestClient, votes: Path) -> None:
    data = base64.b64encode(b"a picture").decode()
    query = {"text": [{"text": "a boat", "weight": 1}], "not": ["people"]}
    for given in (data, f"data:image/png;base64,{data}"):
        content = compared(client, {**query, "image": [{"data": given, "weight": 0.5}]})
        vote(client, content["token"], "accuracy", 0)
    _, item = client.get("/votes/export").text.splitlines()
    assert data not in votes.read_text()
    found = json.loads(item)
    assert found["query"] == "a boat"
    assert found["parts"]["image"] == [{"sha256": hashlib.sha256(b"a picture").hexdigest(), "weight": 0.5}]
    assert found["parts"]["not"] == ["people"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"aspect": "beauty"}, 400),
        ({"choice": 2}, 400),
        ({"voter": " "}, 400),
        ({"token": "unknown"}, 410),
        ({"choice": "x"}, 422),
    ],
)
def test_a_vote_that_makes_no_sense_is_one_line(client: TestClient, body: dict[str, Any], status: int) -> None:
    given = {"token": compared(client)["token"], "voter": "anna", "aspect": "accuracy", "choice": 0, **body}
    answer = client.post("/votes", json=given)
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("config", [{"k": 0}, {"k": 21}, {"k": "five"}, {"k": True}])
def test_a_row_has_1_to_20_pictures(client: TestClient, config: dict[str, Any]) -> None:
    answer = client.post("/compare", json={"query": "a boat", "a": config, "b": {}})
    assert answer.status_code == 400
    assert "1 to 20" in answer.json()["error"]


def test_what_search_refuses_compare_refuses(client: TestClient) -> None:
    assert client.post("/compare", json={"query": {"text": []}}).json() == {"error": "a query without parts"}


def test_only_the_latest_comparisons_are_kept() -> None:
    pending, side = Pending(3), Side({}, ("1",))
    for number in range(5):
        pending.keep(Shown(f"t{number}", "", {}, side, side, "ab"))
    assert [pending.get(f"t{number}") is not None for number in range(5)] == [False, False, True, True, True]


def test_the_page_and_its_files_are_served_and_nothing_else(client: TestClient) -> None:
    home = client.get("/")
    assert home.status_code == 200
    assert "default-src 'none'" in home.headers["content-security-policy"]
    assert "unsafe" not in home.headers["content-security-policy"]
    for name in page_files():
        assert client.get(f"/page/{name}").status_code == 200
    for name in ("NEWSREADER-OFL.txt", "..%2fpage.py", "../page.py", "%2e%2e/page.py", "index.html%00", "missing.js"):
        assert client.get(f"/page/{name}").status_code == 404


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for name, (content, _) in page_files().items():
        text = content.decode("latin-1") if not name.endswith(".woff2") else ""
        assert "http://" not in text.replace("http://www.w3.org/", ""), name
        assert "https://" not in text, name
        assert "innerHTML" not in text, name  # words and captions only ever become text
    assert b"src=" not in DOOR
    assert set(ASPECTS) == {"accuracy", "aesthetics", "diversity"}
