"""Verbs of one command each: embed, demo, models, doctor. They parse, call and print."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def embed(
    source: Annotated[
        list[str],
        typer.Argument(help="Folder of pictures, tars or Parquet files; dataset on disk; or a pattern of archives."),
    ],
    embeddings: Annotated[Path, typer.Argument(help="EMBEDDINGS folder to make or bring up to date.")],
    model: Annotated[str, typer.Option(help="Encoder; see `beholder models`.")] = "beholder-mini",
    batch_size: Annotated[int, typer.Option(help="Pictures per batch.")] = 64,
    workers: Annotated[int, typer.Option(help="Decode processes; 0: one per core.")] = 0,
    shard_size: Annotated[int, typer.Option(help="Pictures per shard, the unit of resume.")] = 8192,
    max_bad_share: Annotated[float, typer.Option(help="Bad pictures allowed, as a share; ten always are.")] = 0.01,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the encoder; 0: torch's choice.")] = 0,
    captions: Annotated[
        str | None, typer.Option(help="TSV with columns file (or image) and caption (or title).")
    ] = None,
    max_pixels: Annotated[int, typer.Option(help="Larger pictures are refused unread.")] = 200_000_000,
    ray: Annotated[
        str | None, typer.Option(help="Ray cluster that does the work: auto, local or HOST:PORT.", metavar="[ADDRESS]")
    ] = None,
    score: Annotated[
        list[str] | None, typer.Option(help="Scorer of the pictures (repeatable); see `beholder models`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn pictures into vectors; again on a grown source embeds only what is new.

    Example: beholder embed ~/Pictures pictures.emb

    Example: beholder embed 'shards/{00000..00009}.tar' laion.emb

    Example: beholder embed /shared/pictures /shared/pictures.emb --ray head:6379
    """
    from retrieval.encoding.pipeline import EmbedConfig
    from retrieval.encoding.pipeline import embed as run

    from .progress import progress_line

    config = EmbedConfig(
        model, batch_size, workers, shard_size, max_bad_share, device, threads, captions, max_pixels, ray
    )
    if score:
        from retrieval.scoring.scoring import ScoreConfig, check_model, score_embeddings

        scoring = ScoreConfig(tuple(score), workers, max_bad_share, max_pixels)
        check_model(score, model)
    with progress_line("pictures") as progress:
        report = run(source, embeddings, config, progress=progress)
    scored = []
    if score:
        with progress_line("pictures scored") as progress:
            scored = score_embeddings(embeddings, scoring, progress)
    if as_json:
        told = {**vars(report), "pictures_per_s": report.pictures_per_s}
        print(json.dumps({**told, "scores": [vars(one) for one in scored]} if score else told))
        return
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    print(
        f"{embeddings}: {report.count} pictures ({report.new} new, {report.changed} changed, {report.removed} removed, "
        f"{report.rejected} rejected)"
    )
    if report.rejected:
        print(f"rejected pictures and reasons: {embeddings / 'rejected.jsonl'}")
    if report.embedded:
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
        print(f"{report.pictures_per_s:.1f} pictures/s; {report.wall_s:.1f} s in all; {stages}")
    for one in scored:
        print(one.line())


def demo(
    out: Annotated[Path | None, typer.Option(help="Working folder; default: beholder-demo here.")] = None,
) -> None:
    """Index the pictures in the box, ask three queries and write a gallery. Needs no network.

    Example: beholder demo
    """
    from .demo import run

    run(out, print)


def models(as_json: Json = False) -> None:
    """List the encoders and scorers: in the box, and recommended ones to download.

    Example: beholder models
    """
    from .models_table import encoders, scorers

    if as_json:
        print(
            json.dumps(
                [{"kind": "encoder", **row} for row in encoders()] + [{"kind": "scorer", **row} for row in scorers()]
            )
        )
        return
    for row in encoders():
        print(f"{row['name']:<44} {row['width']:>5}-d  {row['size']:>7}  {row['where']:<11} {row['licence']}")
    print("scorers:")
    for row in scorers():
        print(f"{row['name']:<20} {row['reads']:<25} {row['where']:<11} {row['model']}; {row['licence']}")


def doctor(as_json: Json = False) -> None:
    """Look at this machine: versions, devices, whether FAISS and torch see a GPU, and what to do if not.

    Example: beholder doctor
    """
    from .doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([vars(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.ok else '!! '} {finding.name:<14} {finding.found}")
            if finding.remedy:
                print(f"    {'':<14} {finding.remedy}")
    if not all(finding.ok or finding.optional for finding in findings):
        raise typer.Exit(1)
