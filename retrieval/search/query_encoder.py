"""Queries to unit vectors in an index's space. Encoders are loaded when a query first needs one: none for vectors and
pictures of the index, the light text tower for a few texts, the whole model for pictures."""

import threading
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.searching.search import Index
from retrieval.encoding import light_text
from retrieval.encoding.encoder import Encoder, TextEncoder
from retrieval.encoding.encoders import find_folder, load_encoder
from retrieval.sources.images import BadPicture, decode, fit

from .query import Part, Query, combine

PICTURES = 64  # encoded at once
RECENT = 256  # pictures whose vectors are kept: a slider moved on the page asks for the same picture again and again


class QueryEncoder:
    """The encoder of an index's queries: `given`, or `model` (default: the name in the index's manifest), loaded when
    it is needed. Raises BeholderError where the encoder's pictures are not the index's."""

    def __init__(
        self, index: Index, given: TextEncoder | None = None, *, model: str | None = None, device: str = "cpu"
    ) -> None:
        if given is not None:
            check_encoder(index, given)
        self._index, self._text, self._device = index, given, device
        self._name = model or index.manifest.encoder.name
        self._pictures = given if isinstance(given, Encoder) else None
        self._lock = threading.Lock()
        self._recent: dict[bytes, NDArray[np.float32]] = {}  # sha256 of a picture's file -> its vector, oldest first

    @property
    def loaded(self) -> str:
        """The kinds of encoder that were needed, for people; "none" before one was."""
        kinds = [type(one).__name__ for one in (self._text, self._pictures) if one is not None]
        return " and ".join(dict.fromkeys(kinds)) or "none"

    def held(self) -> TextEncoder | None:
        """What has been loaded, to be given to a newer index of the same encoder."""
        return self._pictures or self._text

    def text_encoder(self, texts: int = 1) -> TextEncoder:
        """The encoder for so many texts, checked against the index."""
        with self._lock:
            small = isinstance(self._text, light_text.LightTextEncoder) and texts > light_text.MOST_TEXTS
            if self._text is None or small:
                self._text = self._pictures or load_text_encoder(self._name, texts, self._device)
                check_encoder(self._index, self._text)
            return self._text

    def picture_encoder(self) -> Encoder:
        """The whole model, checked against the index."""
        with self._lock:
            if self._pictures is None:
                self._pictures = load_encoder(self._name, self._device)
                check_encoder(self._index, self._pictures)
            return self._pictures

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (Q, D), unit rows."""
        return self.text_encoder(len(texts)).encode_texts(texts)

    def encode_pictures(self, parts: Sequence[Part]) -> NDArray[np.float32]:
        """float32 (P, D), unit rows, of parts of kind "image". Raises BeholderError for bytes that are no picture."""
        encoder = self.picture_encoder()
        digests = [sha256(part.value).digest() for part in parts]
        with self._lock:
            known = {digest: self._recent[digest] for digest in digests if digest in self._recent}
        new = {digest: part for digest, part in zip(digests, parts, strict=True) if digest not in known}
        pixels = []
        for part in new.values():
            try:
                pixels.append(fit(decode(part.value), encoder.preprocessing))
            except BadPicture as error:
                raise BeholderError(f"{part.label}: {error}", "a picture", "Give another file.") from error
        batches = [np.stack(pixels[at : at + PICTURES]) for at in range(0, len(pixels), PICTURES)]
        rows = [row for batch in batches for row in encoder.encode_images(batch)]
        known.update(zip(new, rows, strict=True))
        with self._lock:
            self._recent.update(zip(new, rows, strict=True))
            while len(self._recent) > RECENT:
                self._recent.pop(next(iter(self._recent)))
        return np.stack([known[digest] for digest in digests])

    def encode(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """float32 (Q, D), unit rows: each query's parts, combined. Equal texts are encoded once."""
        width = self._index.manifest.dimension
        parts = [part for query in queries for part in query.parts]
        vectors = np.empty((len(parts), width), np.float32)
        places: dict[str, list[int]] = {}
        for place, part in enumerate(parts):
            places.setdefault(part.kind, []).append(place)
        if "text" in places:
            texts = list(dict.fromkeys(parts[place].value for place in places["text"]))
            rows = dict(zip(texts, self.encode_texts(texts), strict=True))
            vectors[places["text"]] = [rows[parts[place].value] for place in places["text"]]
        if "image" in places:
            vectors[places["image"]] = self.encode_pictures([parts[place] for place in places["image"]])
        if "like" in places:
            vectors[places["like"]] = self._index.vectors(np.array([parts[place].value for place in places["like"]]))
        for place in places.get("vector", ()):
            if parts[place].value.shape != (width,):
                found = f"{parts[place].label} of {len(parts[place].value)} dimensions"
                remedy = "A vector must come from the encoder that made the index."
                raise BeholderError(found, f"{width}", remedy)
            vectors[place] = parts[place].value
        combined, start = np.empty((len(queries), width), np.float32), 0
        for row, query in enumerate(queries):
            end = start + len(query.parts)
            if query.plain is not None:  # of length 1 already: dividing again would change its last bit
                combined[row] = vectors[start]
            else:
                combined[row] = combine(vectors[start:end], [part.weight for part in query.parts])
            start = end
        return combined


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
