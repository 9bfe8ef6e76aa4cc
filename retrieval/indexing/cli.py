"""The verb `index`: build, look at and check an INDEX folder; its other verbs are registered here."""

from pathlib import Path
from typing import Annotated

import typer

from .build_cli import build, info, tune
from .growth_cli import add, compact, duplicates, merge, remove
from .parts_cli import parts
from .update_cli import export, update

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Build, look at and check an index.")


app.command()(build)
app.command()(info)
app.command()(tune)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="INDEX or EMBEDDINGS folder.")],
) -> None:
    """Check every file of an INDEX or EMBEDDINGS folder: sizes, sha256, row counts, unit rows; recall on a sample.

    Example: beholder index verify pictures.index
    """
    from indexes.building.sampled import sampled_recall
    from indexes.records.manifest import MANIFEST
    from indexes.records.shards import verify as verify_embeddings
    from indexes.searching.safety import admit
    from indexes.searching.search import verify_index

    path = folder / MANIFEST
    embeddings = path.is_file() and b'"beholder-embeddings"' in path.read_bytes()
    if not embeddings:
        admit(folder)
    files = verify_embeddings(folder) if embeddings else verify_index(folder)
    print(f"{folder}: {files} files as they should be")
    found = None if embeddings else sampled_recall(folder)
    if found is not None:
        print(
            f"knn_recall@10 {found.knn_recall:.3f} ({found.interval[0]:.3f} to {found.interval[1]:.3f}) "
            f"on {found.queries} {found.kind} queries"
        )


for verb in (update, add, remove, merge, compact, duplicates, export, parts):
    app.command()(verb)
