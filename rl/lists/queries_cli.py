"""`align queries`: a file of queries for `align preferences`, from captions, items, a template or a language model."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from indexes.errors import BeholderError, ConditionFailed


def queries(
    out: Annotated[Path, typer.Argument(help="File to write: one query per line.")],
    captions: Annotated[
        list[str] | None, typer.Option(help='Source of captions: a name, a table (.tsv) or "index"; may be repeated.')
    ] = None,
    index: Annotated[Path | None, typer.Option(help="INDEX whose captions are meant.")] = None,
    items: Annotated[Path | None, typer.Option(help="Table of items (.tsv), for --template.")] = None,
    template: Annotated[str, typer.Option(help='Words with holes: "{style} painting of a {subject}".')] = "",
    words: Annotated[list[str] | None, typer.Option(help="Of a hole: NAME=ONE,OTHER; may be repeated.")] = None,
    llm: Annotated[str, typer.Option(help="MODEL[@URL] of an OpenAI-compatible server, to write about --topics.")] = "",
    topics: Annotated[Path | None, typer.Option(help="File of topics, one per line.")] = None,
    count: Annotated[int, typer.Option(help="Queries asked for of each topic.")] = 10,
    most: Annotated[int, typer.Option(help="Draw so many at random; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    exclude: Annotated[
        list[Path] | None, typer.Option(help="File of queries that are kept apart; may be repeated.")
    ] = None,
    data: Annotated[Path | None, typer.Option(envvar="BEHOLDER_DATA", help="Folder of the sources.")] = None,
) -> None:
    """Write queries for `align preferences`: each once, none of training's evaluation pictures.

    Example: beholder align queries queries.txt --captions index --index photos.index --most 2000

    Example: beholder align queries queries.txt --template "a {mood} {subject}" --words mood=gloomy,festive --words
    subject=street,harbour
    """
    from retrieval.search.query_file import read_queries

    from .query_sources import captions_of, captions_of_index, distinct, of_items, of_model, of_words

    if not (captions or template or llm):
        raise BeholderError("no source of queries", "--captions, --template or --llm", "See --help.")
    rejected: Counter[str] = Counter()
    found: list[Iterable[str]] = []
    for source in captions or []:
        if source != "index":
            found.append(captions_of(source, data))
        elif index is None:
            raise BeholderError("--captions index", "--index INDEX beside it", "Name the index.")
        else:
            found.append(captions_of_index(index))
    if template and items is not None:
        from benchmarks.tables.judgements import read_tsv

        found.append(of_items(read_tsv(items, ()), template))
    elif template:
        found.append(of_words(template, dict(_named(given) for given in words or [])))
    if llm:
        if topics is None:
            raise BeholderError("--llm without topics", "--topics FILE, one per line", "Write some.")
        from retrieval.language.asking import AskSettings, open_chat

        client = open_chat(llm, AskSettings(timeout_s=30.0, cache=None))
        found.append(of_model(client, read_queries(topics), count, rejected))
    kept_apart = [query for file in exclude or [] for query in read_queries(file)]
    made = distinct((query for some in found for query in some), most=most, seed=seed, without=kept_apart)
    if not made:
        raise ConditionFailed("no query was found", "one at least", "Check the source.")
    out.write_text("".join(f"{query}\n" for query in made), encoding="utf-8")
    print(f"{out}: {len(made):,} queries")
    for reason, number in sorted(rejected.items()):
        print(f"left out: {number} {reason}")


def _named(given: str) -> tuple[str, list[str]]:
    name, equals, values = given.partition("=")
    known = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not known:
        raise BeholderError(f"--words {given}", "NAME=ONE,OTHER", "Example: --words mood=gloomy,festive")
    return name, known
