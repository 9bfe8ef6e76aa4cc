"""`bench critique claims` and `pairs`: a critic that looks, one that guesses, one that always says first, one that is
silent; each gets what it deserves."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.critique.claims import measure_claims
from benchmarks.critique.critics import (
    Asked,
    ModelCritic,
    Said,
    load_critic,
    shown_spec,
    texts_of,
    unanswered,
    write_answers,
)
from benchmarks.critique.files import CritiqueConfig
from benchmarks.critique.pairs import measure_pairs
from indexes.errors import BeholderError, ConditionFailed
from retrieval.conversations import ASSISTANT, USER, Claim, Conversation, Turn, write_conversations
from retrieval.language.asking import AskSettings
from retrieval.language.chat_exchange import Answer, Failure, Question
from tests.conftest import write_pictures

WORDS = {"low": "dark", "middle": "of medium brightness", "high": "bright"}
Speak = Callable[[Asked, bool], str | None]


@dataclass
class Speaker:
    """A critic that says what a function says."""

    speak: Speak
    name: str = "speaker"
    known: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, asked: Sequence[Asked], progress: Any = None, blind: bool = False) -> list[Said]:
        return [Said(text, "" if text else "timed out") for one in asked for text in [self.speak(one, blind)]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    names = write_pictures(tmp_path / "pictures", 30)
    made = []
    for number, name in enumerate(names):
        level = ("low", "middle", "high")[number % 3]
        claim = Claim("brightness", level, (0,), (float(number),), WORDS[level])
        asked = Turn(USER, "<image>\nIs it dark, of medium brightness or bright?")
        common = {"source": "set", "split": "val", "sha256s": (f"{number:064x}",)}
        made.append(Conversation((name,), (asked, Turn(ASSISTANT, f"It is {claim.phrase}.", (claim,))), kind="level",
                                 id=f"l{number}", **common))  # fmt: skip
        turns = (Turn(USER, "<image>\nComment."), Turn(ASSISTANT, f"It is {claim.phrase}.", (claim,)))
        made.append(Conversation((name,), turns, kind="critique", id=f"c{number}", **common))
        style = Claim("style", ("cubism", "mechanistic cubism")[number % 2])
        turns = (Turn(USER, "<image>\nStyle?"), Turn(ASSISTANT, style.says, (style,)))
        made.append(Conversation((name,), turns, kind="style", id=f"s{number}", **common))
        other = (number * 7 + 3) % len(names)
        if other != number:
            more = "first" if number > other else "second"
            side = "second" if more == "first" else "first"  # darker is asked for
            claim = Claim("brightness", more, (0, 1), (float(number), float(other)), side)
            turns = (Turn(USER, "<image><image>\nWhich is darker?"), Turn(ASSISTANT, f"The {side} one.", (claim,)))
            made.append(Conversation((name, names[other]), turns, "set", split="val", kind="compare", id=f"p{number}"))
    path = tmp_path / "val.jsonl"
    write_conversations(path, made, {"scales": {"values": {"brightness": [0.0, 15.0, 30.0]}}})
    return path


def config_of(file: Path, **changes: Any) -> CritiqueConfig:
    return CritiqueConfig(file, "speaker", **{"data": file.parent / "pictures", **changes})


def number_of(asked: Asked, place: int = 0) -> int:
    picture = asked.pictures[place]
    assert isinstance(picture, Path)
    return int(picture.stem[1:])


def looks(asked: Asked, blind: bool) -> str | None:
    if blind:
        return "It is dark."
    if len(asked.pictures) == 2:
        return "The first one." if number_of(asked) < number_of(asked, 1) else "The second one."
    if "Style" in asked.text:
        return ("Cubism.", "It is mechanistic cubism.")[number_of(asked) % 2]
    return f"The picture is {WORDS[('low', 'middle', 'high')[number_of(asked) % 3]]}."


def test_a_critic_that_looks_is_told_from_a_blind_one(file: Path) -> None:
    run = measure_claims(config_of(file), critic=Speaker(looks))
    assert " val.jsonl --critic speaker --data pictures" in run.command  # the option that the verb has
    numbers = run.numbers
    assert numbers["balanced accuracy"].value == numbers["coverage"].value == 1
    assert numbers["balanced accuracy"].chance == pytest.approx(1 / 3)
    assert numbers["blind: balanced accuracy"].value == pytest.approx(1 / 3)  # always dark
    assert numbers["above the blind one"].value == pytest.approx(2 / 3)
    assert numbers["style: balanced accuracy"].value == 1
    assert numbers["free critiques: claims that are so"].value == 1
    assert numbers["free critiques: claims in a text"].value == 1


def test_silence_is_never_right_and_is_told(file: Path) -> None:
    run = measure_claims(
        config_of(file), critic=Speaker(lambda asked, _: None if number_of(asked) % 2 else looks(asked, _))
    )
    assert run.numbers["coverage"].value == 0.5
    assert run.numbers["balanced accuracy"].value == pytest.approx(0.5)
    assert any("timed out" in note for note in run.notes)


def test_nonsense_is_not_a_claim(file: Path) -> None:
    run = measure_claims(config_of(file, no_blind=True), critic=Speaker(lambda *_: "dark or bright, who knows"))
    assert run.numbers["coverage"].value == 0
    assert "blind: balanced accuracy" not in run.numbers
    assert "free critiques: claims that are so" not in run.numbers


def test_pairs_in_both_orders(file: Path) -> None:
    numbers = measure_pairs(config_of(file), critic=Speaker(looks)).numbers
    assert numbers["accuracy"].value == numbers["order consistency"].value == 1
    assert any("quarter 4" in name for name in numbers)
    numbers = measure_pairs(config_of(file), critic=Speaker(lambda *_: "The first one.")).numbers
    assert (numbers["accuracy"].value, numbers["order consistency"].value) == (0.5, 0)
    assert numbers["answers that name the first"].value == 1
    limited = measure_pairs(config_of(file, pairs=5), critic=Speaker(looks))
    assert limited.data["questions"] == 5


def test_choices_of_people_are_weighed_by_their_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 2)
    made = []
    for paths, wins in ((("p000.jpg", "p001.jpg"), (3.0, 1.0)), (("p001.jpg", "p000.jpg"), (1.0, 3.0))):
        side = ("first", "second")[wins[1] > wins[0]]
        claim = Claim("appeal", side, (0, 1), wins, side)
        turns = (Turn(USER, "<image><image>\nWhich is better?"), Turn(ASSISTANT, f"The {side} one.", (claim,)))
        made.append(Conversation(paths, turns, "pages", split="val", kind="choice"))
    write_conversations(tmp_path / "val.jsonl", made, {})
    run = measure_pairs(config_of(tmp_path / "val.jsonl"), critic=Speaker(looks))
    assert run.data["questions"] == 1  # both orders of one pair
    assert run.numbers["accuracy"].value == 1
    assert any("75.0% of 4 single choices" in note for note in run.notes)


def test_what_cannot_be_asked_is_said_in_one_line(file: Path) -> None:
    with pytest.raises(BeholderError, match="no claims of split test"):
        measure_claims(config_of(file, split="test"), critic=Speaker(looks))
    with pytest.raises(BeholderError, match="no pairs of split test"):
        measure_pairs(config_of(file, split="test"), critic=Speaker(looks))
    with pytest.raises(BeholderError, match="no critic 'speaker'"):
        measure_claims(config_of(file))


class Model:
    """Answers, fails, and notes what it was shown."""

    def __init__(self, fate: Callable[[Question], Answer | Failure]) -> None:
        self.fate, self.seen = fate, list[Question]()

    def ask_many(self, questions: Sequence[Question], progress: Any = None) -> list[Answer | Failure]:
        self.seen += questions
        return [self.fate(one) for one in questions]


def test_models_are_shown_pictures_and_their_failures_are_kept_apart(tmp_path: Path) -> None:
    (name,) = write_pictures(tmp_path, 1)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    pictures = [tmp_path / name, tmp_path / "broken.jpg", tmp_path / "gone.jpg", tmp_path / name]
    asked = [Asked(str(place), f"q{place}", (path,)) for place, path in enumerate(pictures)]
    model = Model(lambda one: Failure("timed out: 3 s") if one.user == "q3" else Answer(" Dark. ", None, "plain"))
    critic = ModelCritic(model, "m", {})
    said = critic.answer(asked)
    assert [one.text for one in said] == ["Dark.", None, None, None]
    assert [one.reason for one in said[1:]] == ["unreadable picture", "missing picture", "timed out"]
    assert unanswered(said).count("1 (") == 3
    assert texts_of(said) == ["Dark.", "", "", ""]
    assert len(model.seen) == 2
    critic.answer(asked, blind=True)
    assert model.seen[-1].pictures[0] != pictures[0].read_bytes()
    assert len({one.pictures for one in model.seen[2:]}) == 1
    with pytest.raises(ConditionFailed):
        ModelCritic(Model(lambda _: Failure("wrong key", True)), "m", {}).answer(asked)


def test_answers_of_a_file(tmp_path: Path) -> None:
    asked = [Asked("a", "?", ()), Asked("b", "?", ())]
    write_answers(tmp_path / "answers.jsonl", asked, [Said("Dark."), Said(None, "timed out")])
    critic = load_critic(f"answers:{tmp_path / 'answers.jsonl'}", AskSettings())
    assert [one.text for one in critic.answer(asked)] == ["Dark.", None]
    with pytest.raises(BeholderError, match="answers none"):
        critic.answer([Asked("c", "?", ())])
    with pytest.raises(BeholderError, match="without pictures"):
        critic.answer(asked, blind=True)
    (tmp_path / "wrong.jsonl").write_text(json.dumps({"id": 5}))
    with pytest.raises(BeholderError, match="line 1 is no answer"):
        load_critic(f"answers:{tmp_path / 'wrong.jsonl'}", AskSettings())


def test_specs_tell_neither_servers_nor_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEHOLDER_DATA", raising=False)
    assert shown_spec("llm:qwen3:8b@http://10.0.0.1:8000/v1") == "llm:qwen3:8b"
    assert shown_spec(f"hf:{tmp_path}") == f"hf:{tmp_path.name}"
    assert shown_spec("hf:owner/model") == "hf:owner/model"
    assert shown_spec("") == ""


def test_a_critic_behind_a_server(file: Path, chat_server: str) -> None:
    critic = load_critic(f"llm:stubborn@{chat_server}", AskSettings(timeout_s=20, cache=None))
    run = measure_claims(config_of(file, pictures=3, no_blind=True), critic=critic)
    assert run.numbers["coverage"].value == 0  # it would rather talk about the weather
    assert run.data["pictures"] == 3
    assert np.isfinite(run.numbers["balanced accuracy"].value)
