"""`bench knowledge`: what search knows of styles that a query describes and does not name."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import Json, Name, Out, Seed, finish, name_of_run

app = typer.Typer(no_args_is_help=True, help="Queries that describe a style without naming it.")

Table = Annotated[Path, typer.Argument(help="TSV of pictures beside it: file, style, split, artist.")]
Queries = Annotated[Path, typer.Argument(help="TSV of style, phrasing, query.")]
Rewrites = Annotated[Path, typer.Argument(help="Recorded rewrites of them, with the style that each one names.")]


@app.command()
def check(table: Table, queries: Queries, rewrites: Rewrites) -> None:
    """No query names its style, artist or period; how often the rewrites name the right style.

    Example: beholder bench knowledge check items.tsv queries.tsv rewrites.tsv
    """
    from .run import artists_of
    from .texts import check_texts, read_texts

    texts = read_texts(queries, rewrites)
    check_texts(texts, artists_of(table))
    right = sum(one.named_right for one in texts)
    typer.echo(f"{len(texts)} queries of {len({one.style for one in texts})} styles; none names its own")
    typer.echo(f"{right} of {len(texts)} rewrites name the right style ({100 * right / len(texts):.1f} %)")


@app.command()
def measure(
    table: Table,
    queries: Queries,
    rewrites: Rewrites,
    split: Annotated[str, typer.Option(help="Only pictures of this split.")] = "val",
    embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS of them to read; else they are embedded.")] = None,
    model: Annotated[str, typer.Option(help="The base.")] = "beholder-mini",
    aligned: Annotated[list[str] | None, typer.Option(help="An aligned encoder (repeatable, a seed each).")] = None,
    trained: Annotated[int, typer.Option(help="Phrasings up to this one were trained on.")] = 6,
    kept_captions: Annotated[Path | None, typer.Option(help="Captions, to see what alignment costs.")] = None,
    kept_splits: Annotated[Path | None, typer.Option(help="Their splits.")] = None,
    kept_captions_embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS of their pictures.")] = None,
    kept_labels: Annotated[Path | None, typer.Option(help="TSV of object and depiction, the same.")] = None,
    kept_labels_embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS of their pictures.")] = None,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """precision@8 and mAP of the style: base, rewritten, the name alone, aligned; what alignment costs elsewhere.

    Example: beholder bench knowledge measure items.tsv queries.tsv rewrites.tsv --aligned work/aligned/model
    """
    from .run import KnowledgeConfig
    from .run import measure as run_of

    config = KnowledgeConfig(
        table=table,
        queries=queries,
        rewrites=rewrites,
        split=split,
        embeddings=embeddings,
        model=model,
        aligned=tuple(aligned or ()),
        trained=trained,
        kept_captions=kept_captions,
        kept_splits=kept_splits,
        kept_captions_embeddings=kept_captions_embeddings,
        kept_labels=kept_labels,
        kept_labels_embeddings=kept_labels_embeddings,
        seed=seed,
        name=name_of_run(name, out, Path("knowledge")),
    )
    finish(run_of(config), out, as_json)
