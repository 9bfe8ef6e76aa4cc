"""The verb `bench`: options -> config -> call -> print. Everything heavy is imported inside."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.critique.cli import app as critique_app
from benchmarks.hpir.cli import app as hpir_app
from benchmarks.judge.cli import judge
from benchmarks.knowledge.cli import app as knowledge_app
from benchmarks.quality.retrieval_cli import retrieval
from benchmarks.reports.cli import report
from benchmarks.reports.results_cli import results
from benchmarks.speed.cli import app as speed_app
from benchmarks.taste.look_cli import look

from .options import Json, Name, Out, Seed, draw, drawable, finish, name_of_run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Measure: retrieval, people's preferences, looks, speed; write the numbers into the documents.",
)
app.add_typer(speed_app, name="speed")
app.add_typer(hpir_app, name="hpir")
app.add_typer(knowledge_app, name="knowledge")
app.add_typer(critique_app, name="critique")
app.command()(retrieval)
app.command()(look)
app.command()(judge)
app.command()(results)
app.command()(report)


@app.command("index")
def index_retrieval(
    embeddings: Annotated[Path, typer.Argument(help="EMBEDDINGS that hold the table's pictures, and others.")],
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    text_column: Annotated[str, typer.Option(help="Column of captions; each one is a query.")] = "caption",
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    split: Annotated[str, typer.Option(help="The split that is asked; indexes are tuned on the rest.")] = "val",
    factory: Annotated[
        list[str] | None, typer.Option(help="Kind to force beside the planned one (repeatable); else IVF-SQ8, IVF-PQ.")
    ] = None,
    knn_recall: Annotated[float, typer.Option(help="Target that all are tuned to.")] = 0.95,
    memory: Annotated[str, typer.Option(help="The planner's bound, such as 1GiB; else any.")] = "",
    within: Annotated[float, typer.Option(help="Most that hit_rate@10 may lose; more ends with exit 1.")] = 0.01,
    model: Annotated[str | None, typer.Option(help="Encoder; else that of the EMBEDDINGS.")] = None,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """hit_rate@10 of captions through the planned index, IVF-SQ8 and IVF-PQ, against exact search.

    Example: beholder bench index all.emb captions.tsv --splits splits.tsv --split val
    """
    from benchmarks.quality.index_retrieval import IndexRetrievalConfig, check, measure

    config = IndexRetrievalConfig(
        embeddings=embeddings,
        table=table,
        text_column=text_column,
        image_column=image_column,
        splits=splits,
        split=split,
        factory=tuple(factory or ()),
        knn_recall=knn_recall,
        memory=memory,
        within=within,
        model=model,
        seed=seed,
        name=name_of_run(name, out, Path("index-retrieval")),
    )
    run = measure(config)
    finish(run, out, as_json)
    check(run, within)


@app.command()
def cutoff(
    index: Annotated[Path, typer.Argument(help="INDEX of the table's pictures.")],
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    text_column: Annotated[str, typer.Option(help="Column of captions; each one is a query.")] = "caption",
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    calibration_split: Annotated[str, typer.Option(help="The split whose captions are calibrated on.")] = "train",
    split: Annotated[str, typer.Option(help="The split that is asked.")] = "val",
    compare: Annotated[bool, typer.Option("--compare", help="Other statistics than the one in use, too.")] = False,
    model: Annotated[str | None, typer.Option(help="Encoder; else the index's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of gibberish, drawn captions and resampling.")] = 1,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """What `search --min-relevance auto` refuses: captions, gibberish, and subjects that the captions never name.

    Example: beholder bench cutoff all.index captions.tsv --splits splits.tsv --split val
    """
    from benchmarks.quality.cut_off import CutOffConfig, measure

    config = CutOffConfig(
        index=index,
        table=table,
        text_column=text_column,
        image_column=image_column,
        splits=splits,
        calibration_split=calibration_split,
        split=split,
        compare=compare,
        model=model,
        seed=seed,
        name=name_of_run(name, out, Path("cut-off")),
    )
    finish(measure(config), out, as_json)


@app.command()
def aesthetics(
    table: Annotated[
        Path, typer.Argument(help="TSV or CSV of scores, TSV of file_1, file_2, wins_1, wins_2, or a set such as ava.")
    ],
    scorer: Annotated[str, typer.Option(help="Scorer; see `beholder models`.")] = "beholder-appeal",
    score_column: Annotated[str | None, typer.Option(help="Column of people's scores; else a table of pairs.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Column of groups, each on a scale of its own.")] = None,
    image_column: Annotated[str, typer.Option(help="Column of names.")] = "file",
    split: Annotated[str | None, typer.Option(help="Only this split, such as test; else every row.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder that names are relative to; else the table's.")] = None,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Does a scorer agree with people: rank and linear correlation and pairs of scores, or the share of single choices.

    Sets by name: ava, tad66k, koniq, aadb, baid, apddv2, oasis (with --pictures), website, savoias.

    Example: beholder bench aesthetics pages/items.tsv --score-column mean_score --split test
    """
    from benchmarks.taste.aesthetics import AestheticsConfig, measure

    run_name, columns = name_of_run(name, out, table), (score_column, group_column, image_column)
    config = AestheticsConfig(table, scorer, *columns, split, seed, run_name, pictures)
    finish(measure(config), out, as_json)


@app.command()
def rewriting(
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    text_column: Annotated[str, typer.Option(help="Column of captions; each one is a query.")] = "caption",
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    floor_split: Annotated[str, typer.Option(help="The split whose captions the topic floor is looked at on.")] = "dev",
    split: Annotated[str, typer.Option(help="The split that is asked.")] = "val",
    pictures: Annotated[Path | None, typer.Option(help="Folder that names are relative to; else the table's.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS to read, or to make and keep.")] = None,
    model: Annotated[str, typer.Option(help="Encoder.")] = "beholder-mini",
    rewrite: Annotated[list[str] | None, typer.Option(help="Rewriter (repeatable): see `beholder rewrite`.")] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="Scorer that --embeddings holds (repeatable).")] = None,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """What rewriters do to results: hit_rate and a scorer's percentile, as paired differences to captions as typed.

    Example: beholder bench rewriting captions.tsv --splits splits.tsv --rewrite template --scorer beholder-appeal
    """
    from benchmarks.quality.rewriting import RewritingConfig, measure

    config = RewritingConfig(
        table=table,
        text_column=text_column,
        image_column=image_column,
        splits=splits,
        floor_split=floor_split,
        split=split,
        pictures=pictures,
        embeddings=embeddings,
        model=model,
        rewrite=tuple(rewrite or RewritingConfig.rewrite),
        scorer=tuple(scorer or ()),
        seed=seed,
        name=name_of_run(name, out, Path("rewriting")),
    )
    finish(measure(config), out, as_json)


@app.command()
def pareto(
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    text_column: Annotated[str, typer.Option(help="Column of captions; each one is a query.")] = "caption",
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    split: Annotated[str, typer.Option(help="The split that is asked, and searched.")] = "val",
    pictures: Annotated[Path | None, typer.Option(help="Folder that names are relative to; else the table's.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS to read, or to make and keep.")] = None,
    scorer: Annotated[str, typer.Option(help="Scorer; of pixels: --embeddings hold it.")] = "beholder-appeal",
    beauty: Annotated[list[float] | None, typer.Option(help="Beauty weight (repeatable); else -2 to 4.")] = None,
    share: Annotated[list[float] | None, typer.Option(help="rank-mix's share of beauty (repeatable).")] = None,
    candidates: Annotated[int, typer.Option(help="That rank-mix re-ranks.")] = 100,
    model: Annotated[str, typer.Option(help="Encoder.")] = "beholder-mini",
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """What beauty costs in relevance: hit_rate against the percentile of results, for --beauty and rank-mix, swept.

    With --out NAME.json the two curves are drawn as NAME.svg.

    Example: beholder bench pareto captions.tsv --splits splits.tsv --split val --out docs/results/pareto.json
    """
    from benchmarks.quality.pareto import SHARES, WEIGHTS, ParetoConfig, curves, measure

    from .plots import line_plot

    config = ParetoConfig(
        table=table,
        text_column=text_column,
        image_column=image_column,
        splits=splits,
        split=split,
        pictures=pictures,
        embeddings=embeddings,
        scorer=scorer,
        beauty=tuple(beauty or WEIGHTS),
        share=tuple(share or SHARES),
        candidates=candidates,
        model=model,
        seed=seed,
        name=name_of_run(name, out, Path("pareto")),
    )
    run = measure(config)
    finish(run, out, as_json)
    if out is not None and drawable():
        draw(out, "", line_plot(curves(run), "hit_rate@10 (%)", f"mean percentile of {scorer} in the top 10"))


@app.command()
def negatives(
    index: Annotated[Path, typer.Argument(help="INDEX of the table's pictures.")],
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    text_column: Annotated[str, typer.Option(help="Column of captions.")] = "caption",
    image_column: Annotated[str | None, typer.Option(help="Column of names; else image or file.")] = None,
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    leave_out: Annotated[str | None, typer.Option(help="The split whose pictures are not looked at.")] = "val",
    seed: Annotated[int, typer.Option(help="Of drawn pairs and resampling.")] = 1,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """What `search A --not B` finds, by the weight of B: pictures that show A, and A without B.

    Example: beholder bench negatives all.index captions.tsv --splits splits.tsv
    """
    from benchmarks.quality.negatives import NegativesConfig, measure

    run_name = name_of_run(name, out, Path("negatives"))
    config = NegativesConfig(index, table, text_column, image_column, splits, leave_out, seed, run_name)
    finish(measure(config), out, as_json)


@app.command()
def scale(
    embed: Annotated[Path, typer.Argument(help="A run of `bench speed embed`.")],
    index: Annotated[Path, typer.Argument(help="A run of `bench speed index`.")],
    pictures: Annotated[int, typer.Option(help="How many.")] = 1_000_000_000,
    memory: Annotated[str, typer.Option(help="Of one machine, for its part of the index.")] = "64GiB",
    cores: Annotated[int, typer.Option(help="Of one machine.")] = 16,
    item_bytes: Annotated[int, typer.Option(help="Of a picture's row of items on disk.")] = 100,
    core_hour: Annotated[float, typer.Option(help="Price of a core for an hour.")] = 0.04,
    gigabyte_month: Annotated[float, typer.Option(help="Price of storing 10^9 bytes for a month.")] = 0.02,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Storage, time, machines and money of a corpus too large to try, worked out from two measured runs.

    Example: beholder bench scale docs/results/speed-embed-mini.json docs/results/speed-index-100k.json
    """
    from benchmarks.speed.scale import ScaleConfig, measure

    run_name = name_of_run(name, out, Path("scale"))
    prices = core_hour, gigabyte_month
    config = ScaleConfig(embed, index, pictures, memory, cores, item_bytes, *prices, run_name)
    finish(measure(config), out, as_json)
