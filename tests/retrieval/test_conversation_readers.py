"""Other people's files become conversations of ours; what breaks a rule is left out and counted with its line."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from indexes.errors import FormatError
from retrieval.critic.conversation_readers import EMOTIONS, read_artemis, read_llava, read_minigpt4, read_tar
from retrieval.critic.json_rows import json_object, json_rows
from retrieval.critic.preference_conversations import pairs_of_choices, pairs_of_votes
from retrieval.hpir import HpirItem


def llava_row(*said: str, image: Any = "1.jpg", **more: Any) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(said)]
    return {"id": "x", **({} if image is None else {"image": image}), "conversations": turns, **more}


def test_llava_records_and_their_faults(tmp_path: Path) -> None:
    rows = [
        llava_row("<image>\nWhat is it?", "A vase.", "And how?", "Loose.", type="AesI", qtype="how"),
        llava_row("What is it?", "A vase."),  # no <image>
        llava_row("<image>\nWhat?", " "),
        llava_row("Are you well?", "Yes.", image=None),  # text only
        llava_row("<image> ?", "A", "B"),
        {**llava_row("<image> ?", "A"), "conversations": [{"from": "robot", "value": "?"}]},
        llava_row("<image> ?", "A", image="gone.jpg"),
        {"id": "y"},
        llava_row("<image><image>\nWhich?", "The first.", image=["1.jpg", "1.jpg"]),
    ]
    (tmp_path / "1.jpg").write_bytes(b"x")
    path = tmp_path / "aesmmit.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
    read = read_llava(path, licence="Apache-2.0", pictures=tmp_path)
    assert [len(one.turns) for one in read.conversations] == [4, 2, 2]
    assert read.conversations[0].kind == "AesI/how"
    assert {problem.line: problem.reason.split(" (")[0] for problem in read.problems} == {
        3: "0 <image> for 1 pictures",
        4: "empty answer",
        6: "wrong order of turns",
        7: "a turn from 'robot'",
        8: "missing picture",
        9: "not a record of this format",
    }


@pytest.mark.parametrize("indent", [None, 2])
def test_lines_are_where_a_record_begins(tmp_path: Path, indent: int | None) -> None:
    text = json.dumps([{"a": [1, 2]}, {"b": "}{\n"}, 3], indent=indent)
    (tmp_path / "rows.json").write_text(text)
    found = list(json_rows(tmp_path / "rows.json"))
    assert [row for _, row in found] == json.loads(text)
    lines = text.split("\n")
    if indent:
        assert [lines[line - 1].strip() for line, _ in found] == ["{", "{", "3"]
    for cut in range(3, len(text) - 1, 7):
        (tmp_path / "cut.json").write_text(text[:cut])
        with pytest.raises(FormatError):
            list(json_rows(tmp_path / "cut.json"))


def test_objects_of_objects_keep_their_order_and_lines(tmp_path: Path) -> None:
    content = {"b.jpg": {"Q": 1}, "a.jpg": {"Q": {"deep": [1]}}}
    path = tmp_path / "o.json"
    path.write_text(json.dumps(content, indent=1))
    found = json_object(path)
    assert {name: value for _, name, value in found} == content
    assert [path.read_text().split("\n")[line - 1].split(":")[0].strip() for line, _, _ in found] == [
        '"b.jpg"',
        '"a.jpg"',
    ]
    path.write_text("{}")
    assert json_object(path) == []


def test_minigpt4_captions(tmp_path: Path) -> None:
    path = tmp_path / "filter_cap.json"
    annotations = [{"image_id": "2", "caption": "A hill."}, {"image_id": 3, "caption": ""}, {"caption": "x"}]
    path.write_text(json.dumps({"about": [], "annotations": annotations}))
    read = read_minigpt4(path)
    assert [(one.pictures, one.turns[1].text) for one in read.conversations] == [(("image/2.jpg",), "A hill.")]
    assert [problem.reason.split(" (")[0] for problem in read.problems] == [
        "empty answer",
        "not a record of this format",
    ]


def test_artemis_names_the_emotion_as_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "artemis.csv"
    path.write_text(
        "art_style,painting,emotion,utterance,repetition\n"
        'Cubism,a_b-1910,awe,"Shards, like\nglass.",2\n'
        "Cubism,c,joy,Fine.,2\n"
        "Cubism,c,fear, ,2\n"
    )
    read = read_artemis(path)
    (one,) = read.conversations
    assert one.pictures == ("Cubism/a_b-1910.jpg",)
    assert one.turns[1].text == "Awe: Shards, like\nglass."
    assert one.turns[1].claims[0].says == "awe"
    assert [(p.line, p.reason) for p in read.problems] == [(4, "emotion 'joy'"), (5, "empty answer")]
    assert len(EMOTIONS) == 9


def write_tar(path: Path, files: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_tars_of_captions_unpack_their_pictures(tmp_path: Path) -> None:
    files = {
        "00.json": json.dumps({"caption": "A hill."}).encode(),
        "00.jpg": b"one",
        "../01.jpg": b"two",
        "01.txt": b"A lake.",
        "02.jpg": b"three",
        "03.txt": b"Nothing to see.",
    }
    path = tmp_path / "00301.tar"
    write_tar(path, files)
    read = read_tar(path, tmp_path / "into")
    assert [one.turns[1].text for one in read.conversations] == ["A hill.", "A lake."]
    for one, content in zip(read.conversations, (b"one", b"two"), strict=True):
        assert (tmp_path / "into" / one.pictures[0]).read_bytes() == content
    assert [(p.line, p.reason) for p in read.problems] == [(5, "no caption"), (6, "no picture")]
    assert len(list((tmp_path / "into").rglob("*.jpg"))) == 2


def test_a_cut_tar_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, {"0.jpg": b"x" * 2000, "0.txt": b"A hill.", "1.jpg": b"x" * 2000, "1.txt": b"A lake."})
    whole = path.read_bytes()
    for cut in (1000, 2560, 3072, 4096, 6000, 6656):
        path.write_bytes(whole[:cut])
        with pytest.raises(FormatError):
            read_tar(path, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def hpir_item(*votes: str) -> HpirItem:
    said: dict[str, tuple[str | None, ...]] = dict.fromkeys(("accuracy", "aesthetics", "diversity"), votes)
    names = (None,) * len(votes)
    return HpirItem("q1", "a harbour", {}, ("a" * 64, "b" * 64), ("c" * 64,), (), said, names, names)


def test_votes_become_pairs_in_both_orders() -> None:
    find = {"a" * 64: "a.jpg", "b" * 64: "b.jpg", "c" * 64: "c.jpg"}.get
    read = pairs_of_votes([hpir_item("a", "b"), hpir_item("b", "b", "a")], "aesthetics", find, source="page")
    straight, swapped = read.conversations
    assert straight.pictures == ("a.jpg", "b.jpg", "c.jpg")
    assert (straight.turns[1].text, straight.rejected) == ("The second row.", "The first row.")
    assert swapped.pictures == ("c.jpg", "a.jpg", "b.jpg")
    assert (swapped.turns[1].text, swapped.rejected) == ("The first row.", "The second row.")
    assert straight.turns[1].claims[0].pictures == (0, 2)
    assert swapped.turns[1].claims[0].pictures == (0, 1)
    assert [problem.reason for problem in read.problems] == ["no majority", "no majority"]
    gone = pairs_of_votes([hpir_item("a")], "aesthetics", {}.get, source="page")
    assert [problem.reason for problem in gone.problems] == ["missing picture"] * 2


def test_choices_between_pictures_of_two_splits_are_left_out() -> None:
    def choice(one: int, other: int) -> dict[str, str]:
        return {"file_1": "1.jpg", "file_2": "2.jpg", "wins_1": str(one), "wins_2": str(other)}

    same, parted = {"1.jpg": "train", "2.jpg": "train"}, {"1.jpg": "train", "2.jpg": "test"}
    read = pairs_of_choices([(2, choice(2, 0)), (3, choice(1, 1))], same, "pages", source="pages")
    assert [one.turns[1].text for one in read.conversations] == ["The first one.", "The second one."]
    assert [one.pictures for one in read.conversations] == [
        ("pages/1.jpg", "pages/2.jpg"),
        ("pages/2.jpg", "pages/1.jpg"),
    ]
    assert [problem.line for problem in read.problems] == [3, 3]
    read = pairs_of_choices([(2, choice(2, 0))], parted, "", source="pages")
    assert read.told() == ["left out: 2 (pictures of different splits), line 2, 2"]
