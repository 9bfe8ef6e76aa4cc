"""`align compare`: what two encoders find for the same queries over one index, rows one above the other."""

from pathlib import Path
from typing import Annotated

import typer

from indexes.errors import BeholderError


def compare(
    base: Annotated[str, typer.Argument(help="Encoder: a name, or a folder.")],
    aligned: Annotated[str, typer.Argument(help="The other one: a CHECKPOINT of `align train`, say.")],
    index: Annotated[Path, typer.Option(help="INDEX folder that both can search.")],
    queries: Annotated[Path, typer.Option(help="File of queries, one per line.")],
    html: Annotated[Path, typer.Option(help="Page to write.")],
    k: Annotated[int, typer.Option("-k", help="Pictures in a row.")] = 8,
    rewrite: Annotated[str, typer.Option(help="Rewriter in front of a third row: the base with it.")] = "none",
) -> None:
    """Show what two encoders find, row above row, and how much of it is the same.

    Example: beholder align compare beholder-mini work/aligned/model --index pictures.index --queries queries.txt --html
    compared.html
    """
    from retrieval.search.config import SearchConfig
    from retrieval.search.gallery import write_gallery
    from retrieval.search.query_file import read_queries
    from retrieval.search.searcher import open_searcher, picture_folder

    asked, plain = read_queries(queries), SearchConfig(k=k)
    config = SearchConfig(k=k, rewrite=rewrite)
    systems = [("base", base, plain), *([("base, rewritten", base, config)] if config.rewrites else [])]
    systems.append(("aligned", aligned, plain))
    if base == aligned and not config.rewrites:
        raise BeholderError(f"{base} twice", "two encoders", "Name the tuned one, or give --rewrite.")
    found = {name: open_searcher(index, model).search(asked, settings) for name, model, settings in systems}
    rows = [(f"{text}: {name}", found[name][place].results) for place, text in enumerate(asked) for name in found]
    searcher = open_searcher(index)
    write_gallery(html, rows, picture_folder(searcher.index), title="Compared")
    print(f"page: {html}")
    for name in list(found)[1:]:
        shares = [
            len({one.id for one in first.results} & {one.id for one in other.results}) / max(len(first.results), 1)
            for first, other in zip(found["base"], found[name], strict=True)
        ]
        print(f"{name}: {sum(shares) / len(shares):.0%} of the base's pictures, over {len(asked)} queries")
