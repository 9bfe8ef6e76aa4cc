"""`align shift`: the baseline that needs no training, beside which a tuned encoder must stand."""

from pathlib import Path
from typing import Annotated

import typer

from .config import AlignConfig


def shift(
    preferences: Annotated[Path, typer.Argument(help="Table of preferences.")],
    pictures: Annotated[list[Path], typer.Option(help="INDEX or EMBEDDINGS folder; may be repeated.")],
    base: Annotated[str, typer.Option(help="Encoder.")] = AlignConfig.base,
    dev_preferences: Annotated[Path | None, typer.Option(help="Table to choose by; default: as align train.")] = None,
    dev_share: Annotated[float, typer.Option(help="Share of the queries kept for that.")] = AlignConfig.dev_share,
    data: Annotated[Path | None, typer.Option(envvar="BEHOLDER_DATA", help="Folder of the sources.")] = None,
    dev_source: Annotated[
        str, typer.Option(help="Source whose dev split tells what is kept.")
    ] = AlignConfig.dev_source,
    max_retention_loss: Annotated[float, typer.Option(help="Points of hit_rate@10 that may be lost.")] = 1.0,
    lam: Annotated[list[float] | None, typer.Option(help="Length of the shift; may be repeated.")] = None,
    ridge: Annotated[list[float] | None, typer.Option(help="Of the fit; may be repeated.")] = None,
    aligned: Annotated[str, typer.Option(help="CHECKPOINT: how much of it is such a shift?")] = "",
    cache: Annotated[Path, typer.Option(help="Folder for what is computed once.")] = Path("work/align-cache"),
) -> None:
    """Add one vector to every query, the best that the lists give, and measure as align train does.

    Example: beholder align shift lists.parquet --pictures pictures.index --data ../shared/data --aligned runs/a/model
    """
    from .shift_baseline import LAMS, RIDGES, measure_shift

    config = AlignConfig(
        base=base,
        preferences=str(preferences),
        pictures=tuple(map(str, pictures)),
        dev_preferences=str(dev_preferences or ""),
        dev_share=dev_share,
        dev_source=dev_source,
        max_retention_loss=max_retention_loss,
    )
    report = measure_shift(
        config,
        data,
        cache,
        lambda line: typer.echo(line, err=True),
        lams=tuple(lam or LAMS),
        ridges=tuple(ridge or RIDGES),
        aligned=aligned,
    )
    for one in report.tried:
        told = ", ".join(f"{name} {value:.2f}" for name, value in one.figures.items())
        typer.echo(f"lam {one.lam:g}, ridge {one.ridge:g}: {told}", err=True)
    if report.chosen is None:
        typer.echo(f"no shift keeps hit_rate@10 within {max_retention_loss:g} points")
    else:
        typer.echo(f"best\tlam {report.chosen.lam:g}, ridge {report.chosen.ridge:g}")
        for name, value in report.chosen.figures.items():
            typer.echo(f"dev {name}\t{value:.2f}\tbase {report.base[name]:.2f}")
    if report.explained is not None:
        typer.echo(f"of {aligned}, one shared vector explains\t{report.explained:.1%}\tof {report.queries} queries")
