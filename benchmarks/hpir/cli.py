"""The verbs `bench hpir make` and `bench hpir score`: options -> config -> call -> print."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Agreement with people's preferences: make a set, score systems on it.")


@app.command("make")
def make_set(
    out: Annotated[Path, typer.Argument(help="Folder for test.jsonl, train.jsonl and manifest.json.")],
    scores: Annotated[Path | None, typer.Option(help="TSV with a score per picture, beside its pictures.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="TSV with choices between two pictures per row.")] = None,
    export: Annotated[
        list[Path] | None, typer.Option(help="Export or votes file of the page (repeatable): its votes as they are.")
    ] = None,
    query: Annotated[str, typer.Option(help="What people were asked, in words that a picture may match.")] = "",
    aspect: Annotated[str, typer.Option(help="accuracy, aesthetics or diversity: what the judgements are of.")] = (
        "aesthetics"
    ),
    score_column: Annotated[str, typer.Option(help="Column of scores.")] = "score",
    image_column: Annotated[str, typer.Option(help="Column of pictures; else image or file.")] = "",
    pair_column: Annotated[
        list[str] | None, typer.Option(help="Four times: both pictures, choices for each; else file_1, ... wins_2.")
    ] = None,
    bradley_terry: Annotated[
        bool, typer.Option("--bradley-terry", help="Fit strengths to the choices and draw groups by them.")
    ] = False,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    test_split: Annotated[str, typer.Option(help="The split that becomes test.jsonl.")] = "test",
    train_split: Annotated[str, typer.Option(help="The split that becomes train.jsonl.")] = "train",
    test_share: Annotated[
        float | None, typer.Option(help="Draw this share of pictures (of queries, for exports) as test; 1 = all.")
    ] = None,
    size: Annotated[int, typer.Option(help="Pictures in a group; 1 = pairs of pictures.")] = 1,
    gap: Annotated[float, typer.Option(help="Least difference of the groups' mean scores.")] = 0.0,
    items: Annotated[int, typer.Option(help="Items per split; 0 = all pairs, or 300 groups.")] = 0,
    seed: Annotated[int, typer.Option(help="Of drawn groups and splits.")] = 0,
) -> None:
    """Make an HPIR set of human scores, of choices between two pictures, or of votes on the page.

    Example: beholder bench hpir make web --scores items.tsv --score-column mean_score --query "a beautiful web page"
    """
    from .make import HpirMakeConfig, make

    config = HpirMakeConfig(
        out=out,
        scores=scores,
        pairs=pairs,
        export=tuple(export or ()),
        query=query,
        aspect=aspect,
        score_column=score_column,
        image_column=image_column,
        pair_column=tuple(pair_column or HpirMakeConfig.pair_column),
        bradley_terry=bradley_terry,
        splits=splits,
        test_split=test_split,
        train_split=train_split,
        test_share=test_share,
        size=size,
        gap=gap,
        items=items,
        seed=seed,
    )
    typer.echo("\n".join(make(config).lines()))


@app.command("score")
def score_sets(
    sets: Annotated[list[Path], typer.Argument(help="Made sets, or HPIR files such as an export of the page.")],
    pictures: Annotated[
        list[Path] | None, typer.Option(help="Folder that holds the sets' pictures, by sha256 (repeatable).")
    ] = None,
    embeddings: Annotated[list[Path] | None, typer.Option(help="EMBEDDINGS of the pictures (repeatable).")] = None,
    encoder: Annotated[list[str] | None, typer.Option(help="Encoder (repeatable); else the EMBEDDINGS' own.")] = None,
    rewrite: Annotated[
        list[str] | None, typer.Option(help="Each encoder with this rewriter, too (repeatable).")
    ] = None,
    rerank: Annotated[
        list[str] | None,
        typer.Option(help="Each of these with this re-ranker, too (repeatable): rank-mix@SCORER, mmr."),
    ] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="Scorer, without the query (repeatable).")] = None,
    beauty: Annotated[
        list[float] | None, typer.Option(help="Each encoder with this weight of the first --scorer, too (repeatable).")
    ] = None,
    scores: Annotated[
        list[Path] | None, typer.Option(help="TSV of scores beside the pictures, as one more system (repeatable).")
    ] = None,
    score_column: Annotated[list[str] | None, typer.Option(help="Column of each --scores.")] = None,
    aspect: Annotated[
        list[str] | None, typer.Option(help="accuracy, aesthetics, diversity; else all voted on.")
    ] = None,
    group: Annotated[str, typer.Option(help="Score of a group: mean, max or reciprocal-rank.")] = "mean",
    weight: Annotated[str, typer.Option(help="Weight of an item: net, confidence or one.")] = "net",
    baseline: Annotated[str, typer.Option(help="System that the others are compared with; else the first.")] = "",
    split: Annotated[str, typer.Option(help="Split of made sets.")] = "test",
    per_item: Annotated[Path | None, typer.Option(help="Write votes and choices of each item as TSV.")] = None,
    seed: Annotated[int, typer.Option(help="Of resampling and of random models.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    name: Annotated[str, typer.Option(help="Name of the run; the stem of --out if not given.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the run as JSON, such as docs/results/NAME.json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Agreement of encoders, rewriters, re-rankers and scorers with people, with intervals and paired differences.

    Example: beholder bench hpir score web --pictures website --encoder beholder-mini --scorer beholder-appeal
    """
    from benchmarks.report import render
    from benchmarks.runs import write_run

    from .score import HpirScoreConfig, measure

    config = HpirScoreConfig(
        sets=tuple(sets),
        pictures=tuple(pictures or ()),
        embeddings=tuple(embeddings or ()),
        encoder=tuple(encoder or ()),
        rewrite=tuple(rewrite or ()),
        rerank=tuple(rerank or ()),
        scorer=tuple(scorer or ()),
        beauty=tuple(beauty or ()),
        scores=tuple(scores or ()),
        score_column=tuple(score_column or ()),
        aspect=tuple(aspect or ()),
        group=group,
        weight=weight,
        baseline=baseline,
        split=split,
        seed=seed,
        device=device,
        per_item=per_item,
        name=name or (out.stem if out else sets[0].stem.lower()),
    )
    run = measure(config)
    if out is not None:
        write_run(out, run)
        print(f"wrote {out}", file=sys.stderr)
    typer.echo(json.dumps(run.to_dict(), indent=1, ensure_ascii=False) if as_json else render(run).rstrip())
