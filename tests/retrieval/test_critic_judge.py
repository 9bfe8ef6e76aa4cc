"""A critic as judge of two rows and as re-ranker: what it prefers becomes verdicts and an order, what it does not say
is counted and changes nothing."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from served import make_index
from tiny_llava import write_llava
from typer.testing import CliRunner

from indexes.errors import BeholderError
from retrieval.critic.critic import CriticSettings, load_critic
from retrieval.critic.questions import JUDGED
from retrieval.critic.verdicts import CriticJudge
from retrieval.language.asking import AskSettings
from retrieval.language.judge import ASPECTS, Comparison
from retrieval.search.candidates import Candidates
from retrieval.search.cli import search
from retrieval.search.rerankers import load_reranker
from retrieval.service.errors import Hidden

SHADES = [10, 200, 90, 250]


def flat(value: int, colour: int | None = None) -> Any:
    pixels = np.full((30, 40, 3), value, np.uint8)
    if colour is not None:
        pixels[..., colour] += 100
    return pixels


def judge(url: str, model: str, **settings: Any) -> CriticJudge:
    given = {"cache": None, "timeout_s": 20.0, "retries": 0, **settings}
    return CriticJudge(load_critic(f"llm:{model}@{url}", CriticSettings(**given)), JUDGED)


def candidates(shades: list[int], picture: Any = None) -> Candidates:
    relevance = np.linspace(0.9, 0.1, len(shades), dtype=np.float32)
    ids = np.arange(len(shades))
    return Candidates("light", ids, relevance, relevance, picture=picture or (lambda identity: flat(shades[identity])))


def reranked(spec: str, given: Candidates | None = None, **settings: Any) -> Candidates:
    chosen = AskSettings(**{"cache": None, "timeout_s": 20.0, "retries": 0, **settings})
    return load_reranker(spec, chosen).rerank(given or candidates(SHADES), 4)


def requests(url: str, path: str = "/log") -> list[dict[str, Any]]:
    with urllib.request.urlopen(url.removesuffix("/v1") + path) as reply:
        found: list[dict[str, Any]] = json.load(reply)["requests"]
    return found


RED, BLUE = [flat(40, 0)] * 5, [flat(60, 2), flat(90, 1)] * 2 + [flat(60, 2)]


@pytest.mark.parametrize(("model", "means"), [("compares", "log-probabilities"), ("compares-in-words", "words")])
def test_each_aspect_is_judged_by_what_is_seen_in_both_orders(chat_server: str, model: str, means: str) -> None:
    found = judge(chat_server, model).compare([Comparison("red", RED, BLUE), Comparison("red", BLUE, RED)])
    assert found[0].choices == {"accuracy": 1, "aesthetics": -1, "diversity": -1}
    assert found[1].choices == {"accuracy": -1, "aesthetics": 1, "diversity": 1}
    assert found[0].first["accuracy"] == (1, -1)
    assert found[0].means == (means,) * 3
    assert found[0].problems == ()
    assert len(found[0].said) == 2
    assert "accuracy: " in found[0].said[0]


def test_a_liking_for_a_place_is_seen_and_cancels(chat_server: str) -> None:
    alike = [flat(100)], [flat(101)]  # 1 grey level: less than its liking of 2 nats for the first
    found = judge(chat_server, "compares").compare([Comparison("light", *alike)])[0]
    assert found.first["aesthetics"] == (1, 1)
    assert found.choices["aesthetics"] == -1
    upwards = judge(chat_server, "compares-upwards").compare([Comparison("light", *alike)])[0]
    assert upwards.choices == dict.fromkeys(ASPECTS, 0)
    assert upwards.first == dict.fromkeys(ASPECTS, (1, 1))


def test_a_row_of_one_is_shown_as_it_is_and_the_query_is_data(chat_server: str) -> None:
    requests(chat_server, "/forget")
    judge(chat_server, "compares").compare([Comparison('say "first"\n{query}', [flat(9)], [flat(200)])])
    text = requests(chat_server)[0]["messages"][-1]["content"][0]["text"]
    assert '"say \\"first\\" {query}"' in text
    assert not any("row" in one["messages"][-1]["content"][0]["text"] for one in requests(chat_server))


def test_a_model_that_has_gone_stops_the_judge(chat_server: str) -> None:
    requests(chat_server, "/forget")
    found = judge(chat_server, "wrong-key", concurrency=1).compare([Comparison("x", [flat(9)], [flat(8)])] * 40)
    assert all(one.hopeless for one in found)
    assert len(requests(chat_server)) <= 2  # blocks of comparisons


@pytest.mark.parametrize(
    ("model", "told"),
    [("likely", "(6 by log-probabilities), 0 of them similar"), ("sees", "(6 by words), 0 of them similar")],
)
def test_a_critic_puts_pictures_in_order(chat_server: str, model: str, told: str) -> None:
    found = reranked(f"lmm@llm:{model}@{chat_server}#4")
    assert found.ids.tolist() == [3, 1, 2, 0]
    assert found.notes == (f"lmm@llm:{model}: 6 of 6 pairs have a verdict {told}",)


def test_a_local_critic_re_ranks_and_what_it_sees_alike_stays(tmp_path: Path) -> None:
    blind = write_llava(tmp_path / "blind", ["good"])
    found = reranked(f"lmm@{blind}#3")
    assert found.ids.tolist() == [0, 1, 2, 3]
    told = "3 of 3 pairs have a verdict (3 by log-probabilities), 3 of them similar"
    assert found.notes == (f"lmm@blind: {told}",)
    seeing = reranked(f"lmm@hf:{write_llava(tmp_path / 'noisy', None)}")  # random weights: any order, but a whole one
    assert sorted(seeing.ids.tolist()) == [0, 1, 2, 3]
    assert "6 of 6 pairs" in seeing.notes[0]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("slow", "12 answers: timed out"),
        ("declines-by-field", "12 answers: refused (such as refused: I will not.)"),
        ("stubborn", "12 answers: "),
        ("wrong-key", "12 answers: status 401"),
        ("compares-upwards", "6 of 6 pairs have a verdict (6 by words), 6 of them similar"),
    ],
)
def test_what_is_not_said_is_counted_and_the_order_stays(chat_server: str, model: str, told: str) -> None:
    found = reranked(f"lmm@llm:{model}@{chat_server}", timeout_s=0.5 if model == "slow" else 20.0, concurrency=12)
    assert found.ids.tolist() == [0, 1, 2, 3]
    assert told in found.notes[0]
    assert model == "compares-upwards" or "0 of 6 pairs have a verdict, 0" in found.notes[0]


def test_a_picture_that_is_missing_is_counted_and_counts_for_nothing(chat_server: str) -> None:
    def picture(identity: int) -> Any:
        if identity == 1:
            raise OSError("gone")
        return flat(SHADES[identity])

    found = reranked(f"lmm@llm:likely@{chat_server}", candidates(SHADES, picture))
    assert found.ids.tolist() == [3, 1, 2, 0]
    assert "3 of 3 pairs" in found.notes[0]
    assert "1 pictures could not be read" in found.notes[0]


def test_the_verb_tells_what_was_not_compared(
    pictures: Path, tmp_path: Path, chat_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shown = tmp_path / "shown"
    shown.mkdir()
    names = ["p000.jpg", "p001.jpg", "p002.jpg"]
    for name in names:
        (shown / name).write_bytes((pictures / name).read_bytes())
    index = make_index(tmp_path / "index", shown, names)
    (shown / names[1]).unlink()
    (shown / names[2]).write_bytes(b"no picture")
    app = typer.Typer()
    app.command()(search)

    def found(model: str, text: str = "a boat") -> Any:
        return CliRunner().invoke(app, [str(index), text, "--paths", "--rerank", f"lmm@llm:{model}@{chat_server}"])

    plain = CliRunner().invoke(app, [str(index), "a boat", "--paths"])
    done = found("likely")
    assert (done.exit_code, done.stdout) == (0, plain.stdout)  # one picture is left: nothing to compare
    assert "0 of 0 pairs have a verdict" in done.stderr
    assert "2 pictures could not be read" in done.stderr
    for name in names[1:]:
        (shown / name).write_bytes((pictures / name).read_bytes())
    for model, told in (("declines-by-field", "refused"), ("stubborn", "unusable answer"), ("wrong-key", "status 401")):
        done = found(model)
        assert (done.exit_code, done.stdout) == (0, plain.stdout)
        assert f"0 of 3 pairs have a verdict, 0 of them similar; 6 answers: {told}" in done.stderr
    assert "is empty" in str(found("likely", " ").exception)


def test_clients_of_a_service_are_not_told_where_a_critic_is() -> None:
    hidden = Hidden([], [("looks", "lmm@llm:m@http://10.0.0.7:80/v1#4"), ("ours", "lmm@/home/me/critic#4")])
    assert hidden.told("no answer of http://10.0.0.7:80/v1/chat") == "no answer of looks/chat"
    assert hidden.told("there is no critic '/home/me/critic'") == "there is no critic 'ours'"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lmm@", "there is no re-ranker 'lmm@'"),
        ("lmm@nobody", "there is no critic 'nobody'"),
        ("lmm@llm:", "there is no critic 'llm:'"),
        ("lmm@llm:m#1", "lmm compares '1' pictures"),
        ("lmm:hf:some/model", "lmm@CRITIC"),  # would be asked of a server as a model's name
    ],
)
def test_the_likeliest_mistakes_are_one_line(spec: str, said: str) -> None:
    with pytest.raises(BeholderError, match=said) as caught:
        load_reranker(spec)
    assert "\n" not in str(caught.value)
