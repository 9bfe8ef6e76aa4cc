"""Results as text: a table for people, TSV, JSON lines and paths for programs."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from indexes.searching.search import Index

from .results import Answer

if TYPE_CHECKING:
    from .parts_search import PartsSearcher


def write_table(answers: Sequence[Answer], explain: bool = False) -> None:
    """Rank, relevance, uri and caption, cut to the terminal's width where there is one; with `explain` each scorer's
    percentile stands before the caption."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for place, answer in enumerate(answers):
        if len(answers) > 1:
            print(f"{os.linesep if place else ''}{answer.query.label}")
        if not answer.good_match:
            print("no good match")
        longest = min(max((len(result.uri) for result in answer.results), default=0), 60)
        for result in answer.results:
            scores = [f"{name} {100 * share:.0f} %" for name, share in result.scores.items()] if explain else []
            said = "  ".join([*scores, _line(result.caption)])
            line = f"{result.rank:>3}  {result.relevance:6.3f}  {result.uri:<{longest}}  {said}".rstrip()
            print(line if not width or len(line) <= width else line[: width - 1] + "…")


def write_tsv(answers: Sequence[Answer]) -> None:
    """One row per result; a column more for each scorer of the index, its percentile, empty where there is none."""
    scorers = list(dict.fromkeys(name for answer in answers for result in answer.results for name in result.scores))
    print("\t".join(["query", "rank", "id", "relevance", "uri", "caption", *scorers]))
    for answer in answers:
        for result in answer.results:
            cells = (answer.query.label, result.rank, result.id, f"{result.relevance:.6f}", result.uri, result.caption)
            scores = [f"{result.scores[name]:.4f}" if name in result.scores else "" for name in scorers]
            print("\t".join(_line(cell) for cell in (*cells, *scores)))


def write_json(answers: Sequence[Answer], seconds: Mapping[str, float] | None) -> None:
    for answer in answers:
        line = answer.to_dict()
        if seconds is not None:
            line["seconds"] = dict(seconds)
        print(json.dumps(line, ensure_ascii=False))


def write_paths(answers: Sequence[Answer], pictures: Path) -> None:
    for answer in answers:
        for result in answer.results:
            print(pictures / result.uri)


def write_notes(answers: Sequence[Answer], explain: bool) -> None:
    """On stderr: what stages could not do, counted, and with `explain` what each did to each query."""
    rewrites = [rewrite for answer in answers for rewrite in answer.rewrites]
    if rewrites:
        from retrieval.rewriting.rewriter import count_rewrites

        print(f"rewriting: {count_rewrites(rewrites).line()}", file=sys.stderr)
    for note in dict.fromkeys(note for answer in answers for note in answer.notes):
        print(f"note: {note}", file=sys.stderr)
    refused = sum(not answer.good_match for answer in answers)
    if refused and len(answers) > 1:
        print(f"{refused} of {len(answers)} queries have no good match", file=sys.stderr)
    for answer in answers if explain else ():
        print(f"query     {answer.query.label}", file=sys.stderr)
        for rewrite in answer.rewrites:
            became = f"kept as typed: {rewrite.fallback}" if rewrite.fallback else rewrite.text
            print(f"rewritten {became}  ({rewrite.rewriter})", file=sys.stderr)
        if answer.cut_off is not None:
            cut = answer.cut_off
            told = "a good match" if cut.good else "no good match"
            print(f"cut-off   {cut.statistic:.3f} of the {cut.threshold:.3f} that it takes: {told}", file=sys.stderr)


def write_seconds(seconds: Mapping[str, float], encoder: str, index: "Index | PartsSearcher") -> None:
    """Where the time went, on stderr."""
    print(f"{len(index)} pictures, {index.manifest.factory}; queries by {encoder}", file=sys.stderr)
    for stage, spent in {**seconds, "total": sum(seconds.values())}.items():
        print(f"{stage:>8}  {spent:7.3f} s", file=sys.stderr)


def _line(cell: object) -> str:
    return "" if cell is None else " ".join(str(cell).split())
