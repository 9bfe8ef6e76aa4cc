"""Every verb of `bench critique` with a wrong file, an empty one, one question, and pictures that are missing: one
clear line, or the result with a word on how little it means."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from indexes.errors import BeholderError
from retrieval.conversations import ASSISTANT, USER, Claim, Conversation, Turn, write_conversations

OPTIONS = {"Question": "How is it?", "Options": "A. High\nB. Low", "Answer": "A"}
RECORD = {name: OPTIONS for name in ("AesP_data", "AesE_data", "AesA1_data", "AesI_data")}  # noqa: C420
TALK = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A vase on a table."}]
ONE = {
    "captions.tsv": "image\tcaption\tsplit\n1.jpg\ta vase on a table\tval\n1.jpg\ta vase\tval\n",
    "talks.json": json.dumps([{"image": "1.jpg", "conversations": TALK}]),
    "aesbench.json": json.dumps({"1.jpg": RECORD}),
    "aqua.json": json.dumps(
        [{"image": "1.jpg", "question": "What?", "answer": "vase", "need_external_knowledge": False}]
    ),
    "grades.txt": "# IDC\n1.\nA:A vase.\n",
}
EMPTY = {"captions.tsv": "image\tcaption\tsplit\n", "talks.json": "[]", "aesbench.json": "{}", "aqua.json": "[]",
         "grades.txt": "", "claims.jsonl": '{"kind": "beholder-conversations", "format": 1}\n'}  # fmt: skip
VERBS = {
    "claims": "claims claims.jsonl --no-blind",
    "pairs": "pairs claims.jsonl",
    "captions": "captions captions.tsv",
    "texts": "texts talks.json",
    "aesbench": "aesbench aesbench.json",
    "art": "art aqua.json",
}
SAID = {
    ("wrong", "claims"): "is not JSON",
    ("wrong", "pairs"): "is not JSON",
    ("wrong", "captions"): "is not UTF-8",
    ("wrong", "texts"): "cannot be read",
    ("wrong", "aesbench"): "cannot be read",
    ("wrong", "art"): "cannot be read",
    ("empty", "claims"): "no usable conversation",
    ("empty", "pairs"): "no usable conversation",
    ("empty", "captions"): "has no rows|in split 'val'",
    ("empty", "texts"): "nothing to compare with",
    ("empty", "aesbench"): "no question that can be asked",
    ("empty", "art"): "no question that can be asked",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("wrong", "empty", "one"):
        (tmp_path / kind).mkdir()
        for name in EMPTY:
            (tmp_path / kind / name).write_bytes(b"\xff\xfe\x00no text")
    for name, text in EMPTY.items():
        (tmp_path / "empty" / name).write_text(text)
    for name, text in ONE.items():
        (tmp_path / "one" / name).write_text(text)
    claim = Claim("brightness", "low", (0,), (1.0,), "dark")
    turns = (Turn(USER, "<image>\nHow?"), Turn(ASSISTANT, "It is dark.", (claim,)))
    write_conversations(
        tmp_path / "one" / "claims.jsonl", [Conversation(("1.jpg",), turns, "s", split="val", kind="level", id="l")], {}
    )
    (tmp_path / "answers.jsonl").write_text('{"id": "nothing that is asked", "answer": "x"}\n')
    return tmp_path


def asked(folder: Path, kind: str, verb: str, critic: str) -> list[str]:
    name, file, *rest = VERBS[verb].split()
    return ["critique", name, str(folder / kind / file), *rest, "--critic", critic]


@pytest.mark.parametrize(("kind", "verb"), SAID)
def test_what_is_wrong_is_said_in_one_line(kind: str, verb: str, folder: Path) -> None:
    done = CliRunner().invoke(app, asked(folder, kind, verb, f"answers:{folder / 'answers.jsonl'}"))
    assert isinstance(done.exception, BeholderError), done.exception or done.stdout
    assert "\n" not in str(done.exception)
    with pytest.raises(BeholderError, match=SAID[kind, verb]):
        raise done.exception


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "pairs"])
def test_one_question_whose_picture_is_missing_is_counted_and_has_no_interval(
    verb: str, folder: Path, chat_server: str
) -> None:
    done = CliRunner().invoke(app, [*asked(folder, "one", verb, f"llm:stubborn@{chat_server}"), "--json"])
    assert done.exit_code == 0, done.exception
    content = json.loads(done.stdout)
    assert any("missing picture" in note for note in content["notes"])
    measured = [one for one in content["numbers"].values() if "source" not in one]
    assert measured
    assert not any("low" in one for one in measured)


def test_answers_to_other_questions_are_refused(folder: Path) -> None:
    done = CliRunner().invoke(app, asked(folder, "one", "claims", f"answers:{folder / 'answers.jsonl'}"))
    assert isinstance(done.exception, BeholderError)
    assert "answers none of the questions" in str(done.exception)


@pytest.mark.parametrize(("kind", "said"), [("wrong", "cannot be read"), ("empty", "holds no answers")])
def test_grades_of_a_bad_file(kind: str, said: str, folder: Path, chat_server: str) -> None:
    given = ["critique", "grades", str(folder / kind / "grades.txt"), "--judge", f"llm:good@{chat_server}"]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, BeholderError)
    assert said in str(done.exception)
