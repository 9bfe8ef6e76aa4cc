"""`align train` and `align speed`: every setting of a run is an option."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from indexes.errors import BeholderError

from .augment import AUGMENTATIONS
from .config import LABELS, LOSSES, TOWERS, AlignConfig
from .shift_cli import shift

HELP = {
    "base": "Encoder to tune: a model in the box, a folder, or a name of open_clip.",
    "pictures": "INDEX or EMBEDDINGS folder that holds pictures; may be repeated.",
    "dev_preferences": "Table to measure and choose by; default: a share of the queries.",
    "any_teacher": "Take lists of a cascade over another encoder's index.",
    "dev_share": "Share of the queries kept for that, by their words; and of the pictures, with --dev-source index.",
    "towers": f"What is tuned: {', '.join(TOWERS)}. With text, no picture is embedded again.",
    "text_lr": "Learning rate of the text tower; 0 tunes its head alone.",
    "image_lr": "Learning rate of the image tower.",
    "head_lr": "Learning rate of the heads.",
    "augment": f"Change pictures at random, where the image tower trains: {', '.join(AUGMENTATIONS)}; may be repeated.",
    "layer_decay": "A block's learning rate over that of the block above.",
    "lora_rank": "Above 0: low-rank adapters in place of the towers' weights.",
    "loss": f"Of preferences: {', '.join(LOSSES)}.",
    "beta": "Strength, multiplies logits.",
    "smoothing": "Of the preference labels.",
    "temperature": "Frozen; 0 is the base's own.",
    "labels": f"{', '.join(LABELS)}; the latter two are controls.",
    "contrastive_weight": "Of the pre-training term that holds what the encoder knows.",
    "contrastive_batch": "Captioned pictures in a step.",
    "anchor_weight": "Of the squared distance of captions' vectors to the base's: holds them, at less cost.",
    "logit_anchor_weight": "Of the variance, over captioned pictures, of queries' logits less the reference's.",
    "captions": 'Source of captions: a name, a table (.tsv) or "index"; may be repeated.',
    "queries": "Queries in a step, over all processes and micro-batches.",
    "accumulate": "Micro-batches of a step.",
    "evaluate_every": "Steps between evaluations, and between checkpoints.",
    "dev_source": 'Source whose dev split tells what is kept; "index": captions of the pictures.',
    "max_retention_loss": "Points of hit_rate@10 that may be lost.",
    "patience": "Evaluations in a row over that budget that end the run.",
    "alphas": "Weight of the tuned encoder against the base that is tried; may be repeated.",
    "device": "cpu, cuda, cuda:N or mps.",
    "precision": "auto, fp32 or bf16.",
    "partial": "Write only what changed; the checkpoint names its base.",
    "tensorboard": "Write curves into RUN/tensorboard (needs the extra train).",
}
Out = Annotated[Path | None, typer.Option(help="Write the figures as JSON, for bench report.")]

OWN = ("preferences",)  # settings that are no options


def train(
    preferences: Annotated[Path | None, typer.Argument(help="Table of preferences; with --config, that run's.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run; called again, it goes on.")] = None,
    data: Annotated[Path | None, typer.Option(envvar="BEHOLDER_DATA", help="Folder of the sources.")] = None,
    cache: Annotated[Path | None, typer.Option(help="What is computed once, kept across runs; default: RUN.")] = None,
    config: Annotated[Path | None, typer.Option(help="Start from a run's config.json.")] = None,
    seeds: Annotated[str, typer.Option(help="Several runs, RUN/seed-N each: 0,1,2.")] = "",
    out: Out = None,
    **settings: Any,
) -> None:
    """Tune an encoder on preferences, so that plain search gives what the cascade gave. Run again to go on after an
    interruption. Exit 1 where no weights keep the retention.

    Example: beholder align train lists.parquet --run work/aligned --pictures paintings.index --data ../shared/data
    """
    chosen = chosen_config(preferences, config, settings)
    if run is None:
        raise BeholderError("no folder for the run", "--run FOLDER", "Name one.")
    from .align import align
    from .seeds import align_seeds, told

    if seeds:
        several = align_seeds(chosen, _seeds(seeds), run, data, cache=cache, say=_say)
        if not several.measured:  # under torchrun only the first process has figures
            return
        for line in told(several):
            typer.echo(line)
        if out:
            from .run import run_of_seeds

            _write(out, run_of_seeds(out.stem, chosen, run, _seeds(seeds), several))
        return
    report = align(chosen, run, data, cache=cache, say=_say)
    if not report.tuned:
        return
    typer.echo(f"{report.model}\tstep {report.step}, alpha {report.alpha:g}")
    for name, value in report.tuned.items():
        typer.echo(f"dev {name}\t{value:.2f}\tbase {report.base[name]:.2f}")
    if out:
        from .run import run_of_training

        _write(out, run_of_training(out.stem, chosen, run, report))


def speed(
    preferences: Annotated[Path, typer.Argument(help="Table of preferences.")],
    data: Annotated[Path | None, typer.Option(envvar="BEHOLDER_DATA", help="Folder of the sources.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for what is computed once.")] = Path("work/align-speed"),
    repeats: Annotated[int, typer.Option(help="Steps timed, after two to warm up.")] = 20,
    out: Out = None,
    **settings: Any,
) -> None:
    """Time whole training steps beside forward and backward of the towers alone.

    Example: beholder align speed lists.parquet --pictures paintings.index --data ../shared/data
    """
    from statistics import median

    from .speed import measure_speed

    config = chosen_config(preferences, None, settings)
    timed = measure_speed(config, data, cache, repeats, _say)
    share = timed.overhead
    typer.echo(f"a step\t{median(timed.whole):.3f} s")
    typer.echo(f"towers alone\t{median(timed.towers):.3f} s")
    between = "" if share.low is None or share.high is None else f" ({100 * share.low:.1f} to {100 * share.high:.1f})"
    typer.echo(f"loss, collation, logging\t{share.mean:.1%} of a step{between}")
    if out:
        from .run import run_of_speed

        _write(out, run_of_speed(out.stem, config, repeats, timed))


def chosen_config(preferences: Path | None, config: Path | None, settings: dict[str, Any]) -> AlignConfig:
    """The settings of a run's file, or the defaults, with what was given on the command line."""
    content = AlignConfig.read(config).to_dict() if config else AlignConfig().to_dict()
    given = {name: value for name, value in settings.items() if value is not None and value != []}
    if preferences is not None:
        given["preferences"] = str(preferences)
    chosen = AlignConfig.from_dict({**content, **given})
    if not chosen.preferences or not chosen.pictures:
        raise BeholderError(
            "no preferences" if not chosen.preferences else "no folder that holds the pictures",
            "a table, and --pictures INDEX",
            "See `beholder align train --help`.",
        )
    return chosen


def _seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BeholderError(f"--seeds {text}", "whole numbers with commas: 0,1,2", "Write them so.") from error
    if len(set(found)) < len(found):
        raise BeholderError(f"--seeds {text} names one twice", "different seeds", "Write each once.")
    return found


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """The function with an option for every setting of AlignConfig in place of its **settings."""
    signature = inspect.signature(function, eval_str=True)
    parameters = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = {one.name: one.annotation for one in parameters}
    for field in fields(AlignConfig):
        if field.name in OWN:
            continue
        example: Any = field.default if field.default is not MISSING else ""
        kind: Any = list[_element(field.name, example)] if isinstance(example, tuple) else type(example)  # type: ignore[misc]
        shown = ", ".join(str(one) for one in example) if isinstance(example, tuple) else example
        told = f"{HELP.get(field.name, '')} (default: {shown if shown != '' else 'none'})".strip()
        hint = Annotated[kind | None, typer.Option(help=told, show_default=False)]
        hints[field.name] = hint
        parameters.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint))

    def call(**given: Any) -> None:
        function(**given)

    call.__doc__, call.__name__ = function.__doc__, function.__name__
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {**hints, "return": None}
    return call


def _element(name: str, example: tuple[Any, ...]) -> type:
    return type(example[0]) if example else str


def _write(out: Path, run: Any) -> None:
    from benchmarks.runs import write_run

    write_run(out, run)
    typer.echo(f"wrote {out}", err=True)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def register(app: typer.Typer) -> None:
    """Adds the commands to the verb `align`."""
    app.command("train")(_with_settings(train))
    app.command("speed")(_with_settings(speed))
    app.command("shift")(shift)
