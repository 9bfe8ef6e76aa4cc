"""Records of a JSON file with the lines that they begin at: of a list, an object that holds one, an object of
objects, or an object per line. So that what is wrong with one of 400,000 can be told.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError

SPACE = " \t\r\n"


def json_rows(path: Path, key: str = "") -> Iterator[tuple[int, Any]]:
    """(line, record) of a list, of the list under `key`, or of one record per line.

    Raises FormatError, with the line, for what is no JSON: a cut file is refused and not read to the cut.
    """
    text = _text(path)
    start = _skip(text, 0)
    if key and text.startswith("{", start):
        start = _place_of(path, text, key)
    if text.startswith("[", start):
        yield from _items(path, text, start)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _decoded(path, line, 0, number)[0]


def json_object(path: Path) -> list[tuple[int, str, Any]]:
    """(line, key, value) of the entries of one object, in the file's order. Raises FormatError for anything else."""
    text = _text(path)
    at = _skip(text, 0)
    if not text.startswith("{", at):
        raise FormatError(f"{path} holds no JSON object", "an object of records")
    _decoded(path, text, at, 1)  # the whole of it, so that a cut is found before anything is used
    entries = []
    at = _skip(text, at + 1)
    line, counted = 1, 0
    while not text.startswith("}", at):
        line, counted = line + text.count("\n", counted, at), at
        name, at = _decoded(path, text, at, line)
        value, at = _decoded(path, text, _skip(text, _skip(text, at) + 1), line)
        entries.append((line, str(name), value))
        at = _skip(text, at)
        at = _skip(text, at + 1) if text.startswith(",", at) else at
    return entries


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "JSON in UTF-8", "Check the path.") from error


def _items(path: Path, text: str, start: int) -> Iterator[tuple[int, Any]]:
    at, line, counted = _skip(text, start + 1), 1, 0
    if text.startswith("]", at):
        return
    while True:
        line, counted = line + text.count("\n", counted, at), at
        value, at = _decoded(path, text, at, line)
        yield line, value
        at = _skip(text, at)
        if text.startswith("]", at):
            return
        if not text.startswith(",", at):
            raise FormatError(
                f"{path} breaks off after the record of line {line}", "a whole JSON list", "Get it again."
            )
        at = _skip(text, at + 1)


def _place_of(path: Path, text: str, key: str) -> int:
    """Where the list of `key` begins in an object; the key is looked for with the object's own structure in mind."""
    content, _ = _decoded(path, text, _skip(text, 0), 1)
    if not isinstance(content.get(key), list):
        raise FormatError(f"{path} has no list {key!r}", f'{{"{key}": [...]}}', "Check the format.")
    place = text.index(json.dumps(key))
    return _skip(text, text.index(":", place + len(key) + 2) + 1)


def _decoded(path: Path, text: str, at: int, line: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}, line {line} is not JSON", "whole JSON", "Get the file again.") from error


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at
