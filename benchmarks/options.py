"""Options that verbs of `bench` share, and how each ends: the run is written and shown."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .runs import Run

Out = Annotated[Path | None, typer.Option(help="Write the run as JSON, such as docs/results/NAME.json.")]
Name = Annotated[str | None, typer.Option(help="Name of the run; the stem of --out if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print the run as JSON.")]
Seed = Annotated[int, typer.Option(help="Seed of resampling and of drawn pictures or vectors.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]


def name_of_run(name: str | None, out: Path | None, subject: Path) -> str:
    """The name given, else the stem of --out, else of what is measured."""
    return name or (out.stem if out else subject.stem.lower())


def finish(run: "Run", out: Path | None, as_json: bool) -> None:
    """Writes the run where `out` says so, and prints it as a table or as JSON."""
    from .report import render
    from .runs import write_run

    if out is not None:
        write_run(out, run)
        print(f"wrote {out}", file=sys.stderr)
    single = [name for name, number in run.numbers.items() if number.n == 1 and number.spread == "interval"]
    if single:
        print(f"note: one query is behind {single[0]}: nothing to resample, so no interval", file=sys.stderr)
    typer.echo(json.dumps(run.to_dict(), indent=1, ensure_ascii=False) if as_json else render(run).rstrip())


def drawable() -> bool:
    """Whether plots can be drawn; else says on stderr what is missing. A measurement is not lost for want of a plot."""
    from importlib.util import find_spec

    found = find_spec("matplotlib") is not None
    if not found:
        print("no plot: matplotlib is not installed; pip install 'beholder[bench]'", file=sys.stderr)
    return found


def draw(out: Path, kind: str, svg: str) -> None:
    """Writes a plot beside the run `out`: NAME.svg, or NAME-KIND.svg."""
    from indexes.records.manifest import write_bytes_atomic

    path = out.with_name(f"{out.stem}-{kind}.svg" if kind else f"{out.stem}.svg")
    write_bytes_atomic(path, svg.encode())
    print(f"wrote {path}", file=sys.stderr)
