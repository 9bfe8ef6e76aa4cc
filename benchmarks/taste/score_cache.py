"""Scores of pictures kept from run to run: by the sha256 of a picture's file, and the fingerprint of what scored it.

A folder of files as `indexes/records/scores.py` writes them, one for each scorer and fingerprint, so that two versions
never meet. Two runs at once may each keep their own: what the later one did not know is computed again, never wrong.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexes.errors import BeholderError
from indexes.records.scores import ScoreColumn, file_name, read_scores, write_scores

OFF = "none"  # as an option: keep nothing


def scores_folder(given: str) -> Path | None:
    """The folder of an option: `beholder/scores` in the user's cache (XDG) for "", None for "none"."""
    if given == OFF:
        return None
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beholder" / "scores"


class ScoreCache:
    """The kept scores under `folder`; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def known(self, name: str, fingerprint: str) -> dict[str, float]:
        """sha256 -> score, of float32. Raises FormatError for a damaged file."""
        path = self._path(name, fingerprint)
        if path is None or not path.is_file():
            return {}
        column = read_scores(path)
        if (column.name, column.fingerprint) != (name, fingerprint):
            raise BeholderError(f"{path} holds scores of {column.name}", name, "Delete the file.")
        return dict(zip(column.sha256s, column.values.tolist(), strict=True))

    def keep(self, name: str, fingerprint: str, card: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Adds scores by sha256 to what is kept."""
        path = self._path(name, fingerprint)
        if path is None or not scores:
            return
        held = {**self.known(name, fingerprint), **scores}
        values = np.array(list(held.values()), np.float32)
        write_scores(path, ScoreColumn(name, fingerprint, dict(card), list(held), values))

    def _path(self, name: str, fingerprint: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{file_name(name)}-{fingerprint[:12]}.parquet"
