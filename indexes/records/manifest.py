"""What makes a folder ours: `manifest.json` (kind, format number), written last and atomically; digests of
files."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.errors import FormatError

MANIFEST = "manifest.json"
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class FileRecord:
    """A file of a folder: path relative to it (with /), size in bytes and sha256 in hex."""

    path: str
    bytes: int
    sha256: str


def sha256_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_file(folder: Path, path: str) -> FileRecord:
    """The record of a file that was just written."""
    return FileRecord(path, (folder / path).stat().st_size, sha256_file(folder / path))


def check_file(folder: Path, record: FileRecord) -> None:
    """Raises FormatError unless the file is there with the recorded size and sha256."""
    path = folder / record.path
    if Path(record.path).is_absolute() or ".." in Path(record.path).parts:
        raise FormatError(f"{folder / MANIFEST} names {record.path}", "paths inside the folder", "Do not use it.")
    if not path.is_file():
        raise FormatError(f"{path} is missing", "the file that manifest.json names", "Make the folder again.")
    if path.stat().st_size != record.bytes or sha256_file(path) != record.sha256:
        raise FormatError(f"{path} was changed or cut", f"sha256 {record.sha256[:12]}", "Make the folder again.")


def publish(temporary: Path, path: Path) -> None:
    """Moves a finished temporary file (or folder) to its name: after a crash there is the old one or the new
    one."""
    if temporary.is_file():
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
    os.replace(temporary, path)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def write_bytes_atomic(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    publish(temporary, path)


def write_json_atomic(path: Path, content: Mapping[str, Any]) -> None:
    """Sorted keys and fixed indentation: the same content is the same bytes."""
    write_bytes_atomic(path, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_manifest(folder: Path, kind: str, format: int, content: Mapping[str, Any]) -> None:
    write_json_atomic(folder / MANIFEST, {"kind": kind, "format": format, **content})


def read_manifest(
    folder: Path, kind: str, newest: int, upgrades: Mapping[int, Upgrade] | None = None
) -> dict[str, Any]:
    """The manifest of a folder, older formats upgraded in memory by `upgrades[old] -> old + 1`.

    Raises FormatError for no folder, no manifest, no JSON, another kind, or a newer format.
    """
    path = folder / MANIFEST
    content = _content(folder, kind)
    if not isinstance(content, dict) or content.get("kind") != kind:
        found = content.get("kind", "nothing") if isinstance(content, dict) else "no object"
        raise FormatError(f"{folder} is of kind {found}", kind, "Check the path.")
    number = content.get("format")
    if not isinstance(number, int) or number < 1:
        raise FormatError(f"{path} has format {number!r}", "a whole number from 1", "Make the folder again.")
    if number > newest:
        raise FormatError(f"{folder} has format {number}", f"at most {newest}", "Install a newer beholder.")
    while number < newest:
        content = (upgrades or {})[number](content)
        number += 1
    return dict(content)


def read_kind(folder: Path, expected: str) -> str:
    """The kind of a folder of ours, "" where its manifest names none. Raises FormatError with what was `expected` for
    no folder, no manifest or no JSON."""
    content = _content(folder, expected)
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else ""


def _content(folder: Path, kind: str) -> Any:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise FormatError(f"there is no folder {folder}", f"a folder of kind {kind}", "Check the path.")
    if not path.is_file():
        raise FormatError(
            f"{folder} has no {MANIFEST}", f"a finished {kind} folder", "Check the path, or finish making it."
        )
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path} is not JSON ({error})", f"a {kind} manifest", "Make the folder again.") from error
