"""Steps of experiments: finished ones are not run again, other settings are refused, val is read once; the command."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.runs import Number, Run, read_run
from indexes.errors import BeholderError, ConditionFailed
from rl.experiments.cli import command_for
from rl.experiments.steps import Steps, content_of, option


def test_a_finished_step_is_not_run_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def make() -> dict[str, object]:
        calls.append("made")
        return {"values": (1, 2)}

    first = Steps(tmp_path).do("draw", {"seed": 0}, make)
    again = Steps(tmp_path).do("draw", {"seed": 0}, make)

    assert first == again == {"values": [1, 2]}
    assert calls == ["made"]


def test_a_step_that_failed_leaves_nothing_and_runs_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Steps(tmp_path).do("draw", {}, lambda: {"value": 1 / 0})

    assert Steps(tmp_path).do("draw", {}, lambda: {"value": 1}) == {"value": 1}


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    Steps(tmp_path).do("draw", {"seed": 0, "path": Path("a")}, lambda: {})

    with pytest.raises(BeholderError, match="another seed"):
        Steps(tmp_path).do("draw", {"seed": 1, "path": Path("a")}, lambda: {})


def test_val_is_read_once(tmp_path: Path) -> None:
    Steps(tmp_path).once("val", {"alpha": 0.5}, lambda: {"precision": 0.3})

    assert Steps(tmp_path).once("val", {"alpha": 0.5}, lambda: {}) == {"precision": 0.3}
    with pytest.raises(ConditionFailed, match="read before"):
        Steps(tmp_path).once("val", {"alpha": 1.0}, lambda: {})


@dataclass(frozen=True)
class Toy:
    run: Path
    rates: tuple[float, ...] = option((0.1, 0.2), "Tried in turn.")
    seed: int = option(0, "Of everything.")
    data: Path | None = option(None, "Folder.")


def _measure(config: Toy, say: object) -> Run:
    """A toy.

    Example: beholder align experiment toy work/toy
    """
    return Run("toy", "beholder", {}, config.seed, {}, {"sum": Number(sum(config.rates), "")})


def test_every_field_is_an_option_and_the_result_lies_in_the_run(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("toy")(command_for(SimpleNamespace(measure=_measure), Toy))
    app.command("other")(lambda: None)

    result = CliRunner().invoke(app, ["toy", str(tmp_path), "--rates", "1", "--rates", "2.5", "--seed", "3"])

    assert result.exit_code == 0, result.output
    kept = read_run(tmp_path / "result.json")
    assert (kept.numbers["sum"].value, kept.seed) == (3.5, 3)
    told = CliRunner().invoke(app, ["toy", "--help"]).output
    assert "Tried in turn." in told


def test_settings_without_a_name_are_left_out_of_the_content() -> None:
    assert content_of(Toy(Path("a")), without=("run",)) == {"rates": [0.1, 0.2], "seed": 0, "data": None}


def test_experiments_load_without_the_training_libraries() -> None:
    import subprocess

    code = "import sys, rl.experiments.cli; print(any(name in sys.modules for name in ('torch', 'transformers')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "False"
