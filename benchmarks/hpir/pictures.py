"""The pictures of a set, which names them by sha256 alone: found in folders of pictures and in EMBEDDINGS.

Vectors come from an EMBEDDINGS folder of the same encoder, else the pictures are encoded as `embed` would.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError
from indexes.records.manifest import sha256_bytes, sha256_file
from indexes.records.scores import read_scores, scores_path
from indexes.records.shards import Embeddings, EncoderRecord
from retrieval.encoding.encoder import Encoder
from retrieval.scoring.card import ScorerCard
from retrieval.sources.images import BadPicture, Picture, decode, fit, list_pictures
from retrieval.sources.sources import contents

Vectors = npt.NDArray[np.float32]
BATCH = 64  # pictures decoded at once


class SetPictures:
    """The pictures of a set (sha256, sorted) and where to find them."""

    def __init__(self, sha256s: Sequence[str], folders: Sequence[Path], embeddings: Sequence[Path]) -> None:
        self.sha256s = list(sha256s)
        self.rows = {sha256: row for row, sha256 in enumerate(self.sha256s)}
        self.embeddings = [Embeddings(folder) for folder in embeddings]
        self._folders = list(folders)
        self._places: dict[str, tuple[Path, str]] | None = None

    def vectors(self, encoder: Encoder) -> Vectors:
        """(N, D) float32 of all pictures, as `embed` stores them (float16)."""
        found = self.stored_vectors(encoder.record)
        if found is not None:
            return found
        parts = []
        for batch in self.batches():
            pixels = np.stack([fit(_image(picture), encoder.preprocessing) for picture in batch])
            parts.append(encoder.encode_images(pixels).astype(np.float16).astype(np.float32))
        return np.concatenate(parts)

    def stored_vectors(self, record: EncoderRecord) -> Vectors | None:
        """(N, D) float32 of the EMBEDDINGS folder of this encoder; None where none was given.

        Raises BeholderError where such a folder lacks pictures, unless folders of pictures were given too.
        """
        for folder in self.embeddings:
            if folder.manifest.encoder.image_fingerprint != record.image_fingerprint:
                continue
            at = {sha256: row for row, sha256 in enumerate(folder.items().column("sha256").to_pylist())}
            missing = [sha256 for sha256 in self.sha256s if sha256 not in at]
            if missing and self._folders:
                continue
            self._check(missing, folder.folder)
            every = np.concatenate([block for _, block in folder.blocks()])
            return np.asarray(every[[at[sha256] for sha256 in self.sha256s]], np.float32)
        return None

    def stored_scores(self, card: ScorerCard) -> npt.NDArray[np.float64] | None:
        """(N,) scores that this very scorer left in an EMBEDDINGS folder; None where there are none for all."""
        for folder in self.embeddings:
            path = scores_path(folder.folder, card.name)
            column = read_scores(path) if path.is_file() else None
            if column is not None and column.fingerprint == card.fingerprint:
                known = dict(zip(column.sha256s, column.values.tolist(), strict=True))
                if all(sha256 in known for sha256 in self.sha256s):
                    return np.array([known[sha256] for sha256 in self.sha256s])
        return None

    def batches(self) -> Iterator[list[Picture]]:
        """All pictures in order, BATCH at a time: uint8 (H, W, 3), upright RGB.

        Raises BeholderError where pictures are not to be found, have changed or cannot be decoded.
        """
        for start in range(0, len(self.sha256s), BATCH):
            yield [self.picture(row) for row in range(start, min(start + BATCH, len(self.sha256s)))]

    def picture(self, row: int) -> Picture:
        """One of them."""
        sha256 = self.sha256s[row]
        root, uri = self._found()[sha256]
        content = next((content for _, content in contents(root, [uri])), None)
        if content is None or sha256_bytes(content) != sha256:
            expected = f"the picture {sha256[:12]} of the set"
            raise BeholderError(f"{uri} has changed or is gone", expected, "Give the folder as it was.")
        try:
            return np.asarray(decode(content))
        except BadPicture as error:
            raise BeholderError(f"{uri}: {error}", "a picture", "Take its items out of the set.") from error

    def _found(self) -> dict[str, tuple[Path, str]]:
        """sha256 -> root and uri. Every file of the folders is read once for its sha256."""
        if self._places is None:
            places: dict[str, tuple[Path, str]] = {}
            for folder in self._folders:
                for uri in list_pictures(folder)[0]:
                    places.setdefault(sha256_file(folder / uri), (folder, uri))
            for embeddings in self.embeddings:
                root = (embeddings.folder / embeddings.manifest.source).resolve()
                items = embeddings.items()
                columns = (items.column(name).to_pylist() for name in ("sha256", "uri"))
                for sha256, uri in zip(*columns, strict=True):
                    places.setdefault(sha256, (root, uri))
            self._check([sha256 for sha256 in self.sha256s if sha256 not in places], None)
            self._places = places
        return self._places

    def _check(self, missing: Sequence[str], where: Path | None) -> None:
        if missing:
            given = [where] if where else [*self._folders, *(one.folder for one in self.embeddings)]
            places = ", ".join(map(str, given)) or "nowhere: no folder was given"
            raise BeholderError(
                f"{len(missing)} of the set's {len(self.sha256s)} pictures are missing (sha256 {missing[0][:12]}...)",
                f"all of them in {places}" if given else "a folder of pictures or EMBEDDINGS",
                "Give --pictures FOLDER or --embeddings EMBEDDINGS that hold them.",
            )


def _image(picture: Picture) -> Any:
    from PIL import Image

    return Image.fromarray(picture)
