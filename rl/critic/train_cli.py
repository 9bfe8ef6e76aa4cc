"""`align critic train` and `align critic recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from indexes.errors import BeholderError


def recipes(name: Annotated[str | None, typer.Argument(help="One of them; default: all.")] = None) -> None:
    """Values of the published recipes, each marked: read (in the paper or its code), unverified (assumed), default.

    Example: beholder align critic recipes gallerygpt
    """
    from .recipes import RECIPES, recipe_named, told

    chosen = [recipe_named(name)] if name else list(RECIPES.values())
    typer.echo("\n\n".join("\n".join(told(one)) for one in chosen))


def train(
    base: Annotated[str, typer.Option(help="Vision-language model: its folder, or name in the box or on the hub.")],
    pictures: Annotated[Path, typer.Option(help="Folder that the conversations' pictures are in.")],
    run: Annotated[Path, typer.Option(help="Folder of the run; called again, it goes on.")],
    conversations: Annotated[
        Path | None, typer.Argument(help="File of `align critic data`, for supervised training.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="aesexpert, gallerygpt, artgpt4 or artgpt4-stage1.")] = "gallerygpt",
    preferences: Annotated[
        Path | None, typer.Option(help="File whose records have a rejected answer: DPO on them, after the rest.")
    ] = None,
    start: Annotated[str, typer.Option(help="Folder of a trained critic of the same base, to train further.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a value of the recipe (repeatable).")
    ] = None,
    split: Annotated[str, typer.Option(help="Conversations to learn from.")] = "train",
    dev_split: Annotated[str, typer.Option(help="Those whose loss is told at every checkpoint.")] = "dev",
    dev_rows: Annotated[int, typer.Option(help="Of them, at most; 0: none.")] = 200,
    micro_batch: Annotated[int, typer.Option(help="Answers at once; 0: the recipe's batch.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 200,
    log_every: Annotated[int, typer.Option(help="Steps between lines of log.jsonl.")] = 10,
    seed: Annotated[int, typer.Option(help="Of order, dropout and first numbers.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="bf16, fp32 or auto: the recipe's on CUDA, else fp32.")] = "auto",
    checkpointing: Annotated[
        str, typer.Option(help="Activations computed again: on, off or auto, the recipe's on CUDA, else off.")
    ] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that open pictures.")] = 0,
    threads: Annotated[int, typer.Option(help="Of the CPU; 0: torch's choice.")] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves into RUN/tensorboard (needs the extra train).")
    ] = False,
) -> None:
    """Train a critic: on conversations, then on preference pairs. RUN/model is what `critique --critic` takes.

    Example: beholder align critic train talk.jsonl --base llava-hf/llava-1.5-7b-hf --pictures ../shared/data --recipe
    gallerygpt --run work/gallery --device cuda --micro-batch 4
    """
    if conversations is None and preferences is None:
        found = "neither CONVERSATIONS nor --preferences"
        raise BeholderError(found, "a file to learn from", "Make one with `beholder align critic data`.")
    from retrieval.progress import progress_line

    from .config import CriticConfig
    from .recipes import recipe_named
    from .train import train_critic

    config = CriticConfig(
        base=base,
        pictures=str(pictures),
        conversations=str(conversations or ""),
        preferences=str(preferences or ""),
        recipe=recipe_named(recipe).recipe.with_settings(settings or []),
        recipe_name=recipe,
        start=start,
        split=split,
        dev_split=dev_split,
        dev_rows=dev_rows,
        micro_batch=micro_batch,
        save_every=save_every,
        log_every=log_every,
        seed=seed,
        device=device,
        precision=precision,
        checkpointing=checkpointing,
        workers=workers,
        threads=threads,
        tensorboard=tensorboard,
    )
    with progress_line("pictures") as progress:
        folder = train_critic(config, run, say=lambda line: typer.echo(line, err=True), progress=progress)
    typer.echo(str(folder))
