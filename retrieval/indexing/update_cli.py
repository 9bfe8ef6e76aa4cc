"""Verbs of `index` that cross formats: update (source to index in one step) and export (clip-retrieval's layout)."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def update(
    index: Annotated[Path, typer.Argument(help="INDEX folder to make or bring up to date.")],
    source: Annotated[
        list[str],
        typer.Argument(help="Folder of pictures, tars or Parquet files; dataset on disk; or a pattern of archives."),
    ],
    model: Annotated[str, typer.Option(help="Encoder of a new index; an index keeps its own.")] = "beholder-mini",
    batch_size: Annotated[int, typer.Option(help="Pictures per batch.")] = 64,
    workers: Annotated[int, typer.Option(help="Decode processes; 0: one per core.")] = 0,
    max_bad_share: Annotated[float, typer.Option(help="Bad pictures allowed, as a share; ten always are.")] = 0.01,
    device: Annotated[str, typer.Option(help="Of the encoder: cpu, cuda, cuda:N or mps.")] = "cpu",
    captions: Annotated[
        str | None, typer.Option(help="TSV with columns file (or image) and caption (or title).")
    ] = None,
    knn_recall: Annotated[float | None, typer.Option(help="Of a new index, default 0.95: see `index build`.")] = None,
    memory: Annotated[str | None, typer.Option(help="Of a new index: most that it may hold, as 4GiB.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Of a new index: text queries to tune it on.")] = None,
    factory: Annotated[
        str | None, typer.Option(help="Of a new index: FAISS's name of its kind; none: planned.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Folder to keep the vectors in; default: INDEX/embeddings.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring an index up to its pictures: embed what is new, remove what is gone; make it where there is none.

    It follows the source: what `index remove` took out comes back while the source has it.

    Example: beholder index update pictures.index ~/Pictures
    """
    from indexes.building.build import IndexConfig, build_index
    from indexes.engine.memory import parse_size
    from indexes.errors import BeholderError
    from indexes.records.manifest import MANIFEST
    from indexes.records.segments import IndexManifest
    from retrieval.encoding.pipeline import EmbedConfig
    from retrieval.progress import progress_line
    from retrieval.search.calibrate import calibrate_if_possible

    from .build_cli import encoded_queries
    from .scores import print_growth
    from .update import update_index

    config = EmbedConfig(
        model=model,
        batch_size=batch_size,
        workers=workers,
        max_bad_share=max_bad_share,
        device=device,
        captions=captions,
    )
    asked = {"--knn-recall": knn_recall, "--memory": memory, "--queries": queries, "--factory": factory}
    given = [name for name, value in asked.items() if value is not None]
    if given and (index / MANIFEST).is_file():
        remedy = f"Use `beholder index tune {index}`, or `index compact` for another kind."
        raise BeholderError(f"{given[0]} for an index that is there", "a new index", remedy)
    settings = IndexConfig(
        factory=factory or "auto",
        knn_recall=0.95 if knn_recall is None else knn_recall,
        memory=parse_size(memory) if memory else 0,
        measure=True,
    )
    # Before the pictures are embedded: a wrong file of queries is said at once.
    vectors = encoded_queries(queries, None, model) if queries is not None else None

    def build(made: Path, folder: Path) -> None:
        build_index(made, folder, settings, query_vectors=vectors, query_kind="text" if queries else "vectors")

    with progress_line("pictures") as progress:
        report = update_index(index, source, config, build=build, embeddings=embeddings, progress=progress)
    manifest = IndexManifest.read(index)
    _, cut_off = calibrate_if_possible(index, manifest, manifest.encoder.name)
    for note in report.embedded.notes:
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(asdict(report)))
        return
    what = "made" if report.created else "up to date"
    print(f"{index}: {what}, {report.count} pictures ({report.added} added, {report.removed} removed)")
    if report.embedded.rejected:
        print(f"rejected pictures and reasons: {(embeddings or index / 'embeddings') / 'rejected.jsonl'}")
    print_growth(report)
    if report.compacted:
        print("its segments were written as one")
    if report.measured is not None:
        _print_recall(index, report.measured)
    print(f"cut-off {cut_off}")


def _print_recall(index: Path, measured: Mapping[str, Any]) -> None:
    low, high = measured["interval"] or (None, None)
    between = f" ({low:.3f} to {high:.3f})" if low is not None else ""
    print(f"knn_recall@10 {measured['knn_recall']:.3f}{between} on {measured['kind']} queries")
    if measured["target"] and measured["knn_recall"] < measured["target"]:
        print(f"below the target of {measured['target']:g}: `beholder index tune {index}` looks for better parameters")


def export(
    index: Annotated[Path, typer.Argument(help="INDEX folder.")],
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
) -> None:
    """Write an index as clip-retrieval keeps its own: img_emb/*.npy and metadata/*.parquet.

    Example: beholder index export pictures.index pictures.clip
    """
    from indexes import load_index
    from retrieval.encoding.clip_layout import write_layout

    count = write_layout(load_index(index, mmap=True), folder)
    print(f"{folder}: {count} pictures as img_emb/*.npy and metadata/*.parquet")
