"""Patterns of file names: `shards/{00000..00009}.tar`, `shards/*.tar`; and what they seem to mean but do not find."""

import glob
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from indexes.errors import BeholderError

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_GLOB = re.compile(r"[*?\[]")
MOST_NAMES = 10_000_000  # a range that names more is a slip of the hand


def is_pattern(name: str) -> bool:
    return bool(_BRACES.search(name) or _GLOB.search(name))


def is_spelled_out(name: str) -> bool:
    """Whether braces alone say which files are meant."""
    return bool(_BRACES.search(name)) and not _GLOB.search(name)


def literal_folder(pattern: str) -> Path:
    """The folder that all matches lie under, known without looking: uris do not move when more files match."""
    start = re.split(r"[{*?\[]", pattern, maxsplit=1)[0]
    return Path(start) if start.endswith("/") else Path(start).parent


def expand(pattern: str) -> list[Path]:
    """The files of a pattern. Raises BeholderError where nothing matches, or a name that braces spell out is missing:
    a pattern must not quietly mean less than it says."""
    names = _alternatives(pattern)
    paths: list[Path] = []
    missing = []
    for name in names:
        found = [name] if not _GLOB.search(name) and Path(name).exists() else sorted(glob.glob(name, recursive=True))
        paths += [Path(path) for path in found]
        if not found:
            missing.append(name)
    if missing and len(names) > 1:
        found_ = f"{len(missing)} of the {len(names)} names of {pattern} match no file (first: {missing[0]})"
        raise BeholderError(found_, "all of them", "Correct the range, or use * for whatever is there.")
    if missing:
        raise BeholderError(f"{pattern} matches no file", "files", "Check the path.")
    return paths


def _alternatives(pattern: str) -> list[str]:
    """The pattern with its braces written out, in order: `{0..2}`, `{000..120}`, `{a,b}`."""
    pieces = _BRACES.split(pattern)  # text, inside, text, inside, text
    choices, count = [], 1
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            choices.append([piece])
            continue
        bounds = _RANGE.fullmatch(piece)
        if bounds:
            first, last, width = int(bounds[1]), int(bounds[2]), len(bounds[1])
            count *= last - first + 1
            if not 0 < count <= MOST_NAMES:
                raise BeholderError(f"{pattern} names {count:,} files", "a range that rises", "Correct the range.")
            choices.append([f"{value:0{width}d}" for value in range(first, last + 1)])
        else:
            choices.append(piece.split(","))
            count *= len(choices[-1])
    return ["".join(parts) for parts in product(*choices)]


def gaps(names: Sequence[str]) -> list[str]:
    """A note for each series of numbered names (`00003.tar`) that lacks numbers between its first and last."""
    series: dict[str, list[tuple[int, int]]] = {}
    for name in names:
        last = None
        for last in re.finditer(r"\d+", Path(name).name):  # noqa: B007 (the last match is wanted)
            pass
        if last is not None:
            at = len(name) - len(Path(name).name)
            key = f"{name[: at + last.start()]}*{name[at + last.end() :]}"
            series.setdefault(key, []).append((int(last[0]), len(last[0])))
    notes = []
    for key, numbers in sorted(series.items()):
        held = {number for number, _ in numbers}
        lowest, highest = min(held), max(held)
        if len(held) > 1 and highest - lowest + 1 > len(held) and highest - lowest < 10 * len(held):
            absent = next(number for number in range(lowest, highest) if number not in held)
            width = max(width for _, width in numbers)
            count = highest - lowest + 1 - len(held)
            notes.append(f"{key}: {count} of the numbers {lowest} to {highest} are missing (first: {absent:0{width}d})")
    return notes
