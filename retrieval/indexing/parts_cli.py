"""The verb `index parts`: names INDEX folders and services that are searched as one, or says how they are."""

from pathlib import Path
from typing import Annotated

import typer


def parts(
    folder: Annotated[Path, typer.Argument(help="Index of parts: to make, or to look at where no part is given.")],
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PART]...", help="INDEX folders and http://HOST:PORT/?index=NAME of `beholder serve`."),
    ] = None,
) -> None:
    """Make one index of several, here or on other machines; without parts: say which are there.

    Example: beholder index parts all.index art.index http://other:8000/?index=photos

    Example: beholder search all.index "a quiet harbour at dawn"
    """
    from indexes.errors import ConditionFailed
    from retrieval.search.parts_search import PartsSearcher, name_parts

    if places:
        manifest = name_parts(folder, places)
        print(f"{folder}: {manifest.count} pictures in {len(manifest.parts)} parts, {manifest.encoder.name}")
        return
    opened = PartsSearcher(folder)
    down = {part.number: part.reason for part in opened.down()}
    for number, part in enumerate(opened.manifest.parts):
        print(f"{part.place}: {part.count} pictures, {down.get(number, 'there')}")
    if down:
        raise ConditionFailed(f"{len(down)} of {len(opened.parts)} parts cannot be asked", "all of them")
