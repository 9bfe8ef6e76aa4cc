"""Recorded rewrites: a TSV with a line of provenance, written by `beholder rewrite`, read by `--rewrite file:TSV`.

    # {"format": 1, "kind": "beholder-rewrites", "rewriter": "llm:...", "prompt": "rewrite-detail-1", ...}
    query <tab> rewrite <tab> fallback <tab> truncated

The first line may be missing (a table made by hand); only `query` and `rewrite` are needed. Cells hold one line: line
breaks and tabs become spaces, and queries are found again by their words, whatever the spaces between them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexes.errors import FormatError
from indexes.records.manifest import sha256_bytes, write_bytes_atomic

from .checks import Draft, Gate
from .rewriter import Progress, Rewrite

KIND, FORMAT = "beholder-rewrites", 1
COLUMNS = "query", "rewrite", "fallback", "truncated"


class RecordedRewrites:
    """Looks queries up. One that is not in the table, or was not rewritten then, falls back and says so."""

    hopeless = None

    def __init__(self, path: Path, gate: Gate) -> None:
        self._provenance, rows = read_rewrites(path)
        self._rows = {_key(row["query"]): row for row in rows}
        self._gate = gate
        self.name = f"file:{path.name}"
        self._sha256 = sha256_bytes(path.read_bytes())

    @property
    def provenance(self) -> dict[str, Any]:
        return {"rewriter": self.name, "sha256": self._sha256, "recorded": self._provenance}

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        return self._gate.passed(texts, [self._draft(text) for text in texts], self.name)

    def _draft(self, text: str) -> Draft:
        row = self._rows.get(_key(text))
        if row is None:
            return Draft("", problem="not in the table")
        if row.get("fallback"):
            return Draft("", problem=f"recorded fallback: {row['fallback']}")
        return Draft(row["rewrite"], cached=True)


def read_rewrites(path: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Provenance (empty where the file states none) and rows. Raises FormatError with the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read ({error})", "a TSV of rewrites", "Check the path.") from error
    provenance: dict[str, Any] = {}
    first = 0
    if lines[0].startswith("#"):
        provenance, first = _provenance(path, lines[0][1:]), 1
    header = lines[first].split("\t") if first < len(lines) else []
    if not {"query", "rewrite"} <= set(header):
        remedy = "Make one with `beholder rewrite QUERIES --rewrite SPEC --out TSV`."
        raise FormatError(f"{path} starts with {lines[first][:60]!r}", "the columns query and rewrite", remedy)
    rows = []
    for number, line in enumerate(lines[first + 1 :], first + 2):
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            found = f"line {number} of {path} has {len(cells)} cells"
            raise FormatError(found, f"{len(header)}, as the header", "Correct the line.")
        rows.append(dict(zip(header, cells, strict=True)))
    return provenance, rows


def write_rewrites(path: Path, rewrites: Sequence[Rewrite], provenance: dict[str, Any]) -> None:
    """Atomic; the same rewrites and provenance give the same bytes."""
    head = {"kind": KIND, "format": FORMAT, **provenance}
    lines = ["# " + json.dumps(head, sort_keys=True, ensure_ascii=False), "\t".join(COLUMNS)]
    for one in rewrites:
        cells = one.original, one.text, one.fallback or "", "yes" if one.truncated else ""
        lines.append("\t".join(_key(cell) for cell in cells))
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())


def _provenance(path: Path, line: str) -> dict[str, Any]:
    try:
        head: Any = json.loads(line)
    except ValueError as error:
        raise FormatError(f"the first line of {path} is not JSON", "# {provenance}", "Remove it.") from error
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise FormatError(f"the first line of {path} is of another kind", KIND, "Give a table of rewrites.")
    if not isinstance(head.get("format"), int) or head["format"] > FORMAT:
        raise FormatError(f"{path} has format {head.get('format')}", f"at most {FORMAT}", "Install a newer beholder.")
    return head


def _key(text: str) -> str:
    return " ".join(text.split())
