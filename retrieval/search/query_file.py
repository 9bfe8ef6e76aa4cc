"""Files of queries: one per line, UTF-8."""

from pathlib import Path

from indexes.errors import BeholderError


def read_queries(path: Path) -> list[str]:
    """The lines of a file of queries. Raises BeholderError where there are none or one is empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a UTF-8 text file", "Check the path.") from error
    if not lines:
        raise BeholderError(f"{path} is empty", "a query per line", "Write some.")
    for place, line in enumerate(lines, 1):
        if not line.strip():
            raise BeholderError(f"query {place} of {len(lines)} is empty", "words", "Say what to look for.")
    return lines
