"""Sets of pictures with people's scores that `bench aesthetics` knows by name: where the table lies, what its columns
mean. The tables of $BEHOLDER_DATA/labels come without their pictures: those are given by `--pictures`.

What their makers allow is in terms.py; scorers of this project learned from the train splits of website and savoias
alone.
"""

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from indexes.errors import BeholderError, FormatError

from .judgements import read_tsv
from .terms import TABLES, Terms


@dataclass(frozen=True)
class AestheticSet:
    """A table and its columns. `table` is relative to $BEHOLDER_DATA."""

    table: str
    score_column: str
    image_column: str = "image"
    split: str | None = None
    group_column: str | None = None
    encoding: str = "utf-8"
    with_pictures: bool = False  # beside the table

    @property
    def terms(self) -> Terms:
        """What its makers allow, and whose it is."""
        return TABLES.get(self.table) or TABLES[PurePosixPath(self.table).name]


SETS = {
    "ava": AestheticSet("labels/ava_test_scores.tsv", "mean_score", image_column="image_id"),
    "tad66k": AestheticSet("labels/tad66k_test_scores.tsv", "score"),
    "koniq": AestheticSet("labels/koniq10k_scores.tsv", "mos_0_100", split="test"),
    "aadb": AestheticSet("labels/aadb_scores.tsv", "score_0_1", split="test"),
    "baid": AestheticSet("labels/baid_test_set.csv", "score"),
    "apddv2": AestheticSet(
        "labels/apddv2_10023.csv", "Total aesthetic score", image_column="filename", encoding="gb18030"
    ),
    "oasis": AestheticSet("labels/oasis_beauty_scores.tsv", "beauty_mean_1_7", image_column="theme"),
    "website": AestheticSet("website/items.tsv", "mean_score", image_column="file", split="test", with_pictures=True),
    "savoias": AestheticSet(
        "savoias/items.tsv",
        "complexity_score",
        image_column="file",
        split="test",
        group_column="category",
        with_pictures=True,
    ),
}


def find_table(name: Path) -> tuple[Path, AestheticSet | None]:
    """A table's path, and the set it is where `name` is one of SETS and no file. Raises BeholderError without
    $BEHOLDER_DATA."""
    if name.is_file() or str(name) not in SETS:
        return name, None
    root = os.environ.get("BEHOLDER_DATA")
    if not root:
        raise BeholderError(
            f"{name} is a set by name, and BEHOLDER_DATA is not set", "the folder that holds its table", "Set it."
        )
    chosen = SETS[str(name)]
    return Path(root) / chosen.table, chosen


def read_table(path: Path, columns: list[str], encoding: str = "utf-8") -> list[dict[str, str]]:
    """The rows of a TSV table, or of a comma-separated one named .csv. Raises FormatError for a missing column."""
    if path.suffix.lower() != ".csv":
        return read_tsv(path, columns)
    if not path.is_file():
        raise FormatError(f"there is no table {path}", "a CSV file with a header row", "Check the path.")
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name} cannot be read ({error})", f"comma-separated values in {encoding}") from error
    for column in columns:
        if column not in header:
            raise FormatError(f"{path.name} has no column {column!r}", f"one of {', '.join(header)}", "Name it.")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise FormatError(f"{path.name}, row {number}, has another number of cells", f"{len(header)}", "Mend it.")
    return rows


def file_of(name: str, chosen: AestheticSet | None) -> str:
    """The picture's file as its makers name it: AVA's and OASIS's tables leave the ending out, OASIS's a space too."""
    if chosen is SETS["ava"]:
        return f"{name}.jpg"
    if chosen is SETS["oasis"]:
        return re.sub(r"(?<=\D)(\d+)$", r" \1", name.strip()).replace("  ", " ") + ".jpg"
    return name
