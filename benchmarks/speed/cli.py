"""The verbs of `bench speed`: options -> config -> call -> print. Everything heavy is imported inside."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import Device, Json, Name, Out, Seed, draw, drawable, finish, name_of_run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Pictures per second and queries per second, against what they could be.",
)


@app.command("embed")
def speed_embed(
    source: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    model: Annotated[
        str, typer.Option(help="Encoder; ViT-B-32:random measures speed without weights.")
    ] = "beholder-mini",
    batch_size: Annotated[int, typer.Option(help="Pictures per batch, of ours and of the forward-only rate.")] = 64,
    threads: Annotated[int, typer.Option(help="Threads of the encoder on a CPU; 0 = torch's choice.")] = 0,
    workers: Annotated[int, typer.Option(help="Decode processes; 0 = one per core.")] = 0,
    limit: Annotated[int | None, typer.Option(help="At most so many pictures, drawn by --seed.")] = None,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are reported.")] = 3,
    seed: Seed = 0,
    device: Device = "cpu",
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Pictures/s of `embed` against the encoder's forward-only rate and the decode-only rate, in one run.

    Example: beholder bench speed embed pictures/ --model ViT-B-32:random --limit 256
    """
    from .embed import SpeedEmbedConfig, measure

    run_name = name_of_run(name, out, Path("speed-embed"))
    config = SpeedEmbedConfig(source, model, batch_size, threads, workers, limit, repeats, seed, device, run_name)
    finish(measure(config), out, as_json)


@app.command("critique")
def speed_critique(
    source: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    model: Annotated[str, typer.Option(help="Critic: one in the box, FOLDER, hf:MODEL or llm:MODEL[@URL].")],
    batch: Annotated[list[int] | None, typer.Option(help="Pictures at once (repeatable); else 1 and 16.")] = None,
    tokens: Annotated[int, typer.Option(help="New tokens of each answer.")] = 64,
    threads: Annotated[int, typer.Option(help="Threads on a CPU; 0 = torch's choice.")] = 0,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are reported.")] = 3,
    device: Device = "cpu",
    timeout: Annotated[float, typer.Option("--timeout-s", help="Seconds for one answer of a server.")] = 120.0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Tokens/s and pictures/s of a critic; of a local one against its forward pass alone.

    Example: beholder bench speed critique pictures/ --model work/critic
    """
    from .critique import SpeedCritiqueConfig, measure

    run_name = name_of_run(name, out, Path("speed-critique"))
    sizes = tuple(batch or SpeedCritiqueConfig.batch)
    config = SpeedCritiqueConfig(source, model, sizes, tokens, threads, repeats, device, timeout, run_name)
    finish(measure(config), out, as_json)


@app.command("search")
def speed_search(
    count: Annotated[int, typer.Option(help="Vectors in the index.")] = 100_000,
    width: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 256,
    batch: Annotated[list[int] | None, typer.Option(help="Queries per call (repeatable); else 1 and 64.")] = None,
    k: Annotated[int, typer.Option("-k", help="Results per query.")] = 10,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are reported.")] = 5,
    index: Annotated[
        Path | None, typer.Option(help="INDEX of pictures: whole searches, stage by stage, instead of vectors.")
    ] = None,
    texts: Annotated[Path | None, typer.Option(help="Text queries for --index, one a line.")] = None,
    model: Annotated[str | None, typer.Option(help="Encoder of --texts; else the index's own.")] = None,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Queries/s of our flat search against FAISS's IndexFlatIP; or, of a real index, the latency of each stage.

    With --index and --out NAME.json the stages are drawn as NAME.svg, those of the command as NAME-command.svg.

    Example: beholder bench speed search --count 100000 --width 256 --batch 1 --batch 64

    Example: beholder bench speed search --index pictures.index --texts queries.txt
    """
    from .search import SpeedSearchConfig, measure

    run_name, asked = name_of_run(name, out, Path("speed-search")), (index, texts, model)
    config = SpeedSearchConfig(count, width, tuple(batch or ()), k, repeats, *asked, seed, run_name)
    run = measure(config)
    finish(run, out, as_json)
    if out is not None and index is not None and drawable():
        from benchmarks.plots import bar_plot

        from .stages import bars

        for kind, found in bars(run).items():
            draw(out, kind, bar_plot(found, "ms a query" if not kind else "ms"))


@app.command("index")
def speed_index(
    count: Annotated[list[int] | None, typer.Option(help="Vectors (repeatable); else 100,000.")] = None,
    width: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 256,
    knn_recall: Annotated[float, typer.Option(help="Target of the planner and of the sweep.")] = 0.95,
    memory: Annotated[str, typer.Option(help="Bound that both sides are given, such as 1GiB.")] = "4GiB",
    batch: Annotated[list[int] | None, typer.Option(help="Queries per call (repeatable); else 1 and 64.")] = None,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are reported.")] = 5,
    autofaiss: Annotated[
        Path | None, typer.Option(help="Python of an environment with autofaiss; see benchmarks/speed/peers/autofaiss.")
    ] = None,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Build, memory, recall and queries/s of the index that the planner chooses, beside autofaiss's.

    With --out NAME.json queries/s are drawn against recall as NAME.svg, effort by effort.

    Example: beholder bench speed index --count 100000 --memory 1GiB --autofaiss autofaiss/bin/python
    """
    from .index import SpeedIndexConfig, curves, measure

    run_name = name_of_run(name, out, Path("speed-index"))
    counts, batches = tuple(count or (100_000,)), tuple(batch or (1, 64))
    config = SpeedIndexConfig(counts, width, knn_recall, memory, batches, repeats, autofaiss, seed, run_name)
    run = measure(config)
    finish(run, out, as_json)
    if out is not None and drawable():
        from benchmarks.plots import line_plot

        draw(out, "", line_plot(curves(run), "knn_recall@10", "queries/s, one at a time", log_y=True))


@app.command("scaling")
def speed_scaling(
    count: Annotated[
        list[int] | None, typer.Option(help="Vectors (repeatable); else 25,000, 50,000, 75,000 and 100,000.")
    ] = None,
    width: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 256,
    knn_recall: Annotated[float, typer.Option(help="Target of the planner and of the timed searches.")] = 0.95,
    memory: Annotated[str, typer.Option(help="Bound of building and searching, such as 1GiB.")] = "4GiB",
    factory: Annotated[str, typer.Option(help="One kind for all sizes; auto: the planner's choice at each.")] = "auto",
    repeats: Annotated[int, typer.Option(help="Of timed searches; medians are reported.")] = 5,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """How building, memory and searching grow with the corpus: costs at four sizes, and the fitted exponents.

    With --out NAME.json the costs are drawn as NAME.svg.

    Example: beholder bench speed scaling --count 5000 --count 10000 --count 20000 --count 40000
    """
    from .scaling import SpeedScalingConfig, curves, measure

    run_name = name_of_run(name, out, Path("speed-scaling"))
    counts = tuple(count or SpeedScalingConfig.count)
    run = measure(SpeedScalingConfig(counts, width, knn_recall, memory, factory, repeats, seed, run_name))
    finish(run, out, as_json)
    if out is not None and drawable():
        from benchmarks.plots import line_plot

        drawn = line_plot(curves(run), "vectors", "times the cost of the smallest", log_x=True, log_y=True)
        draw(out, "", drawn)


@app.command("serve")
def speed_serve(
    count: Annotated[int, typer.Option(help="Vectors in the index.")] = 100_000,
    width: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 256,
    knn_recall: Annotated[float, typer.Option(help="Target of the planner and of the sweep.")] = 0.98,
    concurrency: Annotated[list[int] | None, typer.Option(help="Connections (repeatable); else 1 and 32.")] = None,
    seconds: Annotated[float, typer.Option(help="Of load per turn.")] = 5.0,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are reported.")] = 3,
    clip_retrieval: Annotated[
        Path | None, typer.Option(help="Python of an environment with it; see benchmarks/speed/peers/clip_retrieval.")
    ] = None,
    text_index: Annotated[Path | None, typer.Option(help="INDEX of pictures, for text queries.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Text queries, one a line.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="Of open_clip: texts by random weights of it on both sides, such as ViT-B-32.")
    ] = None,
    soak: Annotated[float, typer.Option(help="Seconds at 70 % of capacity, at the end.")] = 0.0,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Requests/s, latency, memory and start of `serve` beside clip-retrieval's back end, from a compiled load.

    Example: beholder bench speed serve --clip-retrieval clip_retrieval/bin/python --soak 600
    """
    from .serve import measure
    from .serve_config import SpeedServeConfig

    run_name, connections = name_of_run(name, out, Path("speed-serve")), tuple(concurrency or (1, 32))
    vectors = count, width, knn_recall, connections, seconds, repeats, clip_retrieval
    config = SpeedServeConfig(*vectors, text_index, texts, architecture, soak, seed, run_name)
    finish(measure(config), out, as_json)
