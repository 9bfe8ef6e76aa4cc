"""What `align train` and `align speed` found, as a run of benchmarks/runs.py: dev figures beside the base's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path

from .align import AlignReport
from .config import AlignConfig
from .seeds import SeedReport, summary
from .speed import Speed

POINTS = ("hit_rate", "pair_accuracy", "_percentile@")  # figures that are percent


def run_of_training(name: str, config: AlignConfig, run: Path, report: AlignReport) -> Run:
    """One training: dev figures of the base and of the checkpoint."""
    numbers = {}
    for figure, value in report.tuned.items():
        numbers[f"dev {figure}: base"] = _number(figure, report.base[figure])
        numbers[f"dev {figure}: aligned"] = _number(figure, value)
    numbers["seconds"] = Number(report.seconds, "s")
    told = f"Weights of step {report.step}, {report.alpha:g} of the way from the base, chosen on these dev figures."
    command = _command("align train", config, {"run": portable_path(run)})
    return Run(
        name, command, describe_machine(config.device), config.seed, {"settings": _settings(config)}, numbers, (told,)
    )


def run_of_seeds(name: str, config: AlignConfig, run: Path, seeds: Sequence[int], report: SeedReport) -> Run:
    """Several seeds: the mean of each figure, and its interval over them."""
    numbers = {}
    for figure, one in summary(report).items():
        numbers[f"dev {figure}: base"] = _number(figure, one["base"])
        numbers[f"dev {figure}: aligned"] = _number(figure, one["mean"], one["half"], len(report.runs))
    numbers["seconds"] = Number.of_repeats([one.seconds for one in report.runs.values()], "s")
    numbers["seeds outside the retention budget"] = Number(float(len(report.failed)), "", n=len(seeds))
    told = "Intervals are over seeds (Student). Figures are of the dev data that weights were chosen on."
    command = _command("align train", config, {"run": portable_path(run), "seeds": ",".join(map(str, seeds))})
    machine = describe_machine(config.device)
    return Run(name, command, machine, seeds[0], {"settings": _settings(config)}, numbers, (told,))


def run_of_speed(name: str, config: AlignConfig, repeats: int, speed: Speed) -> Run:
    numbers = {
        "a step": Number.of_repeats(speed.whole, "s"),
        "forward, backward and optimizer of the towers alone": Number.of_repeats(speed.towers, "s"),
        "collation, losses and log, of a step": Number.of(speed.overhead),
    }
    told = f"Medians; {repeats} steps each way, by turns and over the same batches: {config.queries} queries"
    told += f" and {config.contrastive_batch} captions a step." if config.uses_captions else " a step."
    command = _command("align speed", config, {"repeats": repeats})
    return Run(name, command, describe_machine(config.device), config.seed, {}, numbers, (told,))


def _number(figure: str, value: float, half: float | None = None, n: int | None = None) -> Number:
    scale, unit = (0.01, "share") if any(part in figure for part in POINTS) else (1.0, "")
    low, high = (None, None) if half is None else (scale * (value - half), scale * (value + half))
    return Number(scale * value, unit, low, high, n)


def _command(verb: str, config: AlignConfig, more: Mapping[str, Any]) -> str:
    """The command line of a configuration: the table is its argument."""
    options = [(one.name, one.type, field(default=one.default)) for one in fields(config) if one.name != "preferences"]
    added = [(name, type(value), field(default=None)) for name, value in more.items()]
    made = make_dataclass("Command", [("preferences", str), *added, *options])
    return command_of(verb, made(**asdict(config), **more))


def _settings(config: AlignConfig) -> dict[str, Any]:
    """What a reader needs of the settings that the command does not show."""
    return {"towers": config.towers, "loss": config.loss, "labels": config.labels, "steps": config.steps}
