"""The verb `bench look`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import Json, Name, Out, Seed, finish, name_of_run


def look(
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    text_column: Annotated[str, typer.Option(help="Column of captions.")] = "caption",
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    split: Annotated[str, typer.Option(help="The split that is searched.")] = "val",
    pictures: Annotated[Path | None, typer.Option(help="Folder that names are relative to; else the table's.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS to read, or to make and keep.")] = None,
    words: Annotated[Path | None, typer.Option(help="TSV of words; else the 72 in the box.")] = None,
    only: Annotated[str | None, typer.Option(help="trained or unseen words; else both.")] = None,
    base: Annotated[str, typer.Option(help="Encoder that all rows are compared with.")] = "beholder-mini",
    model: Annotated[list[str] | None, typer.Option(help="Another encoder, as a row (repeatable).")] = None,
    rewrite: Annotated[list[str] | None, typer.Option(help="Rewriter before the base, as a row (repeatable).")] = None,
    beauty: Annotated[list[float] | None, typer.Option(help="The teacher's weight (repeatable: a row each).")] = None,
    cache: Annotated[
        str, typer.Option(help="Folder of kept attributes; default: ~/.cache/beholder/scores; none.")
    ] = "",
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Whether a query that asks for a look ("moody forest") gets it, without losing its subject.

    Example: beholder bench look captions.tsv --splits splits.tsv --model aligned
    """
    from .look import LookConfig, measure

    config = LookConfig(
        table=table,
        text_column=text_column,
        image_column=image_column,
        splits=splits,
        split=split,
        pictures=pictures,
        embeddings=embeddings,
        words=words,
        only=only,
        base=base,
        model=tuple(model or ()),
        rewrite=tuple(rewrite or ()),
        beauty=tuple(beauty or LookConfig.beauty),
        cache=cache,
        seed=seed,
        name=name_of_run(name, out, Path("look")),
    )
    finish(measure(config), out, as_json)
