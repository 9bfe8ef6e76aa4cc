"""The verb `search`: options -> queries and config -> call -> print."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .parts_search import PartsSearcher
    from .query import Query

STARTED = time.perf_counter()


def search(
    index: Annotated[Path, typer.Argument(help="INDEX folder.")],
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    texts: Annotated[list[str] | None, typer.Option("--text", help="The same, as TEXT or TEXT:WEIGHT.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="A picture to go by: FILE or FILE:WEIGHT.")] = None,
    unwanted: Annotated[
        list[str] | None, typer.Option("--not", help="What results should not show: TEXT or TEXT:WEIGHT (else 0.5).")
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(help="Pictures like this one of the index: ID or ID:WEIGHT.")
    ] = None,
    vector: Annotated[str | None, typer.Option(help=".npy of the encoder's vectors; each row is a query.")] = None,
    queries: Annotated[Path | None, typer.Option(help="File of queries, one per line.")] = None,
    k: Annotated[int, typer.Option("-k", help="Results per query.")] = 10,
    where: Annotated[
        str | None, typer.Option(help="Only pictures for which this holds: width >= 800 AND caption LIKE '%boat%'")
    ] = None,
    beauty: Annotated[
        list[str] | None, typer.Option(help="Lean to what a scorer likes: WEIGHT (default scorer) or SCORER:WEIGHT.")
    ] = None,
    rewrite: Annotated[
        str, typer.Option(help="Rewriter of the query's texts; see `beholder rewrite --help`.")
    ] = "none",
    rerank: Annotated[
        list[str] | None,
        typer.Option(help="rank-mix[:SHARE][@SCORER], mmr[:SHARE], lmm:MODEL[@URL] or lmm@CRITIC[#N]; they chain."),
    ] = None,
    candidates: Annotated[int, typer.Option(help="How many go into --rerank or --sort; 0: 100, or all shown.")] = 0,
    sort: Annotated[str | None, typer.Option(help="Order results by this column; COLUMN:desc, highest first.")] = None,
    dedup: Annotated[bool, typer.Option("--dedup", help="Of (nearly) the same pictures only the best placed.")] = False,
    near: Annotated[float, typer.Option(help="Least cosine of pictures that --dedup takes for the same.")] = 0.97,
    min_relevance: Annotated[
        str | None, typer.Option(help="Least cosine of a result; auto: none where nothing answers the query.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Encoder of the query, where not the index's own.")] = None,
    device: Annotated[str, typer.Option(help="Of the encoder: cpu, cuda, cuda:N or mps.")] = "cpu",
    index_device: Annotated[str, typer.Option(help="Of the index: cpu, cuda (all GPUs) or cuda:N.")] = "cpu",
    partial: Annotated[
        bool, typer.Option("--partial", help="Of an index of parts: leave out, and name, those that are down.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per query and line.")] = False,
    tsv: Annotated[bool, typer.Option("--tsv", help="Tab-separated, with a header.")] = False,
    paths: Annotated[bool, typer.Option("--paths", help="Only the files' paths.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a gallery page to this file.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each stage did and where the time went.")
    ] = False,
) -> None:
    """Search an index with words, pictures, both, or the vectors of either.

    Example: beholder search pictures.index "a quiet harbour at dawn" -k 20 --html harbour.html

    Example: beholder search pictures.index --text "a harbour" --image ref.jpg:0.5 --not people

    Example: beholder search pictures.index "a boat" --where "width >= 800" --dedup

    Example: beholder search pictures.index "a boat" --rewrite template --beauty colourfulness:0.5 --explain
    """
    from indexes.errors import BeholderError

    from . import output

    if sum((as_json, tsv, paths)) > 1:
        raise BeholderError("more than one of --json, --tsv and --paths", "one", "Choose one.")
    asked = _queries(text, texts or [], image or [], unwanted or [], like or [], vector, queries)
    from .config import SearchConfig, parse_beauty, parse_min_relevance

    config = SearchConfig(
        k=k,
        where=where,
        near=near if dedup else None,
        beauty=tuple(parse_beauty(given) for given in beauty or ()),
        rewrite=rewrite,
        rerank=tuple(rerank or ()),
        candidates=candidates,
        sort=sort,
        min_relevance=parse_min_relevance(min_relevance),
    )
    seconds = {"start": time.perf_counter() - STARTED}
    started = time.perf_counter()
    from .searcher import open_searcher, picture_folder

    parts = _parts(index, model, device, partial)
    if parts is None:
        searcher = open_searcher(index, model, device=device, index_device=index_device)
    seconds["open"] = time.perf_counter() - started
    answers = searcher.search(asked, config) if parts is None else parts.search(asked, config)
    if where is not None and parts is None:
        print(f"{len(searcher.matching(where))} of {len(searcher.index)} pictures match --where", file=sys.stderr)
    output.write_notes(answers, explain)
    seconds |= answers[0].seconds
    pictures = picture_folder(searcher.index) if parts is None else parts.pictures
    if html is not None:
        from .gallery import write_gallery

        started = time.perf_counter()
        write_gallery(html, [(answer.query.label, answer.results) for answer in answers], pictures)
        seconds["gallery"] = time.perf_counter() - started
        print(f"gallery: {html}", file=sys.stderr)
    if as_json:
        output.write_json(answers, seconds if explain else None)
    elif tsv:
        output.write_tsv(answers)
    elif paths:
        output.write_paths(answers, pictures)
    elif html is None or len(answers) == 1:
        output.write_table(answers, explain)
    if explain and not as_json:
        if parts is None:
            output.write_seconds(seconds, searcher.encoder.loaded, searcher.index)
        else:
            output.write_seconds(seconds, parts.encoder.loaded, parts)


def _parts(folder: Path, model: str | None, device: str, partial: bool) -> "PartsSearcher | None":
    """The searcher of an index of parts; None for any other folder."""
    from indexes.errors import BeholderError
    from indexes.searching.parts import is_parts

    if is_parts(folder):
        from .parts_search import PartsSearcher

        return PartsSearcher(folder, model=model, device=device, partial=partial)
    if partial:
        raise BeholderError(f"--partial, and {folder} is no index of parts", "one that `index parts` made")
    return None


def _queries(
    text: str | None,
    texts: list[str],
    images: list[str],
    unwanted: list[str],
    likes: list[str],
    vector: str | None,
    file: Path | None,
) -> "list[Query]":
    """One query of all the parts; as many as the file has lines or the vectors have rows, each with the other parts."""
    from indexes.errors import BeholderError

    from .query import Part, Query, image_part, like_part, text_part, vector_parts
    from .query_file import read_queries

    if file is not None and (text is not None or vector is not None):
        raise BeholderError("--queries beside " + ("a text" if text is not None else "--vector"), "one of them")
    if text is not None and not text.strip():
        raise BeholderError("query 1 of 1 is empty", "words", "Say what to look for.")
    common: list[Part] = [] if text is None else [Part("text", text)]
    common += [text_part(given) for given in texts]
    common += [image_part(given) for given in images]
    common += [like_part(given) for given in likes]
    against = [text_part(given, against=True) for given in unwanted]
    if file is not None:
        return [Query((Part("text", line), *common, *against)) for line in read_queries(file)]
    if vector is not None:
        return [Query((part, *common, *against)) for part in vector_parts(vector)]
    if not common and not against:
        expected = "a text, --text, --image, --like, --vector or --queries"
        raise BeholderError("no query", expected, 'Example: beholder search INDEX "a red boat"')
    return [Query((*common, *against))]
