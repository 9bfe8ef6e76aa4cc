"""Text queries to results: encode, search, look up the items; seconds per stage are kept."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes import load_index
from indexes.duplicates import Distinct, search_distinct
from indexes.errors import BeholderError
from indexes.search import Index
from indexes.where import matching_ids

from . import light_text
from .encoders import TextEncoder, find_folder, load_encoder
from .results import Result

BATCH = 1024  # queries at once: bounds memory, and is past the batch where Flat search stops gaining


class Searcher:
    """An open index and the encoder of its queries. Raises BeholderError where the two do not belong together."""

    def __init__(self, index: Index, encoder: TextEncoder) -> None:
        check_encoder(index, encoder)
        self.index, self.encoder = index, encoder
        self.seconds = dict.fromkeys(("encode", "filter", "search", "items"), 0.0)
        self._filter: tuple[str, NDArray[np.int64]] | None = None

    def search(
        self, texts: Sequence[str], k: int = 10, *, where: str | None = None, near: float | None = None
    ) -> list[list[Result]]:
        """The k best pictures of each text, best first; fewer where the index holds fewer.

        where: only pictures for which this condition over the items holds, as `indexes.where` reads it. near: of
        pictures that are one file, or whose vectors' cosine is at least this, only the best placed one. Raises
        BeholderError for an empty text, k below 1, a condition that cannot be read.
        """
        if k < 1:
            raise BeholderError(f"k is {k}", "1 or more", "Ask for at least one result.")
        for place, text in enumerate(texts, 1):
            if not text.strip():
                raise BeholderError(f"query {place} of {len(texts)} is empty", "words", "Say what to look for.")
        results: list[list[Result]] = []
        for start in range(0, len(texts), BATCH):
            vectors = self._timed_encode(texts[start : start + BATCH])
            results += self.search_vectors(vectors, k, where=where, near=near)
        return results

    def search_vectors(
        self, vectors: NDArray[np.float32], k: int, *, where: str | None = None, near: float | None = None
    ) -> list[list[Result]]:
        """The same for vectors float32 (Q, D), unit rows."""
        started = time.perf_counter()
        allowed = self.matching(where) if where is not None else None
        filtered = time.perf_counter()
        if near is not None:
            distinct = search_distinct(self.index, vectors, k, near=near, allowed=allowed)
        else:
            found = self.index.search(vectors, k, allowed=allowed)
            none = ((),) * found.ids.shape[1]
            distinct = [Distinct(*pair, none) for pair in zip(found.ids, found.scores, strict=True)]
        searched = time.perf_counter()
        results = [self._results(one) for one in distinct]
        self.seconds["filter"] += filtered - started
        self.seconds["search"] += searched - filtered
        self.seconds["items"] += time.perf_counter() - searched
        return results

    def matching(self, where: str) -> NDArray[np.int64]:
        """The ids of pictures for which a condition holds, rising; the last condition's are kept."""
        if self._filter is None or self._filter[0] != where:
            self._filter = (where, matching_ids(self.index.items_table(), where))
        return self._filter[1]

    def _results(self, found: Distinct) -> list[Result]:
        rows = self.index.items(found.ids).to_pylist()
        return [
            Result(
                id=int(found.ids[place]),
                rank=place + 1,
                uri=row["uri"],
                relevance=float(found.scores[place]),
                sha256=row["sha256"],
                width=row["width"],
                height=row["height"],
                caption=row["caption"],
                copies=found.copies[place],
            )
            for place, row in enumerate(rows)
        ]

    def _timed_encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        started = time.perf_counter()
        vectors = self.encoder.encode_texts(texts)
        self.seconds["encode"] += time.perf_counter() - started
        return vectors


def check_encoder(index: Index, encoder: TextEncoder) -> None:
    """Two encoders agree on pictures iff their image fingerprints agree: a tuned text tower may search as it is."""
    found, expected = encoder.record, index.manifest.encoder
    if found.image_fingerprint != expected.image_fingerprint:
        raise BeholderError(
            f"{found.name} (pictures {found.image_fingerprint[:12]}) did not make {index.folder}",
            f"{expected.name} (pictures {expected.image_fingerprint[:12]})",
            "Embed the pictures again with the new encoder and build an index of that, or drop --model.",
        )


def load_text_encoder(name: str, texts: int, device: str = "cpu") -> TextEncoder:
    """The encoder for so many texts: without torch where that is quicker and the tower allows it."""
    folder = find_folder(name)
    if folder is not None and texts <= light_text.MOST_TEXTS and device == "cpu" and light_text.fits(folder):
        return light_text.LightTextEncoder(name, folder)
    return load_encoder(name, device)


def open_searcher(folder: Path, model: str | None = None, *, texts: int = 1, device: str = "cpu") -> Searcher:
    """A searcher of an INDEX folder with the encoder that its manifest names, or `model`."""
    index = load_index(folder)
    name = model or index.manifest.encoder.name
    return Searcher(index, load_text_encoder(name, texts, device))


def picture_folder(index: Index) -> Path:
    """Where the index's pictures lie: its manifest says it relative to the INDEX folder."""
    return (index.folder / index.manifest.source).resolve()
