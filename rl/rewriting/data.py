"""Rows that rewriters learn from: recorded rewrites, queries with what is relevant to them, rewrites in their order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tables.judgements import read_tsv
from indexes.errors import BeholderError, FormatError
from retrieval.rewriting.arms import MARK, load_arm
from retrieval.rewriting.offline import bare
from retrieval.rewriting.table import read_rewrites
from rl.preferences import read_preferences

ARM = load_arm("pattern")
Row = dict[str, Any]


@dataclass(frozen=True)
class Taught:
    """Rows for SFT, and how many recorded rewrites had not the query's words in them and were left out."""

    rows: list[Row]
    without_query: int


def prompt_of(query: str) -> list[dict[str, str]]:
    """What the model is asked, in training as in use (retrieval/language/prompts/rewrite-pattern-1.txt)."""
    system, user = ARM.question(query)
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def pattern_of(query: str, rewrite: str) -> str | None:
    """The rewrite with MARK where the query's words stand; None where they do not, or where nothing was added."""
    words, text = bare(query), " ".join(rewrite.split())
    at = text.casefold().find(words.casefold())
    if at < 0 or text == words:
        return None
    return f"{text[:at]}{MARK}{text[at + len(words) :]}"


def taught(tables: Sequence[Path]) -> Taught:
    """Of tables that `beholder rewrite --out` wrote. Fallbacks are no rewrites. Raises FormatError; BeholderError where
    nothing is left."""
    rows, without = [], 0
    for table in tables:
        for one in read_rewrites(table)[1]:
            if one.get("fallback"):
                continue
            pattern = pattern_of(one["query"], one["rewrite"])
            if pattern is None:
                without += 1
                continue
            rows.append({"prompt": prompt_of(one["query"]), "completion": [{"role": "assistant", "content": pattern}]})
    if not rows:
        raise BeholderError(
            "no rewrite to learn from", "rewrites that hold the words of their query", "Check the table."
        )
    return Taught(rows, without)


def questions(path: Path) -> list[Row]:
    """Rows for GRPO: of a TSV with the columns query and relevant (a condition over the corpus' items), or of a table
    of preferences, where the pictures that none is preferred to count as relevant."""
    if path.suffix == ".parquet":
        found = []
        for one in read_preferences(path).lists:
            beaten = set(one.worse)
            best = [sha256 for at, sha256 in enumerate(one.pictures) if at not in beaten]
            found.append({"prompt": prompt_of(one.query), "query": one.query, "pictures": best})
    else:
        rows = read_tsv(path, ("query", "relevant"))
        found = [
            {"prompt": prompt_of(row["query"]), **{key: row[key] for key in ("query", "relevant")}} for row in rows
        ]
    if not found:
        raise FormatError(f"{path} holds no query", "one at least", "Check the file.")
    return found


def write_questions(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    """(query, relevant) as a TSV that `questions` reads."""
    from indexes.records.manifest import write_bytes_atomic

    for query, relevant in rows:
        if any(character in query + relevant for character in "\t\n\r"):
            raise BeholderError(f"{query!r} holds a tab or a line break", "one line", "Clean it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["query\trelevant", *(f"{query}\t{relevant}" for query, relevant in rows)]
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Rows as JSON lines: its folder is what `trl grpo --dataset_name` takes."""
    from indexes.records.manifest import write_bytes_atomic

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def ranked_pairs(path: Path, margin: float) -> list[Row]:
    """Rows for DPO, of a TSV query, answer, score: of each query the best answer against each that scores less by more
    than `margin`. Raises BeholderError where no pair is left."""
    by_query: dict[str, list[tuple[float, str]]] = {}
    for row in read_tsv(path, ("query", "answer", "score")):
        try:
            score = float(row["score"])
        except ValueError as error:
            raise FormatError(f"{path} has the score {row['score']!r}", "a number", "Correct it.") from error
        by_query.setdefault(row["query"], []).append((score, row["answer"]))
    rows = []
    for query, answers in by_query.items():
        best = max(answers)
        for score, answer in sorted(set(answers)):
            if best[0] - score > margin and answer != best[1]:
                said = [[{"role": "assistant", "content": text}] for text in (best[1], answer)]
                rows.append({"prompt": prompt_of(query), "chosen": said[0], "rejected": said[1]})
    if not rows:
        raise BeholderError(
            f"{path} holds no pair", f"answers of one query more than {margin:g} apart", "Lower --margin."
        )
    return rows
