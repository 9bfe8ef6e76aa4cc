"""A service with a critic: what it is asked, what it says, and what is shown and counted where it says nothing. No
search waits for it, and no words stand in for its own."""

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexes import load_index
from indexes.errors import BeholderError
from indexes.records.critiques import Critique, write_critiques
from retrieval.critic.critic import Ask, Said
from retrieval.critic.questions import KINDS
from retrieval.service.config import ServeConfig
from retrieval.service.critic_desk import CriticDesk
from retrieval.service.serve import application, open_service
from retrieval.service.service import Service
from tests.retrieval.served import make_index, unit_rows

LONG = 60.0  # seconds


class Slow:
    """A critic that says what it is told to, as often as it is let go."""

    name, identity = "slow", "1"

    def __init__(self, *, free: bool = True, says: Said | Exception | None = None) -> None:
        self.asked: list[Ask] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.says = says if says is not None else Said("Full of light.")
        if free:
            self.go.set()

    def say(self, requests: Sequence[Ask], progress: Any = None) -> list[Said]:
        self.asked += requests
        self.begun.set()
        assert self.go.wait(LONG)
        if isinstance(self.says, Exception):
            raise self.says
        return [self.says for _ in requests]

    def rate(self, pictures: Any) -> Any:
        raise AssertionError("not asked")

    prefer = rate


@pytest.fixture
def index(pictures: Path, tmp_path: Path) -> Path:
    return make_index(tmp_path / "noise.index", pictures, ["p000.jpg", "p001.jpg", "p002.jpg"])


@contextmanager
def opened(index: Path, tmp_path: Path, **settings: Any) -> Iterator[tuple[TestClient, Service]]:
    given = {"hosts": ("testserver",), "watch_s": 0, "timeout_s": LONG, "slow_timeout_s": LONG, "drain_s": 5}
    service = open_service(ServeConfig(**{"indexes": (("noise", index),), **given, **settings}))
    with TestClient(application(service, tmp_path / "votes.jsonl")) as client:
        yield client, service


@contextmanager
def asking(
    critic: Slow, index: Path, tmp_path: Path, *, timeout_s: float = LONG, most_waiting: int = 8, at_once: int = 1
) -> Iterator[tuple[TestClient, CriticDesk]]:
    with opened(index, tmp_path) as (client, service):
        settings = {"timeout_s": timeout_s, "most_waiting": most_waiting, "at_once": at_once}
        service.critic = CriticDesk(critic, service.metrics, **settings)  # type: ignore[arg-type]
        yield client, service.critic
        critic.go.set()


def answer(client: TestClient, path: str) -> dict[str, Any]:
    got = client.get(path)
    assert got.status_code == 200, got.text
    told: dict[str, Any] = got.json()["answer"]
    return told


def counted(client: TestClient, line: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next((float(one.rpartition(" ")[2]) for one in lines if one.startswith(line)), 0.0)


def test_each_kind_is_asked_once_and_kept(index: Path, tmp_path: Path, chat_server: str) -> None:
    with opened(index, tmp_path, critic=f"llm:sees@{chat_server}") as (client, _):
        info = client.get("/info")
        assert info.json()["critic"] == {"name": "llm:sees", "kinds": list(KINDS), "answered": False}
        for kind in KINDS:
            told = answer(client, f"/critique/1?kind={kind}")
            assert told.pop("text") in ("A picture full of light.", "A picture full of shadow.")
            assert told == {
                "asked": kind, "question": KINDS[kind], "critic": "llm:sees", "fallback": "", "kept": False,
            }  # fmt: skip
        again = answer(client, "/critique/1?kind=formal&index=noise")
        assert (again["kept"], again["fallback"]) == (True, "")
        assert client.get("/info").json()["critic"]["answered"]
        assert chat_server not in info.text + client.get("/critique/1").text
        assert counted(client, 'beholder_critiques_total{outcome="said"}') == 3
        assert counted(client, 'beholder_critiques_total{outcome="kept"}') == 1


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("declines-by-field", "refused"),
        ("slow", "timed out"),
        ("silent", "empty answer"),
        ("html", "unusable answer"),
        ("babbles", "nonsense"),
        ("wrong-key", "the critic cannot be asked"),
    ],
)
def test_a_critic_without_words_is_a_reason_that_is_counted(
    index: Path, tmp_path: Path, chat_server: str, model: str, reason: str
) -> None:
    settings = {"critic": f"llm:{model}@{chat_server}", "slow_timeout_s": 1.0 if model == "slow" else LONG}
    with opened(index, tmp_path, **settings) as (client, _):
        got = client.get("/critique/0?kind=critique")
        told = got.json()["answer"]
        assert (told["text"], told["fallback"], told["kept"]) == (None, reason, False)
        assert counted(client, f'beholder_critique_fallbacks_total{{reason="{reason}"}}') == 1
        assert counted(client, 'beholder_critiques_total{outcome="none"}') == 1
    assert "127.0.0.1" not in got.text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (BeholderError("hf:/secret/model cannot be loaded", "a model"), "the critic cannot be asked"),
        (RuntimeError("/secret/model"), "the critic failed"),
        (Said(None, "nonsense"), "nonsense"),
    ],
)
def test_a_critic_that_fails_is_asked_again_the_next_time(
    index: Path, tmp_path: Path, fault: Exception | Said, reason: str
) -> None:
    critic = Slow(says=fault)
    with asking(critic, index, tmp_path) as (client, _):
        got = client.get("/critique/0?kind=critique")
        assert (got.json()["answer"]["text"], got.json()["answer"]["fallback"]) == (None, reason)
        assert "secret" not in got.text
        critic.says = Said("Calm.")
        assert answer(client, "/critique/0?kind=critique")["text"] == "Calm."


def test_a_picture_that_is_gone_or_another_is_not_spoken_of(index: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "p000.jpg").unlink()
    shutil.copy(pictures / "p002.jpg", pictures / "p001.jpg")
    critic = Slow()
    with asking(critic, index, tmp_path) as (client, _):
        gone, changed = (answer(client, f"/critique/{id}?kind=critique") for id in (0, 1))
        assert (gone["text"], changed["text"]) == (None, None)
        assert "gone" in gone["fallback"]
        assert changed["fallback"] == "the picture's file has changed since it was embedded"
        assert critic.asked == []
        assert answer(client, "/critique/2?kind=critique")["text"] == "Full of light."
        assert critic.asked[0].pictures == ((pictures / "p002.jpg").read_bytes(),)


def test_searches_do_not_wait_for_a_critic_and_too_many_questions_are_refused(index: Path, tmp_path: Path) -> None:
    critic, told = Slow(free=False), []
    with asking(critic, index, tmp_path, most_waiting=2) as (client, _):

        def ask(path: str) -> None:
            told.append(answer(client, path))

        threads = [threading.Thread(target=ask, args=(f"/critique/{id}?kind=critique",)) for id in (0, 1, 0)]
        for thread in threads:
            thread.start()
        assert critic.begun.wait(LONG)
        while counted(client, "beholder_critic_waiting") < 2:
            time.sleep(0.01)
        found = client.post("/search", json={"query": {"vector": unit_rows(3)[2].tolist()}, "config": {"k": 1}})
        assert found.json()["results"][0]["id"] == 2
        full = client.get("/critique/2?kind=critique")
        assert full.status_code == 503
        assert 1 <= int(full.headers["retry-after"]) <= 60
        assert "2 questions wait" in full.json()["error"]
        critic.go.set()
        for thread in threads:
            thread.join()
        assert [one["text"] for one in told] == ["Full of light."] * 3
        assert len(critic.asked) == 2, "the same question is asked once"


def test_what_came_too_late_is_kept_and_what_had_not_begun_is_not_asked(index: Path, tmp_path: Path) -> None:
    critic = Slow(free=False)
    with asking(critic, index, tmp_path, timeout_s=0.3) as (client, _):
        late, never = (answer(client, f"/critique/{id}?kind=critique") for id in (0, 1))
        assert (late["text"], late["fallback"]) == (None, "timed out")
        assert (never["text"], never["fallback"]) == (None, "timed out")
        critic.go.set()
        while counted(client, "beholder_critic_waiting"):
            time.sleep(0.01)
        assert len(critic.asked) == 1
        again = answer(client, "/critique/0?kind=critique")
        assert (again["text"], again["kept"]) == ("Full of light.", True)


def test_what_the_index_keeps_of_the_same_critic_is_not_asked_again(index: Path, tmp_path: Path) -> None:
    sha256s = load_index(index).items_table().column("sha256").to_pylist()
    mine = Critique(sha256s[0], "critique", "slow", "1", KINDS["critique"], "Kept.")
    others = Critique(sha256s[1], "critique", "other", "2", KINDS["critique"], "Another's.")
    older = Critique(sha256s[2], "critique", "slow", "1", "Another question?", "Old.")
    write_critiques(index, [mine, others, older])
    critic = Slow()
    with asking(critic, index, tmp_path) as (client, _):
        assert answer(client, "/critique/0?kind=critique")["text"] == "Kept."
        assert critic.asked == []
        other = client.get("/critique/1?kind=critique").json()
        assert (other["answer"]["critic"], other["answer"]["text"]) == ("slow", "Full of light.")
        assert (other["said"][0]["critic"], other["said"][0]["text"]) == ("other", "Another's.")
        assert answer(client, "/critique/2?kind=critique")["text"] == "Full of light."


def test_no_critic_and_likely_mistakes_are_one_line(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path) as (client, _):
        assert client.get("/info").json()["critic"] is None
        for path, status, said in (
            ("/critique/0?kind=formal", 404, "has no critic"),
            ("/critique/0?kind=poem", 400, "no kind of critique 'poem'"),
            ("/critique/0?kinds=formal", 400, "the setting kinds"),
        ):
            got = client.get(path)
            assert (got.status_code, said in got.json()["error"]) == (status, True), path
    with pytest.raises(BeholderError, match="there is no critic 'nobody'"):
        open_service(ServeConfig((("noise", index),), critic="nobody"))
    with pytest.raises(BeholderError, match="critic_waiting 0"):
        ServeConfig((("noise", index),), critic_waiting=0)


def test_a_service_that_ends_lets_the_critic_finish_and_refuses_more(index: Path, tmp_path: Path) -> None:
    critic, told = Slow(free=False), []
    with opened(index, tmp_path) as (client, service):
        desk = service.critic = CriticDesk(critic, service.metrics, at_once=1)
        asked = threading.Thread(target=lambda: told.append(answer(client, "/critique/0?kind=critique")))
        asked.start()
        assert critic.begun.wait(LONG)
        closing = threading.Thread(target=desk.close, args=(LONG,))
        closing.start()
        while not desk._closed:
            time.sleep(0.01)
        assert client.get("/critique/1?kind=critique").status_code == 503
        critic.go.set()
        closing.join()
        asked.join()
    assert told[0]["text"] == "Full of light."
