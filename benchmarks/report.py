"""`bench report`: run JSON -> tables -> the marked blocks of README and docs, and a check that they agree.

A block is `<!-- results:NAME -->` to `<!-- end -->`; NAME is docs/results/NAME.json, several are parted by
commas. What lies between is rewritten whole; everything else is left as it is. Behind the names, each after a `|`, may
stand patterns of the numbers to show (`| base*: gain`), `wide` for a row a system and a column a measure, and `bare`
for a table without what stands below it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexes.errors import ConditionFailed, FormatError
from indexes.records.manifest import write_bytes_atomic

from .run_table import chosen, long_table, machine_text, wide_table
from .runs import Run, read_run

RESULTS = Path("docs", "results")
PATTERNS = ("README.md", "docs/**/*.md", "retrieval/models/*/README.md")
START = re.compile(r"^<!-- results:(?P<names>[^>|]*?)(?P<shown>\|[^>]*?)? -->\n", re.MULTILINE)
END = "<!-- end -->"
WIDE, BARE = "wide", "bare"


@dataclass(frozen=True)
class Block:
    """A marked block of a document: the names it shows, where its content lies in the text, and what of the runs is
    shown, and how."""

    names: tuple[str, ...]
    start: int
    end: int
    patterns: tuple[str, ...] = ()
    wide: bool = False
    bare: bool = False


def find_blocks(text: str, where: Path | str = "the document") -> list[Block]:
    """Raises FormatError for a block without an end."""
    blocks = []
    for match in START.finditer(text):
        end = text.find(END, match.end())
        following = START.search(text, match.end())
        if end < 0 or (following and following.start() < end):
            raise FormatError(f"{where}: the block {match.group(0).strip()} has no end", END, "Add it.")
        names = tuple(name.strip() for name in match.group("names").split(","))
        shown = tuple(part.strip() for part in (match.group("shown") or "").split("|")[1:])
        patterns = tuple(part for part in shown if part not in (WIDE, BARE))
        blocks.append(Block(names, match.end(), end, patterns, WIDE in shown, BARE in shown))
    return blocks


def render(run: Run, patterns: Sequence[str] = (), *, wide: bool = False, bare: bool = False) -> str:
    """A run's headline where it has one, a Markdown table of its numbers, then its protocol, command, machine and
    seed. `patterns`, `wide`, `bare`: as in a block."""
    numbers = chosen(run, patterns)
    table = wide_table(numbers) if wide else long_table(numbers)
    lines = [f"**{run.headline}**", ""] if run.headline else []
    lines += table.markdown()
    if bare:
        return "\n".join(lines) + "\n"
    fewer = (
        [f"{len(numbers)} of the {len(run.numbers)} numbers of this run."] if len(numbers) < len(run.numbers) else []
    )
    foot = [*run.notes, *fewer, f"`{run.command}`", f"{machine_text(run)}; seed {run.seed}."]
    return "\n".join([*lines, "", "  \n".join(foot)]) + "\n"


def rewritten(text: str, results: Path, where: Path | str = "the document") -> str:
    """The document with each block's content rendered from its runs. Raises FormatError for a run that is
    not there.
    """
    for block in reversed(find_blocks(text, where)):
        runs = [read_run(results / f"{name}.json") for name in block.names]
        content = "\n".join(render(run, block.patterns, wide=block.wide, bare=block.bare) for run in runs)
        text = f"{text[: block.start]}\n{content}\n{text[block.end :]}"
    return text


def documents(root: Path) -> list[Path]:
    """The documents that may hold blocks, sorted."""
    return sorted(path for pattern in PATTERNS for path in root.glob(pattern))


def report(root: Path, *, check: bool = False) -> tuple[list[Path], int]:
    """Rewrites the blocks of all documents under `root`; the changed documents, and how many blocks there
    are.

    With `check` nothing is written: raises ConditionFailed naming the documents that differ from their
    runs, and for a block whose run does not exist.
    """
    changed: list[Path] = []
    blocks = 0
    for path in documents(root):
        text = path.read_text(encoding="utf-8")
        blocks += len(find_blocks(text, path))
        try:
            new = rewritten(text, root / RESULTS, path.relative_to(root))
        except FormatError as error:
            if not check:
                raise
            raise ConditionFailed(f"{path.relative_to(root)}: {error.found}", error.expected, error.remedy) from error
        if new != text:
            changed.append(path)
            if not check:
                write_bytes_atomic(path, new.encode())
    if check and changed:
        names = ", ".join(str(path.relative_to(root)) for path in changed)
        raise ConditionFailed(f"{names} differ from docs/results", "the same numbers", "Run `beholder bench report`.")
    return changed, blocks
