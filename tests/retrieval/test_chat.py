"""The chat client against a real HTTP server: how servers differ, fail or attack, and what comes of each."""

import json
import sqlite3
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from indexes.errors import BeholderError, FormatError
from retrieval.language.chat import ChatClient, ChatConfig, checked_url
from retrieval.language.chat_exchange import Answer, Failure, Question
from retrieval.language.chat_schema import find_json, misfit, object_schema

SCHEMA = object_schema({"query": {"type": "string"}})
QUESTION = Question("Say it as a caption.", 'Query: "a harbour"', schema=SCHEMA)
ANSWER = {"query": "a harbour in soft evening light"}
SOON = 12.0  # seconds: the servers that hang do so for 20 at least, and the busiest machine keeps it


def client(url: str, model: str, **settings: Any) -> ChatClient:
    return ChatClient(ChatConfig(model, url, **{"timeout_s": 20.0, "pause_s": 0.01, **settings}))


def log(url: str, *, forget: bool = False) -> dict[str, Any]:
    path = "/forget" if forget else "/log"
    with urllib.request.urlopen(url.removesuffix("/v1") + path) as reply:
        content: dict[str, Any] = json.load(reply)
    return content


@pytest.fixture
def server(chat_server: str) -> str:
    log(chat_server, forget=True)
    return chat_server


@pytest.mark.parametrize(
    ("model", "form", "requests"),
    [
        ("good", "json_schema", 1),
        ("ignores-forms", "json_schema", 1),
        ("thinks", "json_schema", 1),
        ("parts", "json_schema", 1),
        ("json-object-only", "json_object", 2),
        ("no-forms", "plain", 3),
        ("breaks-on-schema", "json_object", 2),
        ("new-parameters", "json_schema", 3),
        ("corrects-itself", "json_schema", 2),
        ("flaky", "json_schema", 3),
        ("hangs-up", "json_schema", 2),
    ],
)
def test_servers_of_all_kinds_are_understood(server: str, model: str, form: str, requests: int) -> None:
    asked = client(server, model)
    answer = asked.ask(QUESTION)
    assert isinstance(answer, Answer), answer
    assert answer.value == ANSWER
    assert answer.form == form
    assert len(log(server)["requests"]) == requests


def test_a_form_that_worked_is_asked_for_at_once_the_next_time(server: str) -> None:
    asked = client(server, "no-forms")
    for text in ("a harbour", "a boat"):
        assert isinstance(asked.ask(Question("Say it.", f'Query: "{text}"', schema=SCHEMA)), Answer)
    assert len(log(server)["requests"]) == 4


def test_retry_after_is_waited_for(server: str) -> None:
    started = time.monotonic()
    assert isinstance(client(server, "busy").ask(QUESTION), Answer)
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("model", ["slow", "drips", "drips-headers"])
def test_a_slow_server_is_left_at_the_deadline(server: str, model: str) -> None:
    started = time.monotonic()
    failure = client(server, model, timeout_s=0.5).ask(QUESTION)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("timed out: no answer in 0.5 s")
    assert time.monotonic() - started < 0.5 + SOON
    assert len(log(server)["requests"]) <= 1  # the time is that of all attempts, so there is no second one


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("huge", "unusable answer: an answer of more than"),
        ("cut", "no connection: the answer was cut after 13 of 10000"),
        ("html", "unusable answer: no chat completion: <html>"),
        ("nested", "unusable answer: no JSON object"),
        ("nested-reply", "unusable answer: no chat completion"),
        ("silent", "unusable answer: nothing was said"),
        ("stubborn", "unusable answer: no JSON object: I would rather"),
        ("declines-by-field", "refused: I will not."),
        ("redirects", "status 302"),
    ],
)
def test_a_broken_or_hostile_server_is_a_failure_with_its_reason(server: str, model: str, reason: str) -> None:
    failure = client(server, model).ask(QUESTION)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith(reason), failure.reason
    assert not any(one["path"] == "/stolen" for one in log(server)["requests"])


@pytest.mark.parametrize(("model", "reason"), [("wrong-key", "status 401: Incorrect API"), ("missing", "status 404")])
def test_what_will_fail_for_every_question_is_asked_once(server: str, model: str, reason: str) -> None:
    questions = [Question("Say it.", f'Query: "boat {place}"', schema=SCHEMA) for place in range(50)]
    answers = client(server, model, concurrency=2).ask_many(questions)
    assert all(isinstance(one, Failure) and one.hopeless and one.reason.startswith(reason) for one in answers)
    assert len(log(server)["requests"]) <= 2


def test_nobody_at_the_address_is_hopeless() -> None:
    failure = client("http://127.0.0.1:9", "good", retries=1).ask(QUESTION)
    assert isinstance(failure, Failure)
    assert failure.hopeless
    assert failure.reason.startswith("no connection")


def test_a_host_that_does_not_exist_is_hopeless_and_a_poisoned_question_is_not(server: str) -> None:
    failure = client("http://no-such-host.invalid/v1", "good", retries=0).ask(QUESTION)
    assert isinstance(failure, Failure)
    assert failure.hopeless
    failure = client(server, "cut", retries=0).ask(QUESTION)
    assert isinstance(failure, Failure)
    assert not failure.hopeless


def test_many_answers_keep_their_order_and_no_more_than_allowed_are_asked_at_once(server: str) -> None:
    questions = [Question("Say it.", f'Query: "boat {place}"', schema=SCHEMA) for place in range(12)]
    told: list[tuple[int, int]] = []
    answers = client(server, "leisurely", concurrency=3).ask_many(questions, lambda *done: told.append(done))
    assert [one.value["query"].split()[1] for one in answers if isinstance(one, Answer)] == [str(i) for i in range(12)]
    assert told == [(done, 12) for done in range(1, 13)]
    assert log(server)["most_at_once"] == {"leisurely": 3}


def test_budgets_are_kept(server: str) -> None:
    questions = [Question("Say it.", f'Query: "boat {place}"', schema=SCHEMA) for place in range(9)]
    answers = client(server, "good", concurrency=1, max_requests=4).ask_many(questions)
    assert [isinstance(one, Answer) for one in answers] == [True] * 4 + [False] * 5
    assert len(log(server)["requests"]) == 4
    answers = client(server, "good", concurrency=1, max_total_tokens=100).ask_many(questions)  # 40 tokens an answer
    assert [isinstance(one, Answer) for one in answers] == [True] * 3 + [False] * 6
    assert isinstance(answers[-1], Failure)
    assert answers[-1].reason.startswith("budget: 120 tokens")


def test_answers_are_kept_by_all_that_decides_them(server: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "sub" / "answers.sqlite")
    first = client(server, "good", cache=cache).ask(QUESTION)
    again = client(server, "good", cache=cache).ask(QUESTION)
    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert (first.cached, again.cached) == (False, True)
    assert again.value == first.value
    assert len(log(server)["requests"]) == 1
    others = [
        (client(server, "thinks", cache=cache), QUESTION),
        (client(server, "good", cache=cache, max_answer_tokens=64), QUESTION),
        (client(server, "good", cache=cache), Question("Otherwise.", QUESTION.user, schema=SCHEMA)),
        (client(server, "good", cache=cache), Question(QUESTION.system, 'Query: "a boat"', schema=SCHEMA)),
        (client(server, "good", cache=cache), Question(QUESTION.system, QUESTION.user, (b"\xff\xd8\xff",), SCHEMA)),
    ]
    for asked, question in others:
        answer = asked.ask(question)
        assert isinstance(answer, Answer)
        assert not answer.cached
    assert (tmp_path / "sub" / "answers.sqlite").stat().st_mode & 0o077 == 0


def test_failures_are_not_kept_and_a_damaged_cache_is_said(server: str, tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    client(server, "stubborn", cache=str(cache)).ask(QUESTION)
    asked = client(server, "good", cache=str(cache))
    asked.ask(QUESTION)
    with sqlite3.connect(cache) as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (1,)
        database.execute("""UPDATE answers SET answer = '{"text": "[]", "form": "plain", "tokens": 1}'""")
    answer = asked.ask(QUESTION)
    assert isinstance(answer, Answer)
    assert not answer.cached  # what no longer fits is asked again
    cache.write_bytes(b"no database" * 100)
    with pytest.raises(FormatError, match="Delete it"):
        client(server, "good", cache=str(cache))


def test_a_key_reaches_only_whom_it_was_given_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str | None:
        log(server, forget=True)
        client(server, "good").ask(QUESTION)
        sent: str | None = log(server)["requests"][0]["key"]
        return sent

    assert key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert key() is None
    monkeypatch.setenv("OPENAI_BASE_URL", server)
    assert key() == "Bearer sk-openai"
    monkeypatch.setenv("BEHOLDER_LLM_KEY", "mine")
    assert key() == "Bearer mine"
    with pytest.raises(BeholderError, match="unencrypted to example"):
        client("http://example.org/v1", "good")
    monkeypatch.setenv("BEHOLDER_LLM_KEY", "mine\r\nX-Other: 1")
    with pytest.raises(BeholderError, match="odd characters"):
        client(server, "good")


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://api.example.org/openai/v2", "https://api.example.org/openai/v2"),
        ("http://localhost/v1/chat/completions", "http://localhost/v1"),
    ],
)
def test_urls_are_taken_as_people_write_them(given: str, base: str) -> None:
    assert checked_url(given) == base


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "file:///etc/passwd", "ftp://host/v1", "http://me:secret@host/v1", "http://", "http://host/v1?k=1",
     "http://ho st/v1", "http://host:port/v1", "http://host/v1\r\nX: 1"],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BeholderError, match="no URL of a server"):
        checked_url(url)


def test_pictures_go_as_data_uris(server: str) -> None:
    question = Question("Look.", 'Query: "x"', (b"\x89PNG....", b"\xff\xd8\xff..."))
    assert isinstance(client(server, "good").ask(question), Answer)
    content = log(server)["requests"][0]["messages"][1]["content"]
    assert [one["type"] for one in content] == ["text", "image_url", "image_url"]
    assert [one["image_url"]["url"][:22] for one in content[1:]] == ["data:image/png;base64,", "data:image/jpeg;base64"]
    with pytest.raises(BeholderError, match="neither PNG"):
        client(server, "good").ask(Question("Look.", "x", (b"GIF89a",)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"query": "a"}', {"query": "a"}),
        ('first {"other": 1} then {"query": "a"} and {"query": "b"}', {"query": "a"}),
        ('<think>{"query": "no"}</think>{"query": "a"}', {"query": "a"}),
        ('<think>{"query": "no"} and then it was cut', None),
        ('{"query": 3}', None),
        ('{"query": "cut', None),
        ('["query"]', None),
        ('{"query": NaN}', None),
        ("", None),
    ],
)
def test_the_first_object_that_fits_is_found(text: str, value: Any) -> None:
    found, wrong = find_json(text, SCHEMA)
    assert found == value
    assert (wrong is None) == (value is not None)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "enum": [1, 2]}, 2, 3),
        ({"type": "integer", "minimum": 1, "maximum": 5}, 5, 6),
        ({"type": "integer"}, 1, True),
        ({"type": "number"}, 1.5, "1.5"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 2}, ["a"], ["a", 1]),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 2}, ["a", "b"], ["a", "b", "c"]),
        (object_schema({"a": {"type": "string"}}), {"a": "", "more": 1}, {}),
        (object_schema({"a": object_schema({"b": {"type": "string"}})}), {"a": {"b": "x"}}, {"a": {"b": 1}}),
    ],
)
def test_schemas_are_held_to(schema: Any, good: Any, bad: Any) -> None:
    assert misfit(good, schema) is None
    assert misfit(bad, schema) is not None
