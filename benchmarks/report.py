"""`bench report`: run JSON -> tables -> the marked blocks of README and docs, and a check that they agree.

A block is `<!-- results:NAME -->` to `<!-- end -->`; NAME is docs/results/NAME.json, several are parted by
commas. What lies between is rewritten whole; everything else is left as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexes.errors import ConditionFailed, FormatError
from indexes.manifest import write_bytes_atomic

from .runs import Number, Run, read_run

RESULTS = Path("docs", "results")
PATTERNS = ("README.md", "docs/**/*.md", "retrieval/models/*/README.md")
START = re.compile(r"^<!-- results:(?P<names>[^>]*?) -->\n", re.MULTILINE)
END = "<!-- end -->"


@dataclass(frozen=True)
class Block:
    """A marked block of a document: the names it shows, and where its content lies in the text."""

    names: tuple[str, ...]
    start: int
    end: int


def find_blocks(text: str, where: Path | str = "the document") -> list[Block]:
    """Raises FormatError for a block without an end."""
    blocks = []
    for match in START.finditer(text):
        end = text.find(END, match.end())
        following = START.search(text, match.end())
        if end < 0 or (following and following.start() < end):
            raise FormatError(f"{where}: the block {match.group(0).strip()} has no end", END, "Add it.")
        names = tuple(name.strip() for name in match.group("names").split(","))
        blocks.append(Block(names, match.end(), end))
    return blocks


def render(run: Run) -> str:
    """A run's headline where it has one, a Markdown table of its numbers, then its protocol, command, machine and
    seed."""
    numbers = run.numbers.values()
    repeats = any(number.spread == "range" and number.low is not None for number in numbers)
    columns = ["measure", "value"]
    if any(number.low is not None for number in numbers):
        columns.append("lowest to highest" if repeats else "95 % interval")
    with_chance = any(number.chance is not None for number in numbers)
    with_n = any(number.n is not None for number in numbers)
    columns += ["chance"] * with_chance + ["repeats" if repeats else "n"] * with_n
    lines = [f"**{run.headline}**", ""] if run.headline else []
    lines += [_row(columns), _row(["---"] + ["---:"] * (len(columns) - 1))]
    for name, number in run.numbers.items():
        cells = [name, _value(number.value, number.unit)]
        if len(columns) > 2 + with_chance + with_n:
            cells.append(_interval(number))
        if with_chance:
            cells.append("" if number.chance is None else _value(number.chance, number.unit))
        if with_n:
            cells.append("" if number.n is None else f"{number.n:,}")
        lines.append(_row(cells))
    foot = [*run.notes, f"`{run.command}`", f"{_machine(run)}; seed {run.seed}."]
    return "\n".join([*lines, "", "  \n".join(foot)]) + "\n"


def rewritten(text: str, results: Path, where: Path | str = "the document") -> str:
    """The document with each block's content rendered from its runs. Raises FormatError for a run that is
    not there.
    """
    for block in reversed(find_blocks(text, where)):
        content = "\n".join(render(read_run(results / f"{name}.json")) for name in block.names)
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


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f} %"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def _interval(number: Number) -> str:
    if number.low is None or number.high is None:
        return ""
    low, high = (_value(end, number.unit).removesuffix(number.unit).rstrip(" %") for end in (number.low, number.high))
    return f"{low} to {high}"


def _machine(run: Run) -> str:
    machine = run.machine
    parts = [f"{machine.get('cores', '?')} cores of {machine.get('cpu', '?')}"]
    if machine.get("accelerator"):
        parts.append(machine["accelerator"])
    parts += [f"{name} {machine[name]}" for name in ("python", "torch", "faiss") if machine.get(name)]
    return ", ".join(parts)
