"""The verb `bench retrieval`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import Device, Json, Name, Out, Seed, finish, name_of_run


def retrieval(
    table: Annotated[
        Path,
        typer.Argument(
            help="TSV of captions or labels; or captions of Flickr30k or COCO as published (.json, .token)."
        ),
    ],
    pictures: Annotated[Path | None, typer.Option(help="Folder that names are relative to; else the table's.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of captions; each one is a query.")] = None,
    label_column: Annotated[
        list[str] | None, typer.Option(help='Column of labels (repeatable); "a,b" joins two into one label.')
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help='Phrasing of a label, with {} or {column} (repeatable: averaged); else "a photo of a {}".'),
    ] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split, such as val; else every row.")] = None,
    model: Annotated[str | None, typer.Option(help="Encoder; else the index's own, or beholder-mini.")] = None,
    index: Annotated[Path | None, typer.Option(help="Rank through this INDEX, against all that is in it.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="EMBEDDINGS to read, or to make of all pictures and keep.")
    ] = None,
    cli: Annotated[bool, typer.Option("--cli", help="Search by the command line, in a process of its own.")] = False,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Top-1 of pictures among labels, instead of mAP of labels.")
    ] = False,
    compare: Annotated[str | None, typer.Option(help="Encoder that is the base: how much of it is kept.")] = None,
    max_retention_loss: Annotated[
        float | None, typer.Option(help="Exit 1 where hit_rate@10, mAP or top-1 lose more points against the base.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many pictures, drawn by --seed.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """hit_rate, nDCG and median rank of a caption table both ways; mAP, R-precision or zero-shot top-1 of labels.

    Example: beholder bench retrieval captions.tsv --text-column caption --splits splits.tsv --split val
    """
    from .captions import RetrievalConfig, measure
    from .retention import check_retention

    config = RetrievalConfig(
        table=table,
        pictures=pictures,
        image_column=image_column,
        text_column=text_column,
        label_column=tuple(label_column or ()),
        template=tuple(template or ()),
        splits=splits,
        split=split,
        model=model,
        index=index,
        embeddings=embeddings,
        cli=cli,
        zero_shot=zero_shot,
        compare=compare,
        max_retention_loss=max_retention_loss,
        limit=limit,
        seed=seed,
        device=device,
        name=name_of_run(name, out, table),
    )
    run = measure(config)
    finish(run, out, as_json)
    if max_retention_loss is not None:
        check_retention(run, max_retention_loss)
