"""Where an experiment's pictures lie: sets by name under the data folder, their vectors in EMBEDDINGS made once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables.pictures import picture_vectors
from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST, sha256_file
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.pipeline import EmbedConfig, embed

from .steps import Say

DATA = "BEHOLDER_DATA"


def data_folder(given: Path | None) -> Path:
    """The folder of the sets. Raises BeholderError where neither the option nor $BEHOLDER_DATA names one."""
    found = given or (Path(os.environ[DATA]) if os.environ.get(DATA) else None)
    if found is None or not found.is_dir():
        raise BeholderError("no folder of data sets", f"--data FOLDER or {DATA}", "Name the folder.")
    return found


class Places:
    """The sets of `data` by name, embedded by `encoder` into `folder`/NAME.emb the first time they are asked for."""

    def __init__(self, data: Path, folder: Path, encoder: Encoder, say: Say) -> None:
        self.data, self.folder, self.encoder, self.say = data, folder, encoder, say

    @property
    def cache(self) -> Path:
        """What frozen parts of the base give: the same for every experiment on it."""
        return self.folder / "cache"

    def pictures(self, name: str) -> Path:
        """The folder that the names of a set's table are relative to."""
        return self.data / name / ("images" if name == "flickr8k" else "")

    def embeddings(self, name: str) -> Path:
        """The EMBEDDINGS of a whole set."""
        path = self.folder / f"{name}.emb"
        if not (path / MANIFEST).is_file():
            self.say(f"embedding {name}")
            embed(self.pictures(name), path, EmbedConfig(model=self.encoder.record.name), encoder=self.encoder)
        return path

    def vectors(self, name: str, files: Sequence[str], encoder: Encoder | None = None) -> NDArray[np.float32]:
        """(N, D) unit rows of a set's pictures: kept ones, or by `encoder` where its image tower is another."""
        chosen = encoder or self.encoder
        same = chosen.record.image_fingerprint == self.encoder.record.image_fingerprint
        config = EmbedConfig(model=chosen.record.name)
        rows = picture_vectors(self.pictures(name), files, chosen, config, self.embeddings(name) if same else None)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def sha256s(self, name: str, files: Sequence[str]) -> list[str]:
        return [sha256_file(self.pictures(name) / file) for file in files]
