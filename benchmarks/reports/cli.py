"""The verb `bench report`: the documents' blocks, or a page of chosen runs."""

from pathlib import Path
from typing import Annotated

import typer

from indexes.errors import BeholderError


def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="JSON of runs, for --html and --markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the runs as one page that needs nothing else.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write them as Markdown, plots as SVG beside it.")] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Run to compare with: one for all, or one for each (repeatable).")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Measurements",
    gallery: Annotated[Path | None, typer.Option(help="INDEX to show rows of pictures of.")] = None,
    query: Annotated[list[str] | None, typer.Option(help="Query of a row (repeatable).")] = None,
    search: Annotated[
        list[str] | None, typer.Option(help="Search settings of a row (repeatable): JSON as the service takes it.")
    ] = None,
    search_model: Annotated[
        list[str] | None, typer.Option(help="Encoder of a row's queries (repeatable); else the index's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of resampling, for --compare.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a block differs.")] = False,
    root: Annotated[Path, typer.Option(help="The repository whose documents hold blocks.")] = Path("."),
) -> None:
    """Writes docs/results/*.json into the marked blocks of README, docs and model cards; or shows the runs given: as a
    page, as Markdown with plots, else as text.

    Example: beholder bench report --check

    Example: beholder bench report aligned.json --compare base.json --html report.html
    """
    if not runs:
        if html or markdown or compare or gallery:
            raise BeholderError("no run to show", "JSON that `bench` wrote with --out", "Name the runs.")
        _blocks(root, check)
        return
    if check:
        raise BeholderError("--check with runs", "it alone", "It compares the documents with docs/results.")
    if (query or search or search_model) and gallery is None:
        raise BeholderError("--query, --search or --search-model without --gallery", "an INDEX", "Add --gallery.")
    from . import page as report_page

    shown, comparisons = report_page.read_runs(runs, compare or [], seed)
    rows = []
    if gallery is not None:
        from .gallery import GalleryConfig, gallery_rows

        settings, models = tuple(search or ("{}",)), tuple(search_model or ("",))
        rows = gallery_rows(GalleryConfig(gallery, tuple(query or ()), settings, models))
    if html is not None:
        size = report_page.write_text(html, report_page.page(shown, comparisons, rows, title))
        typer.echo(f"{html}: {size / 1e6:.1f} MB")
    if markdown is not None:
        text, files = report_page.markdown(shown, comparisons, rows, title, markdown.stem)
        for name, svg in files.items():
            report_page.write_text(markdown.with_name(name), svg)
        report_page.write_text(markdown, text)
        typer.echo(f"{markdown}: {len(files)} plots beside it")
    if not (html or markdown):
        typer.echo(report_page.markdown(shown, comparisons, rows, title, None)[0].rstrip())


def _blocks(root: Path, check: bool) -> None:
    from benchmarks.report import report as write_report

    changed, blocks = write_report(root, check=check)
    typer.echo(f"{blocks} blocks, {len(changed)} documents rewritten" if not check else f"{blocks} blocks agree")
    for path in changed:
        typer.echo(str(path))
