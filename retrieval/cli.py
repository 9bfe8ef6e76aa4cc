"""Verbs of one command each: embed, search, demo, models, doctor. They parse, call and print."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

STARTED = time.perf_counter()
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
    as_json: Json = False,
) -> None:
    """Turn pictures into vectors; again on a grown source embeds only what is new.

    Example: beholder embed ~/Pictures pictures.emb

    Example: beholder embed 'shards/{00000..00009}.tar' laion.emb
    """
    from .pipeline import EmbedConfig
    from .pipeline import embed as run
    from .progress import progress_line

    config = EmbedConfig(model, batch_size, workers, shard_size, max_bad_share, device, threads, captions, max_pixels)
    with progress_line("pictures") as progress:
        report = run(source, embeddings, config, progress=progress)
    if as_json:
        print(json.dumps({**vars(report), "pictures_per_s": report.pictures_per_s}))
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


def search(
    index: Annotated[Path, typer.Argument(help="INDEX folder.")],
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    queries: Annotated[Path | None, typer.Option(help="File of queries, one per line.")] = None,
    k: Annotated[int, typer.Option("-k", help="Results per query.")] = 10,
    where: Annotated[
        str | None, typer.Option(help="Only pictures for which this holds: width >= 800 AND caption LIKE '%boat%'")
    ] = None,
    dedup: Annotated[bool, typer.Option("--dedup", help="Of (nearly) the same pictures only the best placed.")] = False,
    near: Annotated[float, typer.Option(help="Least cosine of pictures that --dedup takes for the same.")] = 0.97,
    model: Annotated[str | None, typer.Option(help="Encoder of the query, where not the index's own.")] = None,
    device: Annotated[str, typer.Option(help="Of the encoder: cpu, cuda, cuda:N or mps.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per query and line.")] = False,
    tsv: Annotated[bool, typer.Option("--tsv", help="Tab-separated, with a header.")] = False,
    paths: Annotated[bool, typer.Option("--paths", help="Only the files' paths.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a gallery page to this file.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where the time went.")] = False,
) -> None:
    """Search an index with words.

    Example: beholder search pictures.index "a quiet harbour at dawn" -k 20 --html harbour.html

    Example: beholder search pictures.index "a boat" --where "width >= 800" --dedup
    """
    from indexes.errors import BeholderError

    from . import output

    if sum((as_json, tsv, paths)) > 1:
        raise BeholderError("more than one of --json, --tsv and --paths", "one", "Choose one.")
    if k < 1:
        raise BeholderError(f"-k is {k}", "1 or more", "Ask for at least one result.")
    texts = _texts(text, queries)
    seconds = {"start": time.perf_counter() - STARTED}
    started = time.perf_counter()
    from .searcher import open_searcher, picture_folder

    searcher = open_searcher(index, model, texts=len(texts), device=device)
    seconds["open"] = time.perf_counter() - started
    found = searcher.search(texts, k, where=where, near=near if dedup else None)
    if where is not None:
        print(f"{len(searcher.matching(where))} of {len(searcher.index)} pictures match --where", file=sys.stderr)
    seconds |= searcher.seconds
    pictures = picture_folder(searcher.index)
    if html is not None:
        from .gallery import write_gallery

        started = time.perf_counter()
        write_gallery(html, list(zip(texts, found, strict=True)), pictures)
        seconds["gallery"] = time.perf_counter() - started
        print(f"gallery: {html}", file=sys.stderr)
    rows = list(zip(texts, found, strict=True))
    if as_json:
        output.write_json(rows, seconds if explain else None)
    elif tsv:
        output.write_tsv(rows)
    elif paths:
        output.write_paths(rows, pictures)
    elif html is None or len(texts) == 1:
        output.write_table(rows)
    if explain and not as_json:
        output.write_seconds(seconds, type(searcher.encoder).__name__, searcher.index)


def _texts(text: str | None, queries: Path | None) -> list[str]:
    from indexes.errors import BeholderError

    if (text is None) == (queries is None):
        found = "both a text and --queries" if text is not None else "no query"
        raise BeholderError(found, "a text or --queries FILE", 'Example: beholder search INDEX "a red boat"')
    if queries is None:
        return [text or ""]
    try:
        lines = queries.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{queries} cannot be read ({error})", "a UTF-8 text file", "Check the path.") from error
    if not lines:
        raise BeholderError(f"{queries} is empty", "a query per line", "Write some.")
    return lines


def demo(
    out: Annotated[Path | None, typer.Option(help="Working folder; default: beholder-demo here.")] = None,
) -> None:
    """Index the pictures in the box, ask three queries and write a gallery. Needs no network.

    Example: beholder demo
    """
    from .demo import run

    run(out, print)


def models(as_json: Json = False) -> None:
    """List the encoders: in the box, and recommended ones to download.

    Example: beholder models
    """
    from .models_table import encoders

    table = encoders()
    if as_json:
        print(json.dumps(table))
        return
    for row in table:
        print(f"{row['name']:<44} {row['width']:>5}-d  {row['size']:>7}  {row['where']:<9} {row['licence']}")


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
