"""Verbs that change what an INDEX holds: add, remove, merge, compact, duplicates. They parse, call and print."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from indexes.building.growth import Growth

Folder = Annotated[Path, typer.Argument(help="INDEX folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Threads = Annotated[int, typer.Option(help="0: all cores.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, change nothing.")]


def add(
    index: Folder,
    embeddings: Annotated[Path, typer.Argument(help="EMBEDDINGS folder, of the index's encoder.")],
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Add the pictures of an EMBEDDINGS folder that the index does not hold yet.

    Example: beholder index add pictures.index holiday.emb
    """
    from indexes.building.growth import add as run
    from retrieval.progress import progress_line

    with progress_line("vectors") as progress:
        growth = run(index, embeddings, threads=threads, progress=progress)
    _report(index, growth, as_json, threads)


def remove(
    index: Folder,
    ids: Annotated[str | None, typer.Option(help="Ids, with commas: 3,17,204.")] = None,
    where: Annotated[str | None, typer.Option(help="A condition over the items, as of search --where.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Pictures whose files are gone.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take pictures out of all later searches; the files of the pictures are not touched.

    Example: beholder index remove pictures.index --where "width < 200"
    """
    from indexes.building.growth import missing_ids
    from indexes.building.growth import remove as run
    from indexes.errors import BeholderError

    if sum((ids is not None, where is not None, missing)) != 1:
        remedy = 'Example: beholder index remove INDEX --where "width < 200"'
        raise BeholderError("nothing, or more than one thing, to go by", "one of --ids, --where and --missing", remedy)
    if ids is not None:
        chosen = _whole_numbers(ids)
    elif where is not None:
        from indexes import load_index
        from indexes.searching.where import matching_ids

        chosen = matching_ids(load_index(index, mmap=True).items_table(), where).tolist()
    else:
        chosen = missing_ids(index).tolist()
    if dry_run:
        print(json.dumps({"would_remove": chosen}) if as_json else f"would remove {len(chosen)} pictures")
        return
    _report(index, run(index, chosen), as_json, 0)


def merge(
    index: Folder,
    others: Annotated[list[Path], typer.Argument(help="INDEX folders whose pictures are taken in.")],
    as_json: Json = False,
) -> None:
    """Take the pictures of other indexes of the same encoder into this one; the others stay as they are.

    Example: beholder index merge pictures.index holiday.index
    """
    from indexes.building.growth import merge as run

    _report(index, run(index, others), as_json, 0)


def compact(
    index: Folder,
    factory: Annotated[str | None, typer.Option(help="Another kind of index; see build --factory.")] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Write an index of many parts, or with removed pictures, as one part; ids stay. Scores that came later become
    dimensions, for --beauty.

    Example: beholder index compact pictures.index
    """
    from indexes.building.growth import compact as run
    from indexes.building.tune import tune_index
    from indexes.searching.search import IndexManifest
    from retrieval.progress import progress_line

    from .scores import generic_vectors

    before = IndexManifest.read(index)
    with progress_line("vectors") as progress:
        growth = run(index, factory=factory, threads=threads, progress=progress)
    after = IndexManifest.read(index)
    others = [record.name for record in after.in_index] != [record.name for record in before.in_index]
    if after.count > 1 and ((after.factory != before.factory and after.parameters) or others):
        texts = None
        if after.in_index and (after.settings.get("queries") or {"kind": ""})["kind"] != "text":
            texts = generic_vectors(after.encoder.name, "without an encoder the spread of relevance is not known")
        tune_index(index, text_vectors=texts, threads=threads)
    _report(index, growth, as_json, threads)


def duplicates(
    index: Folder,
    near: Annotated[float, typer.Option(help="Least cosine of near duplicates; 1 and more: equal files only.")] = 0.97,
    as_json: Json = False,
) -> None:
    """List pictures that the index holds more than once: the same file, or nearly the same picture.

    Example: beholder index duplicates pictures.index --near 0.95
    """
    from indexes import load_index
    from indexes.searching.duplicates import duplicate_groups

    opened = load_index(index)
    groups = duplicate_groups(opened, near if near < 1 else None)
    items = [opened.items(_ids(group.ids)).select(["id", "uri", "sha256"]).to_pylist() for group in groups]
    if as_json:
        rows = [{**asdict(group), "pictures": rows} for group, rows in zip(groups, items, strict=True)]
        print(json.dumps(rows, ensure_ascii=False))
        return
    for group, rows in zip(groups, items, strict=True):
        print(f"{group.kind} {group.similarity:.3f}: " + "  ".join(f"{row['uri']} ({row['id']})" for row in rows))
    extra = sum(len(group.ids) - 1 for group in groups)
    print(f"{len(groups)} groups; {extra} of {len(opened)} pictures repeat another")


def _ids(ids: tuple[int, ...]) -> Any:
    import numpy as np

    return np.array(ids, np.int64)


def _whole_numbers(text: str) -> list[int]:
    from indexes.errors import BeholderError

    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise BeholderError(f"--ids {text}", "whole numbers with commas", "Example: --ids 3,17,204") from error


def _report(index: Path, growth: "Growth", as_json: bool, threads: int) -> None:
    """Measures recall again where it was measured before and the pictures changed, then prints what was done."""
    from indexes.building.tune import remeasure
    from indexes.searching.search import IndexManifest

    from .scores import print_growth

    manifest = IndexManifest.read(index)
    if manifest.measured is not None and manifest.measured.get("stale") and manifest.count > 1:
        manifest = remeasure(index, threads=threads)
    measured = manifest.measured
    if as_json:
        print(json.dumps({**asdict(growth), "measured": measured}))
        return
    print(
        f"{index}: {growth.count} pictures in {growth.segments} segment(s) "
        f"({growth.added} added, {growth.known} known already, {growth.removed} removed)"
    )
    print_growth(growth)
    if measured is None or "knn_recall" not in measured:
        return
    print(
        f"knn_recall@{measured['k']} {measured['knn_recall']:.3f} on {measured['queries']} {measured['kind']} queries"
    )
    target = measured.get("target")
    if target is not None and measured["knn_recall"] < target:
        print(f"below the target of {target:g}: `beholder index tune {index}` looks for parameters that meet it")
