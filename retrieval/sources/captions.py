"""Captions of a folder of pictures: a TSV beside it."""

import csv
from pathlib import Path

from indexes.errors import BeholderError


def read_captions(path: Path) -> dict[str, str]:
    """uri -> caption of a TSV with a header: the picture's column is file or image, the text's caption or title.

    The first caption of a picture counts. Raises BeholderError where the table or its columns are missing.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            names = rows.fieldnames or []
            key = next((name for name in ("file", "image", "uri") if name in names), None)
            text = next((name for name in ("caption", "title") if name in names), None)
            if key is None or text is None:
                raise BeholderError(
                    f"{path} has columns {', '.join(names)}",
                    "file or image, and caption or title",
                    "Rename them.",
                )
            captions: dict[str, str] = {}
            for row in rows:
                caption = row[text] or ""
                if text == "title" and row.get("author"):
                    caption = f"{caption}, {row['author']}"
                captions.setdefault(row[key] or "", caption)
            return captions
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a UTF-8 TSV table", "Check the path.") from error
