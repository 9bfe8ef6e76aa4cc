"""`align critic mini`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from indexes.errors import BeholderError


def mini(
    run: Annotated[Path, typer.Argument(help="Folder of the run; called again, it goes on.")],
    data: Annotated[Path | None, typer.Option(envvar="BEHOLDER_DATA", help="Folder that holds the sets.")] = None,
    embeddings: Annotated[
        list[Path] | None, typer.Option(help="EMBEDDINGS with kept scores of the sets' pictures (repeatable).")
    ] = None,
    conversations: Annotated[
        list[Path] | None, typer.Option(help="Further file of conversations, learnt as it stands (repeatable).")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="A set under --data (repeatable); default: all.")] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="Attributes to speak of (repeatable).")] = None,
    tower: Annotated[str, typer.Option(help="Image tower: an encoder in the box, or a ViT's file.")] = "beholder-mini",
    steps: Annotated[int | None, typer.Option(help="Steps; may be changed while a run is on its way.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change another setting (repeatable).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of order, words and first numbers.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Of the CPU; 0: torch's choice.")] = 0,
) -> None:
    """Train the small critic: LLaVA's layout on the box's image tower, from captions, labels and measured looks.

    Questions and comparisons are written anew at each visit of a picture. RUN/model is what `critique --critic` takes.

    Example: beholder align critic mini work/critic --data ../data --embeddings all.emb
    """
    if data is None:
        raise BeholderError("no folder of sets", "a folder", "Give --data or BEHOLDER_DATA.")
    from retrieval.progress import progress_line

    from .config import MiniConfig
    from .train import train_mini

    given: dict[str, object] = {"data": str(data), "embeddings": tuple(str(one) for one in embeddings or ())}
    given["conversations"] = tuple(str(one) for one in conversations or ())
    given |= {"tower": tower, "seed": seed, "device": device, "threads": threads}
    given |= {} if steps is None else {"steps": steps}
    given |= {"sources": tuple(source)} if source else {}
    given |= {"scorers": tuple(scorer)} if scorer else {}
    config = MiniConfig.with_settings(given, tuple(settings or ()))
    with progress_line("pictures") as progress:
        folder = train_mini(config, run, say=lambda line: typer.echo(line, err=True), progress=progress)
    typer.echo(str(folder))
