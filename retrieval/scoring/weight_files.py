"""Weights that are not in the box: found on this machine or downloaded once, and used only with their known sha256."""

import os
import sys
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_bytes, sha256_file, write_bytes_atomic

TIMEOUT_S = 60.0  # without a byte
FOLDER_VARIABLE = "BEHOLDER_WEIGHTS"


@dataclass(frozen=True)
class WeightFile:
    """A published file: its path under $BEHOLDER_WEIGHTS, address, sha256, size in bytes and licence."""

    path: str
    url: str
    sha256: str
    bytes: int
    licence: str


def find(file: WeightFile) -> Path:
    """The file on this machine: under $BEHOLDER_WEIGHTS, in the cache, else downloaded to the cache, which is said on
    stderr with its licence.

    Raises FormatError for a file of another sha256, BeholderError where it cannot be downloaded.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / file.path).is_file():
        return _checked(Path(folder) / file.path, file)
    cached = cache_folder() / f"{file.sha256[:12]}-{Path(file.path).name}"
    if cached.is_file():
        return _checked(cached, file)
    print(f"downloading {file.path} ({file.bytes:,} bytes; licence: {file.licence}) from {file.url}", file=sys.stderr)
    content = _download(file)
    if sha256_bytes(content) != file.sha256:
        found = f"{file.url} gave another file ({len(content):,} bytes)"
        raise FormatError(found, f"sha256 {file.sha256[:12]}", "Do not use it; get the file elsewhere.")
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(cached, content)
    return cached


def cache_folder() -> Path:
    """Downloaded weights: `beholder/weights` in the user's cache (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beholder" / "weights"


def _checked(path: Path, file: WeightFile) -> Path:
    if sha256_file(path) != file.sha256:
        raise FormatError(f"{path} is another file", f"sha256 {file.sha256[:12]}", "Remove it; it is fetched again.")
    return path


def _download(file: WeightFile) -> bytes:
    try:
        with urllib.request.urlopen(file.url, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read(file.bytes + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise BeholderError(
            f"{file.path} cannot be downloaded ({error})",
            f"a network, or the file as {file.path} in the folder {FOLDER_VARIABLE} names",
            f"Get it from {file.url}.",
        ) from error
    return content
