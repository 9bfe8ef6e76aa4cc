"""The verb `bench results`."""

from pathlib import Path
from typing import Annotated

import typer

from indexes.errors import BeholderError


def results(
    data: Annotated[Path | None, typer.Option(help="Folder of the sets; else $BEHOLDER_DATA.")] = None,
    work: Annotated[Path, typer.Option(help="Folder for embeddings, indexes, sets, logs and what is done.")] = Path(
        "build/results"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for the runs' JSON; else WORK/runs.")] = None,
    document: Annotated[Path | None, typer.Option(help="Markdown to write with all of them.")] = None,
    model: Annotated[str, typer.Option(help="The base encoder.")] = "beholder-mini",
    aligned: Annotated[
        list[str] | None,
        typer.Option(help="An aligned encoder to stand beside it (repeatable); else beholder-mini-aligned if there."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this step (repeatable).")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is done.")] = False,
    texts: Annotated[Path, typer.Option(help="Queries for the judge and for latency, one a line.")] = Path(
        "docs/queries.txt"
    ),
    knowledge: Annotated[Path, typer.Option(help="Folder of queries.tsv and rewrites.tsv.")] = Path(
        "docs/experiments/knowledge"
    ),
) -> None:
    """Everything that is measured of an encoder on the shared data, step by step; the same command again goes on.

    Measures only: nothing is trained and nothing chosen. `make results` writes docs/results.md with it.

    Example: beholder bench results --data /data --document results.md --aligned work/aligned/model
    """
    import os
    import signal

    from retrieval.encoding.encoders import find_folder

    from .results import ResultsConfig
    from .results import results as run

    root = data or (Path(os.environ["BEHOLDER_DATA"]) if os.environ.get("BEHOLDER_DATA") else None)
    if root is None or not root.is_dir():
        raise BeholderError(f"the data folder is {root or 'not given'}", "the folder of the sets", "Give --data.")
    default = ["beholder-mini-aligned"] if model == "beholder-mini" and find_folder("beholder-mini-aligned") else []
    config = ResultsConfig(
        data=root,
        texts=texts,
        knowledge=knowledge,
        work=work,
        out=out or work / "runs",
        document=document,
        model=model,
        aligned=tuple(aligned or default),
        only=tuple(only or ()),
        fresh=fresh,
    )
    before = signal.signal(signal.SIGTERM, _end)
    try:
        lines = run(config)
    finally:
        signal.signal(signal.SIGTERM, before)
    typer.echo(f"{len(lines)} steps")


def _end(signum: int, frame: object) -> None:
    """Ends as an exception, so that the step's process is killed too and does not go on writing."""
    raise SystemExit(128 + signum)
