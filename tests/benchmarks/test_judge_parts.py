"""Protects the parts of `bench judge` that need no server: when controls fail, whose family a model is of, the book of
answers, and the offline judge, from a plain call and from the command line."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.hpir.score import HpirScoreConfig
from benchmarks.judge.book import Book
from benchmarks.judge.controls import BLANKS, OTHER, control_pairs, losing_outcome, same_outcome
from benchmarks.judge.judges import families, kinship
from benchmarks.judge.offline import OfflineJudge
from benchmarks.judge.rows import Pair, Row, blank_row, part_of, portable_search, read_queries
from benchmarks.runs import command_of, portable_spec
from indexes.errors import BeholderError, FormatError
from retrieval.encoding.encoders import load_encoder
from retrieval.language.judge import ASPECTS, Comparison, Verdict
from retrieval.rewriting.rewriter import Rewrite
from retrieval.rewriting.table import write_rewrites
from retrieval.scoring.scorers import load_scorer


def verdicts(calls: Sequence[tuple[Any, Any]]) -> list[Verdict]:
    """Of one pair of calls each, alike on all aspects."""
    return [
        Verdict(
            dict.fromkeys(ASPECTS, None if None in pair else pair[0] if pair[0] == -pair[1] else 0),
            dict.fromkeys(ASPECTS, pair),
        )
        for pair in calls
    ]


def row(*names: str) -> Row:
    return Row(names, lambda: [np.full((8, 8, 3), 10 * len(name), np.uint8) for name in names])


@pytest.mark.parametrize(
    ("steady", "upper", "lower", "unfit"),
    [
        (60, 20, 20, []),  # consistency .6, places even
        (59, 21, 20, ["order consistency"]),
        (64, 34, 2, ["first row preferred"]),  # (64 / 2 + 34) / 100 = .66
        (64, 2, 34, ["first row preferred"]),
        (64, 33, 3, []),  # .65
        (0, 100, 0, ["order consistency", "first row preferred"]),
    ],
)
def test_a_judge_is_unfit_past_its_bounds(steady: int, upper: int, lower: int, unfit: list[str]) -> None:
    outcome = same_outcome(verdicts([(1, -1)] * steady + [(1, 1)] * upper + [(-1, -1)] * lower), True, 0)
    assert len(outcome.unfit) == len(unfit) * len(ASPECTS)
    assert all(any(one.startswith(word) for one in outcome.unfit) for word in unfit)


def test_position_bias_is_not_judged_on_fewer_than_a_hundred_calls() -> None:
    few = same_outcome(verdicts([(1, -1)] * 31 + [(1, 1)] * 18), True, 0)  # 98 calls, .68 upper
    assert few.unfit == ()
    assert len(few.notes) == len(ASPECTS)
    assert same_outcome(verdicts([(1, -1)] * 32 + [(1, 1)] * 18), True, 0).unfit  # 100 calls, .68
    assert same_outcome(verdicts([(None, 1)] * 60), True, 0).failed
    assert "no place to prefer" in same_outcome([], False, 0).notes[0]


def test_rows_that_must_lose_make_the_control_fail_when_they_do_not() -> None:
    won, lost, unread = (1, -1), (-1, 1), (None, 1)
    assert losing_outcome(BLANKS, verdicts([won] * 18 + [lost] * 2), 0).failed == ()
    assert len(losing_outcome(BLANKS, verdicts([won] * 17 + [lost] * 3), 0).failed) == len(ASPECTS)
    assert losing_outcome(OTHER, verdicts([won] * 16 + [lost] * 4), 0).failed == ()
    assert losing_outcome(OTHER, verdicts([won] * 11 + [lost] * 9), 0).failed  # .55: not beyond chance
    assert losing_outcome(OTHER, verdicts([(1, 1)] * 20), 0).failed  # always similar
    assert losing_outcome(OTHER, verdicts([unread] * 20), 0).failed == (f"{OTHER}, accuracy: no verdict can be read",)
    assert "no rows" in losing_outcome(OTHER, [], 0).notes[0]


def test_control_rows_are_of_another_query_and_of_deeper_places() -> None:
    class Rows:
        def rows(self, queries: Sequence[str], count: int) -> list[Row]:
            return [row(*(f"{query}{place}" for place in range(count if query != "c" else 3))) for query in queries]

    queries, best = ["a", "b", "c"], [row("a0", "a1"), row("a1", "b1"), row("c0", "c1")]
    pairs = control_pairs(queries, best, [Rows(), Rows()], 2, 5)  # type: ignore[list-item]
    assert [pair.b.sha256s for pair in pairs[OTHER]] == [("c0", "c1"), ("c0", "c1"), ("a0", "a1")]
    assert len(pairs[BLANKS]) == 3
    same = [(pair.a.sha256s, pair.b.sha256s) for pair in pairs["same system"]]
    assert same[:2] == [(("a0", "a1"), ("a2", "a3")), (("b0", "b1"), ("b2", "b3"))]
    assert len(same) == 4  # both systems; c finds too few
    assert len(part_of(row("x", "y", "z"), 1, 3).read()) == 2


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("gpt-4o-mini", "o3-mini", True),
        ("Qwen/Qwen3-VL-8B-Instruct", "qwq-32b", True),
        ("google/gemma-3-27b-it", "gemini-2.5-flash", True),
        ("llava-v1.6-vicuna-7b", "meta-llama/Llama-3.1-8B", True),
        ("gpt-4o", "claude-sonnet-4", False),
        ("qwen3-vl", "llama3:8b@main", False),
        ("acme/nova-7b", "nova-vision", True),  # not known: by the first word
        ("acme/nova-7b", "stella", False),
    ],
)
def test_models_of_one_family_are_known_by_their_names(one: str, other: str, shared: bool) -> None:
    assert bool(families(one) & families(other)) == shared


def test_a_judge_of_the_rewriters_family_is_warned_about(tmp_path: Path) -> None:
    table = tmp_path / "rewrites.tsv"
    write_rewrites(table, [Rewrite("a", "b", "x")], {"rewriter": "llm:gpt-4o"})
    judge = "llm:gpt-5@http://127.0.0.1:1/v1"
    for settings in (
        ("llm:gpt-4o@http://127.0.0.1:1/v1#k-list", ()),
        (f"file:{table}", ()),
        ("none", ("lmm:gpt-4o@http://127.0.0.1:1/v1#4",)),
        ("none", ("lmm@llm:gpt-4o@http://127.0.0.1:1/v1#4",)),
        ("none", ("lmm@hf:openai/gpt-9#4",)),
        ("none", ("lmm@models/gpt-9#4",)),
    ):
        found = kinship(judge, {"A": ("none", ()), "B": settings})
        assert len(found) == 1
        assert "of system B are of one family (OpenAI)" in found[0]
        assert "127.0.0.1" not in found[0]
    assert kinship(judge, {"A": ("template", ("mmr",)), "B": ("llm:qwen3", ())}) == []
    assert kinship("offline", {"A": ("llm:gpt-4o", ())}) == []


def test_no_address_and_no_folder_is_told() -> None:
    assert portable_spec("llm:qwen3@http://10.0.0.7:8000/v1#detail") == "llm:qwen3#detail"
    assert portable_spec("hf:/home/me/models/tiny#detail") == "hf:tiny#detail"
    assert portable_spec("hf:org/model") == "hf:org/model"
    assert portable_spec("lmm@llm:m@http://10.0.0.7/v1#4") == "lmm@llm:m#4"
    assert portable_spec("lmm@/home/me/critic#4") == "lmm@critic#4"
    config = HpirScoreConfig((Path("set"),), rerank=("lmm@llm:m@http://10.0.0.7/v1#4",), rewrite=("llm:q@http://h/v1",))
    assert command_of("bench hpir score", config) == (
        "beholder bench hpir score set --rewrite llm:q --rerank 'lmm@llm:m#4'"
    )
    assert portable_spec("rank-mix:0.5@colourfulness") == "rank-mix:0.5@colourfulness"
    given = '{"rewrite": "file:/home/me/r.tsv", "rerank": ["lmm:q@http://h/v1#4"], "near": null}'
    assert json.loads(portable_search(given)) == {"rewrite": "file:r.tsv", "rerank": ["lmm:q#4"]}


def test_queries_are_different_lines(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("a boat\n\n a  boat\nsea\n")
    assert read_queries(tmp_path / "q.txt") == (["a boat", "sea"], 1)


JUDGE = {"name": "llm:x", "kind": "ranker"}
PAIR = Pair("q", row("a"), row("b"))


def test_the_book_goes_on_after_a_crash_and_asks_again_what_may_pass(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    others = [Pair(query, row("a"), row("b")) for query in ("late", "broken", "over")]
    good = verdicts([(1, -1)])[0]
    with Book(path, JUDGE) as book:
        problems = ("timed out: no answer in 3 s",), ("unusable answer: no JSON",), ("budget: spent",)
        failures = [Verdict(good.choices, good.first, problems=one, hopeless="budget" in one[0]) for one in problems]
        book.add([PAIR, *others], [good, *failures])
        assert book.get(Pair("q", row("b"), row("a"))) is None  # the other way round is another question
    with path.open("ab") as file:
        file.write(b'{"key": "cut')
    with Book(path, JUDGE) as book:
        kept = book.get(PAIR)
        assert kept is not None
        assert kept.choices == good.choices
        assert kept.first == good.first
        assert [book.get(one) is None for one in others] == [True, False, True]
        book.add([others[0]], [good])
        with pytest.raises(BeholderError, match="another run writes"):
            Book(path, JUDGE)
    assert all(json.loads(line) for line in path.read_text().splitlines())
    with Book(path, JUDGE) as book:
        assert book.get(others[0]) is not None


def test_the_book_of_another_judge_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    with Book(path, JUDGE) as book:
        book.add([PAIR], verdicts([(1, -1)]))
    with pytest.raises(BeholderError, match="answers of llm:x, which differs in kind"):
        Book(path, {**JUDGE, "kind": "scorer"})
    with path.open("ab") as file:
        file.write(b'{"key": "x"}\n')
    with pytest.raises(FormatError, match="line 3"):
        Book(path, JUDGE)
    path.write_text('{"kind": "beholder-votes", "format": 1}\n')
    with pytest.raises(FormatError, match="holds 'beholder-votes'"):
        Book(path, JUDGE)


def flat(*colour: int) -> NDArray[np.uint8]:
    return np.full((40, 40, 3), colour, np.uint8)


def test_the_offline_judge_scores_what_it_says_it_scores(tiny_model: Path) -> None:
    encoder = load_encoder(str(tiny_model))
    judge = OfflineJudge(encoder, [load_scorer("colourfulness"), load_scorer("brightness")])
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    a, b = [flat(255, 40, 40), flat(40, 255, 40)], [flat(9, 9, 9), flat(9, 9, 9)]
    there, back, same = judge.compare([Comparison("x", a, b), Comparison("x", b, a), Comparison("y", a, a)])
    assert there.choices["aesthetics"] == 1  # more colourful and brighter
    assert there.choices["diversity"] == 1  # b shows one picture twice
    assert {aspect: -(choice or 0) for aspect, choice in there.choices.items()} == back.choices
    assert same.choices == dict.fromkeys(ASPECTS, 0)
    assert there.first["aesthetics"] == (1, -1)
    said = json.loads(there.said[0])
    assert said["diversity"][1] == pytest.approx(0, abs=1e-5)
    # Each of two scorers prefers another row: neither is the better.
    split = judge.compare([Comparison("x", [flat(60, 0, 0)], [flat(250, 250, 250)]), Comparison("x", noise, a)])
    assert split[0].choices["aesthetics"] == 0
    text, pictures = encoder.encode_texts(["x"])[0], judge._look(noise)
    cosine = float(np.mean([vector @ text for vector, _ in pictures]))
    assert json.loads(split[1].said[0])["accuracy"][0] == pytest.approx(cosine, abs=1e-5)


def test_the_offline_judge_at_the_command_line_is_called_a_plumbing_check(
    tiny_index: Path, tiny_model: Path, tmp_path: Path, beholder: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "queries.txt").write_text("red\ngreen noise\nblue\n")
    judge = f"offline:{tiny_model}@colourfulness"
    done = beholder(
        *("bench", "judge", tiny_index, tmp_path / "queries.txt", "--judge", judge, "--b", '{"rewrite": "template"}'),
        *("--top", "3", "--page", tmp_path / "page.html", "--out", tmp_path / "run.json"),
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # a tower with random weights may fail the controls
    assert "PLUMBING CHECK, NOT EVIDENCE" in done.stdout.splitlines()[0]
    assert "accuracy: half-credit of A" in done.stdout
    run = json.loads((tmp_path / "run.json").read_text())
    assert str(tiny_model.parent) not in json.dumps(run)
    assert (tmp_path / "page.html").read_text().count("<section>") == 3
    twice = beholder("bench", "judge", tiny_index, tmp_path / "queries.txt", "--judge", judge, check=False)
    assert twice.returncode == 2
    assert twice.stderr.count("\n") == 1
    assert "both systems are the same" in twice.stderr


def test_blank_rows_show_nothing_but_grey() -> None:
    assert all((picture == 119).all() for picture in blank_row(3).read())
