"""`bench critique texts`, `captions` and `grades`: what is compared with what, the controls beside it, the verbs."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.critique.captions import CaptionsConfig, measure_captions, nearest_captions
from benchmarks.critique.critics import ModelCritic
from benchmarks.critique.grades import GradesConfig, measure_grades, read_answers
from benchmarks.critique.texts import TextsConfig, measure_written
from indexes.errors import BeholderError, FormatError
from retrieval.language.chat_exchange import Answer, Failure, Question
from tests.benchmarks.test_critique_claims import Speaker
from tests.conftest import write_pictures

Run = Callable[..., subprocess.CompletedProcess[str]]
ANALYSES = [
    "A tall vase stands on a dark table, and the light falls on it from the left.",
    "Three boats lie in a calm harbour under a wide and pale evening sky.",
    "The figure turns away, so that red cloth fills the middle of the canvas.",
]


def painting_form(folder: Path) -> Path:
    names = write_pictures(folder, 3)
    rows = [
        {"image": name, "conversations": [{"from": "human", "value": "<image>\nAnalyse the form."},
                                          {"from": "gpt", "value": text}]}
        for name, text in zip(names, ANALYSES, strict=True)
    ]  # fmt: skip
    (folder / "formalanalysis_test_gpt.json").write_text(json.dumps(rows))
    return folder / "formalanalysis_test_gpt.json"


def place_of(asked: Any) -> int:
    return int(asked.pictures[0].stem[1:])


def test_analyses_beside_controls_and_quoted_rows(tmp_path: Path) -> None:
    path = painting_form(tmp_path)
    run = measure_written(TextsConfig(path, "x"), critic=Speaker(lambda asked, _: ANALYSES[place_of(asked)]))
    numbers = run.numbers
    assert numbers["ROUGE-L"].value == pytest.approx(1)
    assert numbers["words, of the references'"].value == 1
    assert numbers["control, answers to other pictures: ROUGE-L"].value < 0.4
    assert numbers["control, the question itself: BLEU-4"].value < 0.05
    assert numbers["GalleryGPT: METEOR"].value == pytest.approx(0.3762)
    assert numbers["GalleryGPT: METEOR"].source is not None
    assert numbers["METEOR"].low is not None
    assert numbers["BLEU-4"].low is None  # a corpus metric
    assert any("WordNet" in note for note in run.notes)
    run = measure_written(TextsConfig(path, "x"), critic=Speaker(lambda asked, _: None))
    assert run.numbers["ROUGE-L"].value == 0
    assert any("3 (timed out)" in note for note in run.notes)


def test_artemis_people_are_references_and_name_emotions(tmp_path: Path) -> None:
    rows = ["art_style,painting,emotion,utterance,split"]
    for place in range(3):
        rows += [f"Cubism,p00{place},awe,the colours glow,test", f"Cubism,p00{place},fear,it is dark,test"]
    rows.append("Cubism,p000,awe,wide sky,test")
    rows.append("Cubism,p001,awe,another,train")
    write_pictures(tmp_path / "Cubism", 3)
    for place in range(3):
        (tmp_path / f"Cubism/p00{place}.jpg").rename(tmp_path / f"Cubism/p00{place}.jpg")
    (tmp_path / "artemis.csv").write_text("\n".join(rows) + "\n")
    config = TextsConfig(tmp_path / "artemis.csv", "x", split="test")
    run = measure_written(config, critic=Speaker(lambda asked, _: "Fear: it is dark"))
    assert run.data["texts"] == 3
    # Of the first, awe 2 and fear 1; of the others a tie.
    assert run.numbers["emotion: the one most people named"].value == pytest.approx(2 / 3)
    assert run.numbers["emotion: share of people who named it"].value == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert not any("GalleryGPT" in name for name in run.numbers)
    with pytest.raises(BeholderError, match="nothing to compare"):
        measure_written(TextsConfig(tmp_path / "artemis.csv", "x", split="val"), critic=Speaker(lambda *_: ""))


def captions_of(folder: Path) -> tuple[Path, Path]:
    names = write_pictures(folder, 6)
    lines, splits = ["image\tcaption"], ["image\tsplit"]
    for place, name in enumerate(names):
        lines += [f"{name}\ta thing number{place // 2} stands on green grass", f"{name}\tthis is number{place // 2}"]
        splits.append(f"{name}\t{('train', 'val')[place % 2]}")
    (folder / "captions.tsv").write_text("\n".join(lines) + "\n")
    (folder / "splits.tsv").write_text("\n".join(splits) + "\n")
    return folder / "captions.tsv", folder / "splits.tsv"


def test_captions_beside_a_person(tmp_path: Path) -> None:
    table, splits = captions_of(tmp_path)
    config = CaptionsConfig(table, "x", splits=splits)
    run = measure_captions(
        config, critic=Speaker(lambda asked, _: f"a thing number{place_of(asked) // 2} stands on green grass")
    )
    assert run.data["pictures"] == 3
    assert run.numbers["ROUGE-L"].value == pytest.approx(1)
    assert run.numbers["CIDEr-D"].unit == "of 10"
    assert run.numbers["a person: ROUGE-L"].value < 0.5
    with pytest.raises(BeholderError, match="neither"):
        measure_captions(CaptionsConfig(table, splits=splits))


def test_the_nearest_training_picture_lends_its_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Column:
        def to_pylist(self) -> list[str]:
            return ["all/a.jpg", "all/b.jpg", "all/c.jpg"]

    class Items:
        def column(self, _: str) -> Column:
            return Column()

    class Fake:
        def __init__(self, _: Path) -> None: ...

        def items(self) -> Items:
            return Items()

        def blocks(self) -> list[tuple[Any, Any]]:
            return [(None, np.array([[1, 0], [0.6, 0.8]])), (None, np.array([[0, 1.0]]))]

    monkeypatch.setattr("benchmarks.critique.captions.Embeddings", Fake)
    known = {"a.jpg": ["of a", "again"], "c.jpg": ["of c"]}
    assert nearest_captions(tmp_path, ["b.jpg", "a.jpg"], known) == ["of c", "of c"]  # never itself
    with pytest.raises(BeholderError, match="1 of 1 pictures are not in"):
        nearest_captions(tmp_path, ["x.jpg"], known)


ANSWERS = "# IDC\n1.\nA:A vase.\n\nWith flowers.\n\nM:A vase\n2.\nA:Boats.\nM: Two boats.\n# ISAC\n1.\nA:Calm.\n"


class Grader:
    def ask_many(self, questions: Sequence[Question], progress: Any = None) -> list[Answer | Failure]:
        return [
            Failure("timed out")
            if "Calm" in one.user
            else Answer("", {"grade": 4 if "flowers" in one.user else 2}, "x")
            for one in questions
        ]


def test_grades_by_hand(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text(ANSWERS)
    read = read_answers(tmp_path / "answers.txt")
    assert [(one.task, one.number, one.system) for one in read] == [
        ("IDC", 1, "A"),
        ("IDC", 1, "M"),
        ("IDC", 2, "A"),
        ("IDC", 2, "M"),
        ("ISAC", 1, "A"),
    ]
    assert read[0].text == "A vase.\n\nWith flowers."
    run = measure_grades(GradesConfig(tmp_path / "answers.txt", "x"), judge=ModelCritic(Grader(), "judge", {}))
    assert run.numbers["IDC: ArtGPT-4"].value == 3
    assert run.numbers["IDC: MiniGPT-4"].value == 2
    assert run.numbers["ArtGPT-4 above MiniGPT-4"].value == 1
    assert "ISAC: ArtGPT-4" not in run.numbers  # not graded
    assert run.numbers["IDC: ArtGPT-4, words"].value == 2.5
    assert any("1 of 5 have no grade" in note for note in run.notes)
    (tmp_path / "stray.txt").write_text("# IDC\nstray\n")
    with pytest.raises(FormatError, match="line 2"):
        read_answers(tmp_path / "stray.txt")


def test_the_shipped_answers_are_read(data: Path) -> None:
    read = read_answers(data / "labels" / "artgpt4_sample_answers.txt")
    counts = {(task, system): sum((one.task, one.system) == (task, system) for one in read)
              for task in ("IDC", "ICRC", "ISAC") for system in "AM"}  # fmt: skip
    assert counts == {("IDC", "A"): 10, ("IDC", "M"): 10, ("ICRC", "A"): 5, ("ICRC", "M"): 5, ("ISAC", "A"): 10,
                      ("ISAC", "M"): 10}  # fmt: skip
    assert all(one.text for one in read)


@pytest.fixture
def data() -> Path:
    import os

    root = os.environ.get("BEHOLDER_DATA")
    if not root:
        pytest.skip("BEHOLDER_DATA is not set")
    return Path(root)


def test_the_verbs_from_the_command_line(tmp_path: Path, beholder: Run) -> None:
    path = painting_form(tmp_path)
    answers = tmp_path / "answers.jsonl"
    stem = path.stem
    answers.write_text(
        "".join(json.dumps({"id": f"{stem}-{n}", "answer": text}) + "\n" for n, text in enumerate(ANALYSES))
    )
    out = tmp_path / "run.json"
    said = beholder("bench", "critique", "texts", path, "--critic", f"answers:{answers}", "--out", out, "--json").stdout
    assert json.loads(said)["numbers"]["ROUGE-L"]["value"] == pytest.approx(1)
    assert str(tmp_path) not in out.read_text()
    for verb in ("claims", "pairs", "captions", "texts", "aesbench", "art", "grades"):
        assert "Example: beholder bench critique" in beholder("bench", "critique", verb, "--help").stdout
    wrong = beholder("bench", "critique", "claims", tmp_path / "gone.jsonl", "--critic", "hf:x", check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
