"""The verb `bench judge`: options -> config -> call -> print."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import Json, Out, finish


def judge(
    index: Annotated[Path, typer.Argument(help="INDEX of system A, and of B unless --index-b.")],
    queries: Annotated[Path, typer.Argument(help="File of queries, one per line.")],
    judge: Annotated[
        str,
        typer.Option(help="llm:MODEL[@URL], hf:MODEL, critic:CRITIC, or offline[:ENCODER][@SCORER,...]: plumbing."),
    ] = "offline",
    index_b: Annotated[Path | None, typer.Option(help="INDEX of system B.")] = None,
    a: Annotated[str, typer.Option("--a", help="Search settings of A: JSON as the service takes it, or a file.")] = (
        "{}"
    ),
    b: Annotated[str, typer.Option("--b", help="Search settings of B.")] = "{}",
    model_a: Annotated[str, typer.Option(help="Encoder of A's queries, where not the index's own.")] = "",
    model_b: Annotated[str, typer.Option(help="Encoder of B's queries.")] = "",
    top: Annotated[int, typer.Option(help="Pictures in a row.")] = 5,
    kind: Annotated[
        str, typer.Option(help="ranker: which row is better; cp-scorer: both scored together; scorer: each alone.")
    ] = "ranker",
    no_controls: Annotated[bool, typer.Option("--no-controls", help="Ask nothing that tries the judge.")] = False,
    control_pairs: Annotated[int, typer.Option(help="Pairs of rows of one system, which try places.")] = 60,
    votes: Annotated[
        list[Path] | None, typer.Option(help="HPIR set or export of the page (repeatable): agreement with people.")
    ] = None,
    pictures: Annotated[
        list[Path] | None, typer.Option(help="Folder of the set's pictures that no index holds (repeatable).")
    ] = None,
    vote_items: Annotated[int, typer.Option(help="At most so many items of the sets, drawn by --seed.")] = 200,
    answers: Annotated[
        Path | None, typer.Option(help="JSONL of every answer as it came; a run that was cut off goes on from it.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write a page of all rows with the judge's words.")] = None,
    concurrency: Annotated[int, typer.Option(help="Calls at once.")] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds for a call, with all its attempts.")] = 120.0,
    retries: Annotated[int, typer.Option(help="Of a call that may pass the next time.")] = 3,
    max_requests: Annotated[int, typer.Option(help="Stop after so many requests; 0: no limit.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Stop after so many tokens, as the server counts; 0: no limit.")] = 0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use nor keep answers of former runs.")] = False,
    seed: Annotated[int, typer.Option(help="Of resampling and of drawn items.")] = 0,
    device: Annotated[str, typer.Option(help="Of encoders and a local judge: cpu, cuda or cuda:N.")] = "cpu",
    name: Annotated[str, typer.Option(help="Name of the run; the stem of --out if not given.")] = "",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Two systems before a judge that sees their rows: wins, order consistency, position bias, and controls.

    Exit 1 where a control fails or the judge is unfit: the report is printed all the same.

    Example: beholder bench judge all.index queries.txt --b '{"rewrite": "template"}' --judge llm:qwen3-vl@http://HOST/v1
    """
    from .run import JudgeConfig, check, measure

    config = JudgeConfig(
        index=index,
        queries=queries,
        judge=judge,
        index_b=index_b,
        a=a,
        b=b,
        model_a=model_a,
        model_b=model_b,
        top=top,
        kind=kind,
        no_controls=no_controls,
        control_pairs=control_pairs,
        votes=tuple(votes or ()),
        pictures=tuple(pictures or ()),
        vote_items=vote_items,
        answers=answers,
        page=page,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        max_requests=max_requests,
        max_tokens=max_tokens,
        no_cache=no_cache,
        seed=seed,
        device=device,
        name=name or (out.stem if out else "judge"),
    )
    run = measure(config)
    finish(run, out, as_json)
    check(run)
