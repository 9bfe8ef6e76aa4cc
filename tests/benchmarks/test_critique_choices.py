"""Published sets of questions: read as their makers write them, answers chosen or abstained from, an overall as
published; nothing is scored that has no key."""

import base64
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.critique.choices import ChoicesConfig, measure_aesbench, measure_art
from benchmarks.critique.critics import ModelCritic
from benchmarks.critique.sets import read_aesbench, read_aqua, read_artbench, read_artquest, read_vlmevalkit
from indexes.errors import BeholderError, FormatError
from retrieval.language.chat_exchange import Answer, Failure, Question
from tests.benchmarks.test_critique_claims import Speaker
from tests.conftest import write_pictures

OPTIONS = "A) High\nB) Medium\nC) Low"


def aesbench(folder: Path, key: bool = True) -> Path:
    names = write_pictures(folder, 4)
    content: dict[str, Any] = {}
    for place, name in enumerate(names):
        asked = {"Question": "How good is it?", "Options": OPTIONS, **({"Answer": "ABC"[place % 3]} if key else {})}
        content[name] = {"AesP_data": asked, "AesE_data": asked, "AesA1_data": asked, "AesI_data": {"Question": "Why?"}}
    content[names[3]]["AesE_data"] = {"Question": "?", "Options": "none"}
    del content[names[3]]["AesA1_data"]
    path = folder / "AesBench_evaluation.json"
    path.write_text(json.dumps(content, indent=1))
    return path


def speaks(asked: Any, blind: bool) -> str | None:
    if asked.text == "Why?":
        return "As its light is soft and its colours are few."
    return {"p000": "A", "p001": "B) Medium", "p002": "I think it is medium.", "p003": "Hard to say."}[
        asked.pictures[0].stem
    ]


class Judge:
    def __init__(self, *scores: int) -> None:
        self.scores = scores
        self.seen = list[Question]()

    def ask_many(self, questions: Sequence[Question], progress: Any = None) -> list[Answer | Failure]:
        self.seen += questions
        value = dict(zip(("relevance", "precision", "completeness"), self.scores, strict=True))
        return [Failure("timed out")] + [Answer("", value, "json") for _ in questions[1:]]


def test_aesbench_by_hand(tmp_path: Path) -> None:
    config = ChoicesConfig(aesbench(tmp_path), "speaker", answers=tmp_path / "out")
    judge = Judge(2, 1, 1)
    run = measure_aesbench(config, critic=Speaker(speaks), judge=ModelCritic(judge, "judge", {}))
    numbers = run.numbers
    assert numbers["AesP: accuracy"].value == 2 / 4  # A and B right, medium for C wrong, the last abstains
    assert numbers["AesP: abstained"].value == 1 / 4
    assert numbers["AesP: accuracy"].chance == pytest.approx(1 / 3)
    assert numbers["AesA: accuracy"].value == numbers["AesE: accuracy"].value == pytest.approx(2 / 3)
    assert numbers["AesI"].value == pytest.approx(4 / 3)
    assert numbers["overall"].value == pytest.approx((50 + 2 * 200 / 3 + 400 / 3) / 4)
    assert numbers["GPT-4V, overall"].source is not None
    assert any("1 answers without a rating" in note for note in run.notes)
    assert sum(note.startswith("left out: 1") for note in run.notes) == 2  # options that are none, a missing task
    mailed = json.loads((tmp_path / "out" / "AesP.json").read_text())
    assert mailed["p001.jpg"] == {"AesP_response": "B) Medium"}
    assert "Why?" in judge.seen[0].user


def test_without_a_key_nothing_is_scored(tmp_path: Path) -> None:
    run = measure_aesbench(ChoicesConfig(aesbench(tmp_path, key=False), "speaker"), critic=Speaker(speaks))
    assert not any(name.endswith("accuracy") and one.source is None for name, one in run.numbers.items())
    assert "overall" not in run.numbers
    assert "AesP: abstained" in run.numbers
    assert any("tell no right answer" in note for note in run.notes)
    assert any("no --judge" in note for note in run.notes)


def test_the_prompts_are_those_of_its_scripts(tmp_path: Path) -> None:
    items = {item.task: item for item in read_aesbench(aesbench(tmp_path), tmp_path).items[:4]}
    head = f"How good is it? Choose one from the following options:\n{OPTIONS}\nYou should output a correct option"
    assert items["AesP"].asked.text == f"{head} without explanation."
    assert items["AesA"].asked.text == f"{head}."
    assert items["AesI"].asked.text == "Why?"


def write_tsv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def test_vlmevalkit_rows(tmp_path: Path) -> None:
    (name,) = write_pictures(tmp_path, 1)
    cell = base64.b64encode((tmp_path / name).read_bytes()).decode()
    row = {
        "index": "1",
        "question": "How\nbright?",
        "A": "dark",
        "B": "bright",
        "C": "",
        "answer": "B",
        "category": "Look",
    }
    rows = [
        {**row, "image": cell},
        {**row, "index": "2", "image": "1"},  # the picture of row 1
        {**row, "index": "3", "image": "not base64!"},
        {**row, "index": "4", "image": cell, "B": ""},
    ]
    write_tsv(tmp_path / "AesBench_VAL.tsv", rows)
    read = read_vlmevalkit(tmp_path / "AesBench_VAL.tsv")
    assert [item.asked.id for item in read.items] == ["1", "2"]
    assert read.items[0].asked.pictures == read.items[1].asked.pictures == ((tmp_path / name).read_bytes(),)
    assert [problem.reason for problem in read.problems] == ["a picture that is not base64", "fewer than two options"]
    run = measure_aesbench(ChoicesConfig(tmp_path / "AesBench_VAL.tsv", "x"), critic=Speaker(lambda *_: "bright"))
    assert run.numbers["Look: accuracy"].value == 1
    (tmp_path / "other.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(FormatError, match="no column index"):
        read_vlmevalkit(tmp_path / "other.tsv")


def test_aqua_artquest_and_artbench(tmp_path: Path) -> None:
    write_pictures(tmp_path / "impressionism", 2)
    write_pictures(tmp_path / "ukiyo_e", 1, seed=1)
    picture = "impressionism/p000.jpg"
    rows = [
        {"image": picture, "question": "What is it?", "answer": "The boat", "need_external_knowledge": False},
        {"image": picture, "question": "Who?", "answer": "Monet", "need_external_knowledge": True},
        {"image": "../x.jpg", "question": "?", "answer": "x", "need_external_knowledge": True},
        {"image": picture, "question": "", "answer": "x", "need_external_knowledge": True},
    ]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    read = read_aqua(tmp_path / "test.json", tmp_path)
    assert [item.task for item in read.items] == ["visual", "knowledge"]
    assert len(read.problems) == 2
    run = measure_art(ChoicesConfig(tmp_path / "test.json", "x"), critic=Speaker(lambda *_: "A boat, I think."))
    assert run.numbers["visual: exact match"].value == 0
    assert run.numbers["visual: answer contained"].value == 1
    assert run.numbers["knowledge: answer contained"].value == 0
    (tmp_path / "artquest_test.csv").write_text(f"image,question,answer\n{picture},Who?,Monet\n")
    assert [item.answer for item in read_artquest(tmp_path / "artquest_test.csv", tmp_path).items] == ["Monet"]
    folder = tmp_path / "artbench"
    folder.mkdir()
    for style in ("impressionism", "ukiyo_e"):
        (tmp_path / style).rename(folder / style)
    assert len(read_artbench(folder).items) == 3
    run = measure_art(ChoicesConfig(folder, "x"), critic=Speaker(lambda *_: "Ukiyo E"))
    assert run.numbers["style: accuracy"].value == pytest.approx(1 / 3)
    assert run.numbers["style: accuracy"].chance == 0.5
    with pytest.raises(BeholderError, match="0 folders"):
        read_artbench(folder / "ukiyo_e")


def test_a_few_questions_are_drawn_the_same_way(tmp_path: Path) -> None:
    path = aesbench(tmp_path)
    runs = [measure_aesbench(ChoicesConfig(path, "x", limit=5, seed=1), critic=Speaker(speaks)) for _ in range(2)]
    assert runs[0].numbers == runs[1].numbers
    assert runs[0].data["questions"] == 5
