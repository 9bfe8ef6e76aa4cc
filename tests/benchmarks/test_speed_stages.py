"""Protects the latency of searches by stage: what is counted under which name, never the speed itself."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.runs import Number, Run, read_run
from benchmarks.speed import stages as speed_stages
from benchmarks.speed.search import SpeedSearchConfig
from benchmarks.speed.stages import STAGES, bars, parse_explained, warm_numbers
from indexes.errors import BeholderError

EXPLAINED = """query     a boat
7091 pictures, Flat; queries by LightTextEncoder
   start    0.150 s
    open    0.020 s
  encode    0.300 s
 cut-off    0.001 s
  search    0.002 s
   items    0.003 s
   total    0.476 s
"""


def test_stages_of_a_command_are_read_as_it_tells_them() -> None:
    assert parse_explained(EXPLAINED) == {
        "start": 0.15,
        "open": 0.02,
        "encode": 0.3,
        "cut-off": 0.001,
        "search": 0.002,
        "items": 0.003,
        "total": 0.476,
    }
    with pytest.raises(BeholderError, match="no total"):
        parse_explained("query     a boat\n")


class Slow:
    """A searcher whose stages take what is said: encode 1 ms a text, search 2 ms, items 4 ms."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def search(self, texts: list[str], config: object) -> list[object]:
        self.calls.append(list(texts))
        count = len(texts)

        class Answer:
            seconds = {"encode": 0.001 * count, "search": 0.002 * count, "items": 0.004 * count}  # noqa: RUF012

            def to_dict(self) -> dict[str, object]:
                return {}

        return [Answer() for _ in texts]


def test_calls_hold_different_texts_and_times_are_of_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_stages, "CALLS", 20)
    searcher = Slow()
    numbers = warm_numbers(searcher, ["a", "b", "a", "c", "d", "e"], 2, 10, repeats=3)  # type: ignore[arg-type]
    assert {tuple(call) for call in searcher.calls} == {("a", "b"), ("c", "d")}
    assert len(searcher.calls) == speed_stages.WARM_UP + 3 * 10
    assert numbers["batch 2: encode"] == Number(1.0, "ms", 1.0, 1.0, 3, spread="range")
    assert numbers["batch 2: items"].value == pytest.approx(4)
    assert numbers["batch 2: total"].value == pytest.approx(7 + numbers["batch 2: format"].value, rel=0.2)
    with pytest.raises(BeholderError, match="5 different texts for a batch of 6"):
        warm_numbers(searcher, ["a", "b", "a", "c", "d", "e"], 6, 10, repeats=3)  # type: ignore[arg-type]


def test_bars_stack_stages_and_leave_totals_out() -> None:
    numbers = {f"batch 1: {stage}": Number(float(place), "ms") for place, stage in enumerate(STAGES)}
    numbers |= {"batch 1: total": Number(6.0, "ms"), "command: open": Number(5.0, "ms")}
    numbers |= {"command: by the clock": Number(9.0, "ms")}
    drawn = bars(Run("r", "c", {}, 0, {}, numbers))
    assert drawn[""][0].parts == {"encode": 0.0, "search": 1.0, "items": 2.0, "format": 3.0}
    assert drawn["command"][0].parts == {"open": 5.0}


def test_stages_of_a_real_search_add_up(
    tiny_index: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_stages, "CALLS", 4)
    (tmp_path / "texts").write_text("a red picture\ngreen noise\n")
    words = ["--index", str(tiny_index), "--texts", str(tmp_path / "texts"), "--model", str(tiny_model)]
    out = tmp_path / "stages.json"
    result = CliRunner().invoke(app, ["speed", "search", *words, "--repeats", "1", "--out", str(out)])
    assert result.exit_code == 0, result.exception
    run = read_run(out)
    values = {name: number.value for name, number in run.numbers.items()}
    assert run.data["pictures"] == 12
    assert run.data["texts"] == 2
    assert set(STAGES) < {name.removeprefix("batch 1: ") for name in values}
    stages = [values[name] for name in values if name.startswith("command: ") and name != "command: by the clock"]
    np.testing.assert_allclose(sum(stages), values["command: by the clock"])
    assert "<svg" in (tmp_path / "stages.svg").read_text()
    assert "<svg" in (tmp_path / "stages-command.svg").read_text()
    assert str(tmp_path) not in out.read_text()


def test_an_index_without_texts_is_refused() -> None:
    with pytest.raises(BeholderError, match="go together"):
        SpeedSearchConfig(index=Path("x"))
    assert SpeedSearchConfig().sizes == (1, 64)
    assert SpeedSearchConfig(index=Path("x"), texts=Path("y")).sizes == (1,)
