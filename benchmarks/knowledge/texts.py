"""Texts of the knowledge experiment: queries that describe a style without naming it, and their recorded rewrites.

    queries.tsv    style <tab> phrasing (1, 2, ...) <tab> query
    rewrites.tsv   as retrieval/rewriting/table.py has it, with `named`: the style that the rewrite names

`naming_problems` says which queries give their style away: its words, its artists, its period.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables.judgements import as_words, read_tsv
from indexes.errors import BeholderError, FormatError
from retrieval.rewriting.table import read_rewrites

WORD = re.compile(r"[a-z0-9]+")
GENERIC = frozenset({"painting", "high", "art", "new", "modern", "northern"})  # words of labels that name nothing alone
STEM = 5  # letters from which the beginning of a word gives a style away
ALSO = {"Japonism": ("japan",), "Ukiyo-e": ("japan",), "Shin-hanga": ("japan",)}
PERIOD = re.compile(
    r"\b(\d{1,2}(st|nd|rd|th)|\d{4}s?|\w+teenth|centur\w+|renaissance|medi?eval|gothic|baroque|rococo|victorian|georgian|"
    r"edo|meiji|taisho|showa|quattrocento|cinquecento|fin de siecle|belle epoque|interwar|postwar|soviet|stalinist|"
    r"jazz age|tudor|empire style)\b"
)
PERIOD_FREE = re.compile(r"\b\d{1,2}(st|nd|rd|th) street\b")  # an address, no date


@dataclass(frozen=True)
class KnowledgeQuery:
    """A query, the style it describes, its recorded rewrite, and the style that the rewrite names."""

    style: str
    phrasing: int
    query: str
    rewrite: str
    named: str

    @property
    def named_right(self) -> bool:
        return key(self.style) == key(self.named)


def key(style: str) -> str:
    """Letters that tell styles apart however they are spelled: ArtNouveau(Modern) and "art nouveau" are one."""
    return re.sub(r"[^a-z]", "", style.partition("(")[0].lower())


def read_texts(queries: Path, rewrites: Path) -> list[KnowledgeQuery]:
    """In the order of `queries`. Raises FormatError for a query that comes twice, or has no rewrite or no name."""
    _, recorded = read_rewrites(rewrites)
    by_query = {row["query"]: row for row in recorded}
    found: list[KnowledgeQuery] = []
    seen: set[str] = set()
    for row in read_tsv(queries, ("style", "phrasing", "query")):
        query, rewrite = row["query"], by_query.get(row["query"])
        if query in seen:
            raise FormatError(f"{queries.name} has {query!r} twice", "each query once", "Remove one.")
        if rewrite is None or not rewrite.get("named"):
            raise FormatError(f"{rewrites.name} has no rewrite that names a style for {query!r}", "one", "Write it.")
        if not row["phrasing"].isdecimal():
            raise FormatError(f"{queries.name} has the phrasing {row['phrasing']!r}", "1, 2, 3 ...", "Number it.")
        seen.add(query)
        found.append(KnowledgeQuery(row["style"], int(row["phrasing"]), query, rewrite["rewrite"], rewrite["named"]))
    if not found:
        raise FormatError(f"{queries.name} has no queries", "at least one", "Check the table.")
    return found


def spellings(texts: Sequence[KnowledgeQuery]) -> dict[str, str]:
    """Style label -> its name as the rewrites spell it, or as words where none names it."""
    named = {key(one.named): one.named for one in texts}
    return {one.style: named.get(key(one.style), as_words(one.style.partition("(")[0])) for one in texts}


def naming_problems(texts: Sequence[KnowledgeQuery], artists: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each query that names its style, a style of the collection, an artist of its style, or a period.

    `artists`: of each style, in lower case. An artist is named by the last word of the name or by all of it.
    """
    whole = {style: " ".join(WORD.findall(spelled)) for style, spelled in spellings(texts).items()}
    problems = []
    for one in texts:
        words = WORD.findall(one.query.lower())
        padded = f" {' '.join(words)} "
        given = [word for word in words if any(_gives_away(word, part) for part in _parts(one.style))]
        given += [name for name in whole.values() if f" {name} " in padded]
        given += [word for word in words if word in _surnames(artists.get(one.style, ()))]
        given += [found.group(0) for found in PERIOD.finditer(PERIOD_FREE.sub("", one.query.lower()))]
        if given:
            problems.append(f"{one.style} {one.phrasing}: {', '.join(dict.fromkeys(given))}: {one.query}")
    return problems


def check_texts(texts: Sequence[KnowledgeQuery], artists: Mapping[str, Sequence[str]]) -> None:
    """Raises BeholderError with the first queries that give their style away."""
    problems = naming_problems(texts, artists)
    if problems:
        raise BeholderError(
            f"{len(problems)} queries name what they describe ({'; '.join(problems[:3])})",
            "descriptions without style, artist or period",
            "Say it in other words.",
        )


def _parts(style: str) -> tuple[str, ...]:
    spaced = as_words(style.partition("(")[0]).replace("-", " ").split()
    return (*(word for word in spaced if word not in GENERIC and len(word) > 2), *ALSO.get(style, ()))


def _gives_away(word: str, part: str) -> bool:
    stem = part.removesuffix("ism")
    return (
        word == part
        or word in (f"{stem}ist", f"{stem}ists", f"{stem}istic")
        or (len(stem) >= STEM and word.startswith(stem))
    )


def _surnames(names: Sequence[str]) -> set[str]:
    return {words[-1] for name in names if (words := WORD.findall(name.lower())) and len(words[-1]) > 3}
