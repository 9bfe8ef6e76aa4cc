"""The record of conversations about pictures: what it refuses, its file, splits by picture, loss on answers only."""

import json
from pathlib import Path
from typing import Any

import pytest

from indexes.errors import BeholderError, FormatError
from retrieval.conversations import (
    ASSISTANT,
    USER,
    Claim,
    Conversation,
    Turn,
    read_conversations,
    split_by_picture,
    write_conversations,
)
from retrieval.critic.conversation_rows import answer_mask, answer_spans, preference_row, training_rows


def two_answers(**changes: Any) -> Conversation:
    turns = (
        Turn(USER, "<image>\nHow bright is it?"),
        Turn(ASSISTANT, "It is dark.", (Claim("brightness", "low", (0,), (12.5,), "dark"),)),
        Turn(USER, "And its style?"),
        Turn(ASSISTANT, "Cubist."),
    )
    return Conversation(**{"pictures": ("a/1.jpg",), "turns": turns, "source": "test", "id": "one", **changes})


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "wrong order"),
        ([Turn(ASSISTANT, "Dark.")], "wrong order"),
        ([Turn(USER, "<image> ?")], "wrong order"),
        ([Turn(USER, "<image> ?"), Turn(USER, "?"), Turn(ASSISTANT, "Dark.")], "wrong order"),
        ([Turn(USER, "<image> ?"), Turn("critic", "Dark.")], "wrong order"),
        ([Turn(USER, "<image> ?"), Turn(ASSISTANT, " \n")], "empty answer"),
        ([Turn(USER, "<image>\n"), Turn(ASSISTANT, "Dark.")], "empty question"),
        ([Turn(USER, "?"), Turn(ASSISTANT, "Dark.")], "0 <image> for 1"),
        ([Turn(USER, "<image><image> ?"), Turn(ASSISTANT, "Dark.")], "2 <image> for 1"),
        ([Turn(USER, "<image> ?"), Turn(ASSISTANT, "<image>")], "outside a question"),
        ([Turn(USER, "<image> ?"), Turn(ASSISTANT, "Dark.", (Claim("brightness", "low", (1,)),))], "not there"),
    ],
)
def test_a_record_that_breaks_a_rule_says_which(turns: list[Turn], reason: str) -> None:
    with pytest.raises(BeholderError, match=reason):
        Conversation(("a.jpg",), tuple(turns), "test")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../secret.jpg", "a/../../b.jpg", "a\\..\\b.jpg"])
def test_pictures_stay_in_their_folder(path: str) -> None:
    with pytest.raises(BeholderError, match="leads out"):
        two_answers(pictures=(path,))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    whole = [two_answers(), two_answers(id="pair", rejected="Baroque.", sha256s=("0" * 64,), split="dev")]
    assert write_conversations(tmp_path / "c.jsonl", whole, {"made": "test"}) == 2
    read = read_conversations(tmp_path / "c.jsonl")
    assert list(read.conversations) == whole
    assert read.problems == ()
    assert read.origin == {"made": "test"}


def test_bad_lines_are_counted_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write_conversations(path, [two_answers()], {})
    record = two_answers().to_dict()
    bad: list[Any] = [{**record, "turns": record["turns"][:3]}, {**record, "turns": 5}, {"id": "x"}]
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in bad)
    read = read_conversations(path)
    assert [problem.line for problem in read.problems] == [3, 4, 5]
    assert read.told()[-1] == "left out: 1 (wrong order of turns), line 3"


def test_a_newer_format_and_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    for header in ({"kind": "beholder-conversations", "format": 2}, {"kind": "beholder-votes", "format": 1}):
        path.write_text(json.dumps(header) + "\n")
        with pytest.raises(FormatError):
            read_conversations(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write_conversations(path, [two_answers()], {})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="line 2"):
        read_conversations(path)


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").write_bytes(b"x")
    path = tmp_path / "c.jsonl"
    write_conversations(path, [two_answers(), two_answers(pictures=("a/2.jpg",))], {})
    read = read_conversations(path, tmp_path)
    assert [one.pictures for one in read.conversations] == [("a/1.jpg",)]
    assert read.told() == ["left out: 1 (missing picture), line 3"]


def test_splits_never_part_a_picture() -> None:
    turns = (Turn(USER, "<image> ?"), Turn(ASSISTANT, "Dark."))
    both = (Turn(USER, "<image><image> Which?"), Turn(ASSISTANT, "The first."))
    names = [f"{n}.jpg" for n in range(400)]
    single = [Conversation((name,), turns, "test", id=str(again)) for name in names for again in range(3)]
    pairs = [Conversation((a, b), both, "test") for a, b in zip(names[::2], names[1::2], strict=True)]
    kept, torn = split_by_picture([*single, *pairs], 0.25)
    sides: dict[str, set[str]] = {}
    for one in kept:
        for picture in one.pictures:
            sides.setdefault(picture, set()).add(one.split)
    assert all(len(side) == 1 for side in sides.values())
    assert len(kept) + torn == len(single) + len(pairs)
    assert torn > 0
    held_out = sum(side == {"dev"} for side in sides.values())
    assert 60 < held_out < 140  # a quarter of 400


def test_each_answer_is_trained_on_once_and_questions_never() -> None:
    rows = list(training_rows(two_answers(), Path("/data")))
    assert [row["completion"][0]["content"][0]["text"] for row in rows] == ["It is dark.", "Cubist."]
    assert rows[0]["images"] == rows[1]["images"] == ["/data/a/1.jpg"]
    assert [part["type"] for part in rows[0]["prompt"][0]["content"]] == ["image", "text"]
    assert [message["role"] for message in rows[1]["prompt"]] == [USER, ASSISTANT, USER]
    assert all(message["role"] == ASSISTANT for row in rows for message in row["completion"])


def test_a_preference_pair_shares_its_prompt() -> None:
    row = preference_row(two_answers(rejected="Baroque."), Path("/data"))
    assert row["chosen"][0]["content"][0]["text"] == "Cubist."
    assert row["rejected"][0]["content"][0]["text"] == "Baroque."
    assert len(row["prompt"]) == 3
    with pytest.raises(BeholderError, match="preference pair"):
        preference_row(two_answers(), Path("/data"))


def template(said: list[dict[str, Any]], add_generation_prompt: bool) -> str:
    """A chat template as models have it."""
    text = ""
    for message in said:
        words = "".join("<image>" if part["type"] == "image" else part["text"] for part in message["content"])
        text += f"[{message['role']}] {words}</s>"
    return text + ("[assistant] " if add_generation_prompt else "")


def test_only_the_answers_of_a_rendered_conversation_are_masked_in() -> None:
    turns = two_answers().turns
    spans = answer_spans(turns, template)
    whole = template([*_rendered(turns)], False)
    assert [whole[start:end] for start, end in spans] == ["It is dark.</s>", "Cubist.</s>"]
    start = whole.index("dark")
    assert answer_mask([(0, 0), (start, start + 4), (start - 20, start + 4)], spans) == [False, True, False]


def test_a_template_that_rewrites_history_is_refused() -> None:
    def forgets(said: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        return f"{len(said)} " + template(said[-1:], add_generation_prompt)

    with pytest.raises(BeholderError, match="rewrites"):
        answer_spans(two_answers().turns, forgets)


def _rendered(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    from retrieval.critic.conversation_rows import messages

    return messages(turns)
