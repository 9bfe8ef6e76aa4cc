"""The verb `rewrite`: queries -> rewriter -> a table to look at, or one to keep."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def rewrite(
    queries: Annotated[str, typer.Argument(help="File of queries, one per line; with --text one query itself.")],
    rewriter: Annotated[
        str,
        typer.Option(
            "--rewrite",
            help="template, repeat, suffix:WORDS, file:TSV, llm:MODEL[@URL][#ARM] or hf:MODEL[#ARM]; ARM is detail, "
            "k-list=K, kw-dict or reorg.",
        ),
    ] = "template",
    text: Annotated[bool, typer.Option("--text", help="Take the argument for a query, not for a file.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep the rewrites, for --rewrite file:TSV.")] = None,
    model: Annotated[
        str, typer.Option(help="Encoder whose text tower rewrites are held to; none: they are not checked for it.")
    ] = "beholder-mini",
    timeout: Annotated[float, typer.Option(help="Seconds for one query, all attempts together.")] = 60.0,
    retries: Annotated[int, typer.Option(help="Attempts beyond the first, for what may pass.")] = 3,
    concurrency: Annotated[int, typer.Option(help="Queries that a server is asked at once.")] = 4,
    cache: Annotated[
        str, typer.Option(help="File of kept answers; default: ~/.cache/beholder/answers.sqlite; none: keep none.")
    ] = "",
    max_requests: Annotated[int, typer.Option(help="Requests that may be made; 0: any number.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Tokens that may be used, as the server counts; 0: any.")] = 0,
    max_fallback_share: Annotated[
        float, typer.Option(help="Share of queries that may keep their own words before this fails.")
    ] = 1.0,
    device: Annotated[str, typer.Option(help="Of hf:MODEL: cpu, cuda, cuda:N or mps.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per query and line.")] = False,
) -> None:
    """Rewrite queries so that they say what a good picture shows; look at the rewrites, or keep them as a table.

    Stopped and started again, it goes on: answers of models are kept.

    Example: beholder rewrite --text "a quiet harbour at dawn"

    Example: beholder rewrite queries.txt --rewrite llm:qwen3:8b@http://localhost:11434/v1#k-list --out rewrites.tsv
    """
    from indexes.errors import BeholderError, ConditionFailed
    from retrieval.progress import progress_line
    from retrieval.rewriting.rewrite import load_rewriter
    from retrieval.rewriting.rewriter import RewriteSettings, count_rewrites
    from retrieval.rewriting.table import write_rewrites

    from .query_encoder import load_text_encoder

    if not 0 <= max_fallback_share <= 1:
        raise BeholderError(f"--max-fallback-share is {max_fallback_share:g}", "a share from 0 to 1", "Correct it.")
    texts = [queries] if text else _lines(Path(queries))
    settings = RewriteSettings(
        timeout_s=timeout,
        retries=retries,
        concurrency=concurrency,
        cache=None if cache == "none" else cache,
        max_requests=max_requests,
        max_total_tokens=max_tokens,
        device=device,
    )
    encoder = None if model == "none" else load_text_encoder(model, len(texts))
    one = load_rewriter(rewriter, settings, encoder=encoder)
    with progress_line("queries") as progress:
        rewrites = one.rewrite(texts, progress)
    counts = count_rewrites(rewrites)
    if one.hopeless is not None:  # no table: one that was kept before may hold more
        print(f"{one.name}: {counts.line()}", file=sys.stderr)
        remedy = "Then run it again: answers so far are kept."
        raise ConditionFailed(f"the model cannot be asked ({one.hopeless})", "a server that answers", remedy)
    if out is not None:
        write_rewrites(out, rewrites, {**one.provenance, "counts": {**vars(counts), "cached": 0}})
    for found in rewrites if as_json or out is None else ():
        if as_json:
            print(json.dumps(found.to_dict(), ensure_ascii=False))
            continue
        print(" ".join(found.original.split()))
        print(f"    {found.text}" if found.fallback is None else f"    (kept: {found.fallback})")
    print(f"{one.name}: {counts.line()}", file=sys.stderr)
    if out is not None:
        print(f"{out}: {len(rewrites)} queries")
    fell = sum(counts.fallbacks.values())
    if fell > max_fallback_share * len(rewrites):
        first = next(one.fallback for one in rewrites if one.fallback)
        found_line = f"{fell} of {len(rewrites)} queries kept their own words (the first: {first})"
        raise ConditionFailed(found_line, f"at most {max_fallback_share:.0%}", "Run it again, or allow more.")


def _lines(path: Path) -> list[str]:
    from indexes.errors import BeholderError

    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        remedy = 'For one query: beholder rewrite --text "a red boat".'
        raise BeholderError(f"{path} cannot be read ({error})", "a file with a query per line", remedy) from error
    if not lines:
        raise BeholderError(f"{path} is empty", "a query per line", "Write some.")
    return lines
