"""The pictures that reported figures are measured on: training refuses them, by sha256.

`evaluation.txt` holds the val and test pictures of the sets that `docs/results/` reports, a section for each set. It is
made again by `python -m benchmarks.tables.evaluation DATA`.
"""

import sys
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file

from .judgements import read_tsv

FILE = "evaluation.txt"
HELD_OUT = "val", "test"
# folder, table of splits, column of the file's name, folder of the pictures
SETS = (
    ("flickr8k", "splits.tsv", "image", "images"),
    ("imagenet1000", "items.tsv", "file", ""),
    ("oasis_sample", "items.tsv", "file", ""),
    ("peopleart", "items.tsv", "file", ""),
    ("photoart", "items.tsv", "file", ""),
    ("savoias", "items.tsv", "file", ""),
    ("website", "items.tsv", "file", ""),
    ("website_pairs", "items.tsv", "file", ""),
)


@cache
def evaluation_pictures() -> frozenset[str]:
    """sha256 (hex) of every picture of the shipped list."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="ascii")
    return read_hashes(text, FILE)


def refuse_evaluation(named: Iterable[tuple[str, str]]) -> None:
    """Raises BeholderError where pictures to train on, (name, sha256), are kept for evaluation."""
    held = [name for name, sha256 in named if sha256 in evaluation_pictures()]
    if held:
        raise BeholderError(
            f"{len(held)} pictures to train on are kept for evaluation (first: {held[0]})", "training pictures only"
        )


def read_hashes(text: str, name: str) -> frozenset[str]:
    """One sha256 a line; what follows # is a remark. Raises FormatError that names the line for anything else."""
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word and (len(word) != 64 or set(word) - set("0123456789abcdef")):
            raise FormatError(f"{name}, line {number} is {word[:20]!r}", "a sha256 in hex", "One to a line.")
        found.add(word)
    return frozenset(found - {""})


def evaluation_list(data: Path) -> str:
    """The content of the shipped file, from the sets under `data`."""
    lines = [
        "# sha256 of the pictures that figures are reported on; made by python -m benchmarks.tables.evaluation DATA"
    ]
    for folder, table, column, pictures in SETS:
        rows = [row for row in read_tsv(data / folder / table, (column, "split")) if row["split"] in HELD_OUT]
        lines.append(f"# {folder}: {len(rows)}")
        lines += sorted(sha256_file(data / folder / pictures / row[column]) for row in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name(FILE).write_text(evaluation_list(Path(sys.argv[1])), encoding="ascii")
