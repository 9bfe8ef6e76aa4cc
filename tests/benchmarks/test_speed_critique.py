"""`bench speed critique`: rates of a tiny critic, and what an answer adds to its input."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.speed.critique import SpeedCritiqueConfig, _with_answer, measure
from indexes.errors import BeholderError, ConditionFailed
from tests.conftest import ROOT, write_pictures

sys.path.append(str(ROOT / "tests" / "retrieval"))


def test_rates_of_a_tiny_critic(tmp_path: Path) -> None:
    from tiny_llava import write_llava

    write_pictures(tmp_path / "pictures", 3)
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"x")
    model = write_llava(tmp_path / "llava", None)
    run = measure(SpeedCritiqueConfig(tmp_path / "pictures", str(model), batch=(1, 4), tokens=12, repeats=2))
    assert run.data["pictures"] == 3
    for size in (1, 4):
        rate = run.numbers[f"batch {size}: pictures/s"].value
        assert run.numbers[f"batch {size}: tokens/s"].value == pytest.approx(12 * rate)
        assert run.numbers[f"batch {size}: of the forward-only rate"].value > 0
        assert run.numbers[f"batch {size}: tokens/s"].n == 2
    assert str(tmp_path) not in run.command


def test_rates_of_a_critic_behind_a_server(tmp_path: Path, chat_server: str) -> None:
    write_pictures(tmp_path / "pictures", 2)
    config = SpeedCritiqueConfig(tmp_path / "pictures", f"llm:sees@{chat_server}", batch=(1, 3), repeats=2)
    run = measure(config)
    for size in (1, 3):
        rate = run.numbers[f"batch {size}: pictures/s"]
        assert rate.n == 2
        assert run.numbers[f"batch {size}: answer after"].value == pytest.approx(size / rate.value)
        assert run.numbers[f"batch {size}: tokens/s"].value == pytest.approx(10 * rate.value)  # ten tokens, it says
    assert not any("forward" in name for name in run.numbers)
    assert "127.0.0.1" not in f"{run.command}{run.data}"
    for model, said in (("silent", "answers nothing"), ("wrong-key", "status 401")):
        with pytest.raises(ConditionFailed, match=said):
            measure(replace(config, model=f"llm:{model}@{chat_server}", timeout_s=0.5))


def test_an_answer_lengthens_what_has_a_value_per_token() -> None:
    import torch

    batch = {"input_ids": torch.zeros(2, 3), "attention_mask": torch.ones(2, 3), "pixel_values": torch.ones(2, 3, 4, 4)}
    longer = _with_answer(batch, 5)
    assert longer["input_ids"].shape == longer["attention_mask"].shape == (2, 8)
    assert longer["attention_mask"].all()
    assert longer["pixel_values"].shape == (2, 3, 4, 4)


def test_mistakes_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="--tokens 0, --batch 0"):
        SpeedCritiqueConfig(tmp_path, "x", batch=(0,), tokens=0)
    with pytest.raises(BeholderError, match="no picture that can be read"):
        measure(SpeedCritiqueConfig(tmp_path, "x"))
    write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(BeholderError, match="there is no critic 'nobody'"):
        measure(SpeedCritiqueConfig(tmp_path / "pictures", "nobody"))
