"""Protects `bench judge` against a real server process whose judges look at the pictures they are sent, with and
without faults: what is known of the corpus must come out, and faults must be seen."""

import json
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.judge.run import JudgeConfig, check, measure
from benchmarks.report import render
from benchmarks.runs import Run, read_run, write_run
from indexes.errors import BeholderError, ConditionFailed
from retrieval.hpir import HpirItem, hpir_lines, item_id
from retrieval.language.judge import ASPECTS
from tests.benchmarks.judge_corpus import QUERIES, make_corpus, opener

N = len(QUERIES)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("judge") / "corpus")


def config(corpus: Path, url: str, model: str, **options: Any) -> JudgeConfig:
    given = {
        "top": 2,
        "index_b": corpus / "wrong",
        "control_pairs": 8,
        "concurrency": 4,
        "timeout": 120.0,
        "retries": 0,
        "no_cache": True,
    }
    judge = f"llm:{model}@{url}"
    return JudgeConfig(corpus / "right", corpus / "queries.txt", judge, **{**given, **options})


def asked(url: str, path: str = "/log") -> int:
    with urllib.request.urlopen(url.removesuffix("/v1") + path) as reply:
        return len(json.load(reply)["requests"])


@pytest.fixture(scope="module")
def told(corpus: Path, chat_server: str) -> tuple[Run, JudgeConfig, Path]:
    """A run of the judge that has no faults, with a book and a page."""
    book, page = corpus.parent / "answers.jsonl", corpus.parent / "page.html"
    given = config(corpus, chat_server, "looks", answers=book, page=page)
    return measure(given, opener()), given, book


def test_the_system_that_finds_what_was_asked_wins_on_accuracy(told: tuple[Run, JudgeConfig, Path]) -> None:
    run = told[0]
    assert run.data["counts"]["accuracy"] == {"wins": N, "similar": 0, "losses": 0, "unread": 0}
    for aspect in ASPECTS:
        assert sum(run.data["counts"][aspect].values()) == N
        assert run.numbers[f"{aspect}: order consistency"].value == 1
        assert run.numbers[f"{aspect}: first row preferred"].value == 0.5
        assert run.numbers[f"control blanks: half-credit, {aspect}"].value == 1
    assert run.numbers["accuracy: half-credit of A"].value == 1
    assert run.numbers["control another query: half-credit, accuracy"].value == 1
    assert run.numbers["calls without a usable answer"].value == 0
    assert run.headline.startswith("Controls hold")
    check(run)


def test_nothing_of_the_machine_is_told(told: tuple[Run, JudgeConfig, Path], tmp_path: Path) -> None:
    run = told[0]
    content = json.dumps(run.to_dict())
    assert "127.0.0.1" not in content
    assert str(told[1].index.parent) not in content
    write_run(tmp_path / "judge.json", run)
    assert read_run(tmp_path / "judge.json") == run
    assert render(run).splitlines()[0] == f"**{run.headline}**"


def test_every_answer_is_kept_as_it_came_and_not_asked_for_again(
    told: tuple[Run, JudgeConfig, Path], chat_server: str
) -> None:
    run, given, book = told
    lines = [json.loads(line) for line in book.read_text().splitlines()]
    assert lines[0]["kind"] == "beholder-judgements"
    assert all(len(line["said"]) == 2 and "I see 2 <rows>" in line["said"][0] for line in lines[1:])
    asked(chat_server, "/forget")
    again = measure(given, opener())
    assert asked(chat_server) == 0
    assert again == run


def test_the_page_shows_both_rows_and_the_judges_words(told: tuple[Run, JudgeConfig, Path]) -> None:
    page = told[1].page
    assert page is not None
    text = page.read_text()
    assert text.count("<section>") == N
    assert text.count("<img ") == N * 2 * 2
    assert text.count("I see 2 &lt;rows&gt;.") == N * 2
    assert "<rows>" not in text
    assert "http:" not in text
    assert told[0].headline in text


def test_exchanged_systems_exchange_wins_and_losses(
    told: tuple[Run, JudgeConfig, Path], corpus: Path, chat_server: str
) -> None:
    given = config(corpus, chat_server, "looks", no_controls=True)
    turned = measure(replace(given, index=corpus / "wrong", index_b=corpus / "right"), opener())
    for aspect in ASPECTS:
        there, back = told[0].data["counts"][aspect], turned.data["counts"][aspect]
        assert (there["wins"], there["similar"], there["losses"]) == (back["losses"], back["similar"], back["wins"])
    assert "CONTROLS WERE NOT RUN" in turned.headline


@pytest.mark.parametrize("kind", ["cp-scorer", "scorer"])
def test_other_kinds_of_judge_come_to_the_same(corpus: Path, chat_server: str, kind: str) -> None:
    run = measure(config(corpus, chat_server, "looks", kind=kind), opener())
    assert run.data["counts"]["accuracy"]["wins"] == N
    check(run)
    if kind == "scorer":
        assert any("judged alone" in note for note in run.notes)
        assert "accuracy: order consistency" not in run.numbers


def test_a_judge_that_prefers_a_place_is_unfit_in_the_first_line(corpus: Path, chat_server: str) -> None:
    run = measure(config(corpus, chat_server, "looks-upwards"), opener())
    first = render(run).splitlines()[0]
    assert "UNFIT JUDGE: order consistency" in first
    with pytest.raises(ConditionFailed, match="cannot be believed"):
        check(run)


def test_refusals_broken_answers_and_time_outs_are_counted_and_never_filled_in(corpus: Path, chat_server: str) -> None:
    run = measure(config(corpus, chat_server, "looks-troubled", timeout=10.0, control_pairs=18), opener())
    note = next(note for note in run.notes if note.startswith("Calls without"))
    assert all(word in note for word in ("refused", "unusable answer", "timed out"))
    share = run.numbers["calls without a usable answer"]
    assert 0.05 < share.value < 0.5
    for aspect in ASPECTS:
        counts = run.data["counts"][aspect]
        assert sum(counts.values()) == N
        assert counts["unread"] > 0
        assert run.numbers[f"{aspect}: half-credit of A"].n == N - counts["unread"]
    assert run.data["counts"]["accuracy"]["losses"] == 0  # bias makes it similar, never the other way round


def test_a_judge_that_says_nothing_usable_fails(corpus: Path, chat_server: str) -> None:
    run = measure(config(corpus, chat_server, "stubborn"), opener())
    assert "CONTROLS FAIL: blanks, accuracy: no verdict can be read" in run.headline
    assert run.data["counts"]["accuracy"] == {"wins": 0, "similar": 0, "losses": 0, "unread": N}
    assert run.numbers["calls without a usable answer"].value == 1


def test_a_spent_budget_stops_and_the_next_run_goes_on(corpus: Path, chat_server: str, tmp_path: Path) -> None:
    book = tmp_path / "answers.jsonl"
    given = config(corpus, chat_server, "looks", answers=book, max_requests=10, no_controls=True)
    asked(chat_server, "/forget")
    with pytest.raises(ConditionFailed, match=r"budget.*of 9 comparisons are kept in answers.jsonl"):
        measure(given, opener())
    assert asked(chat_server) == 10
    kept = len(book.read_text().splitlines()) - 1
    assert 0 < kept <= 5
    asked(chat_server, "/forget")
    run = measure(replace(given, max_requests=0), opener())
    assert asked(chat_server) == 2 * (N - kept)
    assert run.data["counts"]["accuracy"]["wins"] == N


def test_a_wrong_key_stops_at_once(corpus: Path, chat_server: str) -> None:
    with pytest.raises(ConditionFailed, match="the judge stopped"):
        measure(config(corpus, chat_server, "wrong-key"), opener())


def test_the_very_same_rows_are_similar_and_not_asked_about(corpus: Path, chat_server: str) -> None:
    asked(chat_server, "/forget")
    given = config(corpus, chat_server, "looks", index_b=None, b='{"candidates": 9, "sort": "id"}', no_controls=True)
    few = measure(replace(given, b='{"near": 0.999}'), opener())
    assert asked(chat_server) == 0
    assert few.data["counts"]["accuracy"] == {"wins": 0, "similar": N, "losses": 0, "unread": 0}
    assert any(f"{N} queries give both systems the very same row" in note for note in few.notes)


def test_agreement_with_people_who_look_too(corpus: Path, chat_server: str, tmp_path: Path) -> None:
    from indexes import load_index

    table = load_index(corpus / "right").items_table()
    sha = table.column("sha256").to_pylist()
    items = []
    for number in range(12):
        a, b = (sha[0],), (sha[1 + number % 2],)  # red against green or blue
        query = ("red", "green", "blue")[number % 3] + f" {number}"
        best = {"red": "a", "green": "b" if number % 2 == 0 else "a", "blue": "b" if number % 2 else "a"}
        said = best[query.split()[0]]
        neither = query.split()[0] != "red" and said == "a"  # neither row has the colour
        votes = {"accuracy": ("same",) * 3 if neither else (said,) * 3, "aesthetics": (), "diversity": ()}
        if neither:
            continue
        votes = {aspect: tuple(votes[aspect]) or (None,) * 3 for aspect in ASPECTS}
        parts = {"text": [query]}
        voters, orders = ("x", "y", "z"), ("ab", "ba", "ab")
        items.append(HpirItem(item_id(query, parts, a, b), query, parts, a, b, (), votes, voters, orders))
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"".join(hpir_lines(items)))
    run = measure(config(corpus, chat_server, "looks", votes=(path,), no_controls=True), opener())
    assert run.numbers["agreement with people's majority, accuracy"].value == 1
    assert run.numbers["agreement with people's majority, accuracy"].n == len(items)
    assert run.numbers["kappa of judge and people, accuracy"].value == 1
    assert run.numbers["kappa of two people, accuracy"].value == 1
    assert not any("aesthetics" in name and "people" in name for name in run.numbers)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index_b": None}, "both systems are the same"),
        ({"b": '{"k": 3}'}, "--b sets k"),
        ({"b": "{rewrite}"}, "--b is not JSON"),
        ({"b": "nothing.json"}, "neither JSON nor a file"),
        ({"b": '{"rewrites": "template"}'}, "rewrites is not known"),
        ({"judge": "gpt-4o"}, "there is no judge 'gpt-4o'"),
        ({"kind": "best"}, "--kind is best"),
        ({"top": 0, "timeout": 0.0}, "--top is 0 .* --timeout is 0"),
        ({"pictures": (Path("x"),)}, "--pictures without --votes"),
        ({"queries": Path("no-such.txt")}, "no-such.txt cannot be read"),
    ],
)
def test_likely_mistakes_are_one_line(corpus: Path, chat_server: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BeholderError, match=said) as caught:
        measure(replace(config(corpus, chat_server, "looks"), **options), opener())
    assert "\n" not in str(caught.value)


def test_an_empty_file_of_queries_is_said(corpus: Path, chat_server: str, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n")
    with pytest.raises(BeholderError, match="holds no queries"):
        measure(replace(config(corpus, chat_server, "looks"), queries=tmp_path / "none.txt"), opener())


def test_one_query_has_no_interval_and_says_what_was_not_tried(corpus: Path, chat_server: str, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("red boat\nred  boat\n")
    given = config(corpus, chat_server, "looks")
    run = measure(replace(given, queries=tmp_path / "one.txt"), opener())
    assert run.numbers["accuracy: half-credit of A"].low is None
    assert any(note.startswith("1 repeated") for note in run.notes)
    assert any("another query: no rows to try it on" in note for note in run.notes)
    assert any("is not judged" in note for note in run.notes)
    assert run.headline.startswith("Controls hold as far as they could be tried")
