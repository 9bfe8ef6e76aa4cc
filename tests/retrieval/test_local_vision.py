"""A model of transformers that sees: the judge through a tiny LLaVA in this process."""

from pathlib import Path

import numpy as np
import pytest
from tiny_llava import write_llava

from indexes.errors import BeholderError
from retrieval.language.chat_exchange import Failure, Question
from retrieval.language.judge import ASPECTS, Comparison, Judge
from retrieval.language.judge_sheet import sheet
from retrieval.language.local_vision import LocalVisionModel

ANSWER = ['{"reason": "light", ', '"accuracy": 1, ', '"aesthetics": 1, ', '"diversity": 2', "}"]
BRIGHT, DARK = [np.full((30, 40, 3), value, np.uint8) for value in (250, 5)]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("models") / "llava", ANSWER)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("models") / "noisy", None)


def judge(folder: Path, cache: Path | None = None) -> Judge:
    model = LocalVisionModel(str(folder), max_answer_tokens=24, cache=str(cache) if cache else None)
    return Judge(model, "ranker", prompt="judge-ranker-2")


def test_a_local_model_judges_and_its_answers_are_kept(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Comparison("light", [BRIGHT], [DARK])]
    verdict = judge(llava, tmp_path / "a.sqlite").compare(asked)[0]
    assert verdict.said == ("".join(ANSWER), "".join(ANSWER))
    assert verdict.first == {"accuracy": (1, 1), "aesthetics": (1, 1), "diversity": (-1, -1)}
    assert verdict.choices == dict.fromkeys(ASPECTS, 0)  # it always says the same: places, not pictures
    monkeypatch.setattr(LocalVisionModel, "load", None)  # nothing is loaded where every answer is kept
    again = judge(llava, tmp_path / "a.sqlite").compare(asked)[0]
    assert again.cached
    assert again.said == verdict.said


def test_the_picture_reaches_the_model(noisy: Path) -> None:
    import torch

    model = LocalVisionModel(str(noisy))
    logits = []
    for row in ([BRIGHT], [DARK]):
        inputs = model.inputs(Question("See.", "x", (sheet([row]),)))
        token = model.load()[0].config.image_token_id
        assert int((inputs["input_ids"] == token).sum()) == 4  # one for each patch
        with torch.inference_mode():
            logits.append(model.load()[0](**inputs).logits[0, -1])
    assert (logits[0] - logits[1]).abs().max() > 1e-4


def test_noise_is_no_verdict(noisy: Path) -> None:
    verdict = judge(noisy).compare([Comparison("light", [BRIGHT], [DARK])])[0]
    assert verdict.choices == dict.fromkeys(ASPECTS, None)
    assert all(problem.startswith("unusable answer") for problem in verdict.problems)
    assert len(verdict.said) == 2  # and what it said is there to be looked at


def test_what_is_no_model_that_sees_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    plain = write_llava(tmp_path / "plain", ANSWER, template=False)
    for folder, said in ((plain, "no chat template"), (tmp_path / "empty", "cannot be loaded")):
        with pytest.raises(BeholderError, match=said) as caught:
            judge(folder).compare([Comparison("light", [BRIGHT], [DARK])])
        assert "\n" not in str(caught.value)
    with pytest.raises(BeholderError, match="there is no folder"):
        LocalVisionModel("/no/such/model")


def test_a_sheet_longer_than_the_context_is_a_failure(tmp_path: Path) -> None:
    short = write_llava(tmp_path / "short", ANSWER, context=64)
    answer = LocalVisionModel(str(short), max_answer_tokens=24).ask_many([Question("s" * 64, "x", ())])[0]
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("over-long")
