"""`bench judge` through critics: what is known of the corpus comes out, with and without log-probabilities; a critic
that sees places, or nothing, is unfit in the first line; what it does not say is counted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.judge.run import JudgeConfig, check, measure
from benchmarks.report import render
from indexes.errors import BeholderError, ConditionFailed
from retrieval.language.judge import ASPECTS
from tests.benchmarks.judge_corpus import QUERIES, make_corpus, opener
from tests.retrieval.tiny_llava import write_llava

N = 4  # queries: each is asked about six times, and so are its controls


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_corpus(tmp_path_factory.mktemp("judge") / "corpus")
    (made / "queries.txt").write_text("\n".join(QUERIES[:N]) + "\n")
    return made


def config(corpus: Path, judge: str, **options: Any) -> JudgeConfig:
    given = {"top": 2, "index_b": corpus / "wrong", "control_pairs": 4, "timeout": 20.0, "retries": 0, "no_cache": True}
    return JudgeConfig(corpus / "right", corpus / "queries.txt", judge, **{**given, **options})


@pytest.mark.parametrize(("model", "means"), [("compares", "log-probabilities"), ("compares-in-words", "words")])
def test_the_system_that_finds_what_was_asked_wins(
    corpus: Path, chat_server: str, tmp_path: Path, model: str, means: str
) -> None:
    given = config(
        corpus, f"critic:llm:{model}@{chat_server}", answers=tmp_path / "book.jsonl", page=tmp_path / "p.html"
    )
    run = measure(given, opener())
    assert run.data["counts"]["accuracy"] == {"wins": N, "similar": 0, "losses": 0, "unread": 0}
    assert run.numbers["accuracy: half-credit of A"].value == 1
    assert run.numbers["control blanks: half-credit, accuracy"].value == 1
    assert run.numbers["calls without a usable answer"].value == 0
    asked = run.numbers["calls without a usable answer"].n
    assert asked is not None
    assert f"Preferences were read {asked // 2:,} by {means}, over rows, controls and votes alike." in run.notes
    assert "accuracy: order consistency" in run.numbers
    assert "accuracy: first row preferred" in run.numbers
    content = json.dumps(run.to_dict())
    assert "127.0.0.1" not in content
    assert str(corpus) not in content
    assert measure(given, opener()) == run  # all from the book


def test_a_critic_that_sees_only_places_is_unfit(corpus: Path, chat_server: str) -> None:
    run = measure(config(corpus, f"critic:llm:compares-upwards@{chat_server}"), opener())
    assert "UNFIT JUDGE: order consistency 0%" in render(run).splitlines()[0]
    with pytest.raises(ConditionFailed, match="cannot be believed"):
        check(run)


def test_a_local_critic_judges_by_its_log_probabilities(corpus: Path, tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "noisy", None)
    run = measure(config(corpus, f"critic:{folder}", control_pairs=1, top=1), opener())
    assert any("by log-probabilities" in note for note in run.notes)
    assert run.data["judge"]["name"] == "critic:noisy"
    assert str(tmp_path) not in json.dumps(run.to_dict())
    assert run.headline.startswith(("UNFIT JUDGE", "CONTROLS FAIL"))  # it is made of random numbers
    for aspect in ASPECTS:
        assert sum(run.data["counts"][aspect].values()) == N


def test_refusals_nonsense_and_time_outs_are_counted_and_never_filled_in(corpus: Path, chat_server: str) -> None:
    run = measure(config(corpus, f"critic:llm:compares-troubled@{chat_server}", timeout=2.0, concurrency=16), opener())
    note = next(note for note in run.notes if note.startswith("Calls without"))
    assert all(word in note for word in ("refused", "nonsense", "timed out"))
    share = run.numbers["calls without a usable answer"]
    assert 0.1 < share.value < 0.6
    counts = run.data["counts"]["accuracy"]
    assert counts["unread"] > 0
    assert counts["losses"] == 0


def test_a_critic_that_cannot_be_asked_stops_the_run(corpus: Path, chat_server: str) -> None:
    with pytest.raises(ConditionFailed, match="the judge stopped"):
        measure(config(corpus, f"critic:llm:wrong-key@{chat_server}"), opener())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge": "critic:"}, "there is no judge 'critic:'"),
        ({"judge": "critic:nobody"}, "there is no critic 'nobody'"),
        ({"kind": "scorer"}, "a critic as scorer"),
    ],
)
def test_likely_mistakes_are_one_line(corpus: Path, chat_server: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BeholderError, match=said) as caught:
        measure(replace(config(corpus, f"critic:llm:compares@{chat_server}"), **options), opener())
    assert "\n" not in str(caught.value)
