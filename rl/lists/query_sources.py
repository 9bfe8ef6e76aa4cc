"""Where the queries of preference lists come from: captions, tables of items, templates, a language model."""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from indexes.errors import BeholderError
from retrieval.language.asking import Asks
from retrieval.language.chat_exchange import Failure, Question
from retrieval.language.chat_schema import Schema, object_schema
from retrieval.language.prompt import read_prompt

PROMPT = "queries-1"
MOST_CHARACTERS = 200  # of a query that a model wrote


def captions_of(source: str, data: Path | None) -> Iterator[str]:
    """Every caption of the training pictures of a source of rl/captions.py."""
    from rl.alignment.data import root_of
    from rl.captions import read_source

    for example in read_source(source, root_of(data, source), "train"):
        yield from example.captions


def captions_of_index(index: Path) -> Iterator[str]:
    """The captions that the items of an INDEX carry, but of pictures that are kept for evaluation."""
    from benchmarks.tables.evaluation import evaluation_pictures
    from indexes.searching.search import load_index

    kept, items = evaluation_pictures(), load_index(index).items_table()
    for sha256, caption in zip(*(items.column(name).to_pylist() for name in ("sha256", "caption")), strict=True):
        if caption and sha256 not in kept:
            yield caption


def of_items(rows: Iterable[Mapping[str, str]], template: str) -> Iterator[str]:
    """The template filled with each row's columns: "{style} painting of a {subject}". Rows without one of them give no
    query. Raises BeholderError for a template without a hole, or with one that no column fills."""
    holes = _holes(template)
    for row in rows:
        missing = [name for name in holes if name not in row]
        if missing:
            raise BeholderError(f"{template!r} asks for {missing[0]}", f"a column ({', '.join(row)})")
        if all(row[name].strip() for name in holes):
            yield template.format(**{name: row[name].strip() for name in holes})


def of_words(template: str, words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The template filled with every combination of words for its holes. Raises BeholderError as `of_items` does."""
    holes = _holes(template)
    missing = [name for name in holes if not words.get(name)]
    if missing:
        raise BeholderError(f"{template!r} asks for {missing[0]}", f"--words {missing[0]}=ONE,OTHER")
    for chosen in itertools.product(*(words[name] for name in holes)):
        yield template.format(**dict(zip(holes, chosen, strict=True)))


def of_model(model: Asks, topics: Sequence[str], count: int, rejected: Counter[str]) -> Iterator[str]:
    """What a language model writes of each topic, `count` queries asked for; failures and what is no query are counted
    in `rejected`. Raises BeholderError where the model cannot be asked at all."""
    prompt = read_prompt(PROMPT)
    texts: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 4 * count}
    schema = object_schema({"queries": texts})
    asked = [Question(*prompt.filled({"query": topic, "k": count}), schema=schema) for topic in topics]
    for answer in model.ask_many(asked):
        if isinstance(answer, Failure):
            if answer.hopeless:
                raise BeholderError(f"the model cannot be asked ({answer.reason})", "an answer", "Check --llm.")
            rejected["topics without an answer"] += 1
            continue
        for text in answer.value["queries"]:
            words = " ".join(text.split())
            if words and len(words) <= MOST_CHARACTERS:
                yield words
            else:
                rejected["queries that are empty or too long"] += 1


def distinct(queries: Iterable[str], *, most: int = 0, seed: int = 0, without: Iterable[str] = ()) -> list[str]:
    """Each once, whatever its case and spaces, but those of `without`; with `most`, so many of them drawn at random."""
    left_out = {_plain(query) for query in without}
    found: dict[str, str] = {}
    for query in queries:
        key = _plain(query)
        if key and key not in left_out:
            found.setdefault(key, " ".join(query.split()))
    kept = list(found.values())
    if 0 < most < len(kept):
        kept = [kept[place] for place in sorted(np.random.default_rng(seed).permutation(len(kept))[:most])]
    return kept


def _plain(query: str) -> str:
    return " ".join(query.lower().split()).rstrip(" .")


def _holes(template: str) -> list[str]:
    try:
        names: list[str] = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise BeholderError(f"the template {template!r} ({error})", "holes such as {style}") from error
    if not names or not all(name.isidentifier() for name in names):
        raise BeholderError(f"the template {template!r}", "holes such as {style}", 'Example: "a {mood} {subject}"')
    return list(dict.fromkeys(names))
