"""Tables of pictures with what people said of them: the column of pictures, numbers, and the pictures' sha256."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file

IMAGE_COLUMNS = ("image", "file")


def digests_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """name -> sha256 of the picture's file under `folder`. Raises BeholderError naming the first that is not there."""
    outside = next((name for name in names if PurePosixPath(name).is_absolute() or ".." in name.split("/")), None)
    if outside is not None:
        raise BeholderError(f"the picture {outside} lies outside {folder}", "a name inside it", "Mend the table.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        found = f"{len(missing)} of {len(names)} pictures of the table are missing (first: {missing[0]})"
        raise BeholderError(found, f"files under {folder}", "Put the table beside its pictures.")
    return {name: sha256_file(folder / name) for name in names}


def image_column(given: str, rows: Sequence[dict[str, str]], table: Path) -> str:
    """The column of pictures' names: as given, else image or file. Raises for a table without it or without rows."""
    if not rows:
        raise BeholderError(f"{table.name} has no rows", "at least one", "Check the table.")
    column = given or next((name for name in IMAGE_COLUMNS if name in rows[0]), "")
    if column not in rows[0]:
        found = f"{table.name} has no column of pictures {column or '(image or file)'}"
        raise FormatError(found, f"one of {', '.join(rows[0])}", "Give --image-column.")
    return column


def number(text: str, name: str, column: str) -> float:
    """A score as a float. Raises FormatError for one that is not a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise FormatError(f"{name} has the {column} {text!r}", "a finite number", "Mend the table.")
    return value


def whole(text: str, name: str, column: str) -> int:
    """A count of choices. Raises FormatError for one that is not a whole number."""
    if not (text.isascii() and text.isdecimal()):
        raise FormatError(f"a pair of {name} has the {column} {text!r}", "a whole number from 0", "Mend the table.")
    return int(text)
