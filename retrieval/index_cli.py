"""The verb `index`: build, look at and check an INDEX folder; its other verbs are registered here."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .index_growth_cli import add, compact, duplicates, merge, remove
from .index_update_cli import export, update

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Build, look at and check an index.")


@app.command()
def build(
    embeddings: Annotated[Path, typer.Argument(help="EMBEDDINGS folder.")],
    index: Annotated[Path, typer.Argument(help="INDEX folder to make.")],
    factory: Annotated[str, typer.Option(help="Flat, IVFn,Flat, or auto: by the number of pictures.")] = "auto",
    threads: Annotated[int, typer.Option(help="0: all cores.")] = 0,
    seed: Annotated[int, typer.Option(help="Of training.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an index of other embeddings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Build a search index of embeddings.

    Example: beholder index build pictures.emb pictures.index
    """
    from indexes.build import IndexConfig, build_index

    from .progress import progress_line

    config = IndexConfig(factory=factory, threads=threads, seed=seed)
    with progress_line("vectors") as progress:
        manifest = build_index(embeddings, index, config, overwrite=overwrite, progress=progress)
    if as_json:
        print(json.dumps(asdict(manifest)))
        return
    print(f"{index}: {manifest.count} pictures, {manifest.factory}")
    _print_parameters(manifest.parameters)


@app.command()
def info(
    index: Annotated[Path, typer.Argument(help="INDEX folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Say what an index holds.

    Example: beholder index info pictures.index
    """
    from indexes.search import IndexManifest

    manifest = IndexManifest.read(index)
    if as_json:
        print(json.dumps(asdict(manifest)))
        return
    size = sum(file.bytes for segment in manifest.segments for file in segment.files)
    print(f"pictures    {manifest.count}, of {(index / manifest.source).resolve()}")
    print(f"encoder     {manifest.encoder.name}, {manifest.encoder.width}-d")
    print(
        f"            pictures {manifest.encoder.image_fingerprint[:16]}, text {manifest.encoder.text_fingerprint[:16]}"
    )
    print(f"index       {manifest.factory}, {len(manifest.segments)} segment(s), {size / 1e6:.1f} MB on disk")
    _print_parameters(manifest.parameters)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="INDEX or EMBEDDINGS folder.")],
) -> None:
    """Check every file of an INDEX or EMBEDDINGS folder: sizes, sha256, row counts, unit rows; recall on a sample.

    Example: beholder index verify pictures.index
    """
    from indexes.manifest import MANIFEST
    from indexes.sampled import sampled_recall
    from indexes.search import verify_index
    from indexes.shards import verify as verify_embeddings

    path = folder / MANIFEST
    embeddings = path.is_file() and b'"beholder-embeddings"' in path.read_bytes()
    files = verify_embeddings(folder) if embeddings else verify_index(folder)
    print(f"{folder}: {files} files as they should be")
    found = None if embeddings else sampled_recall(folder)
    if found is not None:
        print(
            f"knn_recall@10 {found.knn_recall:.3f} ({found.interval[0]:.3f} to {found.interval[1]:.3f}) "
            f"on {found.queries} {found.kind} queries"
        )


for verb in (update, add, remove, merge, compact, duplicates, export):
    app.command()(verb)


def _print_parameters(parameters: dict[str, object]) -> None:
    for name, value in sorted(parameters.items()):
        print(f"{name:<11} {value}")
