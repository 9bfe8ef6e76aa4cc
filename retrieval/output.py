"""Results as text: a table for people, TSV, JSON lines and paths for programs."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from indexes.search import Index

from .results import Answer


def write_table(answers: Sequence[Answer]) -> None:
    """Rank, relevance, uri and caption, cut to the terminal's width where there is one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for place, answer in enumerate(answers):
        if len(answers) > 1:
            print(f"{os.linesep if place else ''}{answer.query.label}")
        longest = min(max((len(result.uri) for result in answer.results), default=0), 60)
        for result in answer.results:
            line = (
                f"{result.rank:>3}  {result.relevance:6.3f}  {result.uri:<{longest}}  {_line(result.caption)}".rstrip()
            )
            print(line if not width or len(line) <= width else line[: width - 1] + "…")


def write_tsv(answers: Sequence[Answer]) -> None:
    print("query\trank\tid\trelevance\turi\tcaption")
    for answer in answers:
        for result in answer.results:
            cells = (answer.query.label, result.rank, result.id, f"{result.relevance:.6f}", result.uri, result.caption)
            print("\t".join(_line(cell) for cell in cells))


def write_json(answers: Sequence[Answer], seconds: Mapping[str, float] | None) -> None:
    for answer in answers:
        results = [result.to_dict() for result in answer.results]
        line: dict[str, object] = {"query": answer.query.label, "results": results}
        if seconds is not None:
            line["seconds"] = dict(seconds)
        print(json.dumps(line, ensure_ascii=False))


def write_paths(answers: Sequence[Answer], pictures: Path) -> None:
    for answer in answers:
        for result in answer.results:
            print(pictures / result.uri)


def write_seconds(seconds: Mapping[str, float], encoder: str, index: Index) -> None:
    """Where the time went, on stderr."""
    print(f"{len(index)} pictures, {index.manifest.factory}; queries by {encoder}", file=sys.stderr)
    for stage, spent in {**seconds, "total": sum(seconds.values())}.items():
        print(f"{stage:>8}  {spent:7.3f} s", file=sys.stderr)


def _line(cell: object) -> str:
    return "" if cell is None else " ".join(str(cell).split())
