"""Pictures of an alignment run: found by sha256 in INDEX and EMBEDDINGS folders, as vectors or as pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import publish, read_kind
from indexes.records.shards import EMBEDDINGS, Embeddings
from indexes.searching.search import Index, load_index
from retrieval.encoding.encoder import Encoder
from rl.captions import Example
from rl.disk import new_array
from rl.features import cache_name, compute_once
from rl.pixels import decode_all

if TYPE_CHECKING:
    from torch import Tensor

Say = Callable[[str], None]


@dataclass(frozen=True)
class Folder:
    """An INDEX or EMBEDDINGS folder: which encoder made it, where its pictures lie, its items in order of vectors."""

    path: Path
    image_fingerprint: str
    root: Path
    sha256s: list[str]
    uris: list[str]
    captions: list[str | None]
    opened: Index | Embeddings

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Raises FormatError for a folder of another kind."""
        opened: Index | Embeddings
        if read_kind(path, "an INDEX or EMBEDDINGS folder") == EMBEDDINGS:
            opened = Embeddings(path)
            items = opened.items()
        else:
            opened = load_index(path)
            items = opened.items_table()
        columns = {name: items.column(name).to_pylist() for name in ("sha256", "uri", "caption")}
        return cls(
            path,
            opened.manifest.encoder.image_fingerprint,
            (path / opened.manifest.source).resolve(),
            columns["sha256"],
            columns["uri"],
            columns["caption"],
            opened,
        )

    def vectors(self, places: Sequence[int]) -> NDArray[np.float16]:
        """(n, D) of items by their places."""
        if isinstance(self.opened, Index):
            return self.opened.vectors(self.opened.live_ids()[np.asarray(places, np.int64)]).astype(np.float16)
        wanted, found, at = np.asarray(places, np.int64), [], 0
        order = np.argsort(wanted, kind="stable")
        for _, rows in self.opened.blocks():
            inside = wanted[order][(wanted[order] >= at) & (wanted[order] < at + len(rows))]
            found.append(np.asarray(rows[inside - at]))
            at += len(rows)
        return np.concatenate(found)[np.argsort(order, kind="stable")]


class Gallery:
    """Pictures that training may need, each one row: `row(sha256)`, and their vectors or pixels.

    Vectors come from the folders, and none of those pictures is decoded; pictures that are in no folder (of a caption
    source) are encoded once into `cache`. Rows are added before either is asked for.
    """

    def __init__(self, folders: Sequence[Folder], cache: Path) -> None:
        self.folders, self.cache = list(folders), cache
        self._places: dict[str, tuple[int, int]] = {}
        for number, folder in enumerate(self.folders):
            for place, sha256 in enumerate(folder.sha256s):
                self._places.setdefault(sha256, (number, place))
        self._rows: dict[str, int] = {}
        self._files: dict[str, Path] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def has(self, sha256: str) -> bool:
        return sha256 in self._places or sha256 in self._files

    def names(self) -> list[str]:
        """sha256 of each row."""
        return list(self._rows)

    def row(self, sha256: str) -> int:
        return self._rows.setdefault(sha256, len(self._rows))

    def rows_of_files(self, files: Iterable[Path]) -> list[int]:
        """Rows of pictures by their files, which are hashed."""
        rows = []
        for file in files:
            try:
                with file.open("rb") as stream:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise BeholderError(
                    f"{file} cannot be read ({error.strerror})", "a picture", "Check --data."
                ) from error
            self._files[sha256] = file
            rows.append(self.row(sha256))
        return rows

    def captions(self, wanted: Callable[[str], bool]) -> list[tuple[int, str]]:
        """(row, caption) of the folders' items that carry one, where the picture (sha256) is wanted."""
        return [
            (self.row(sha256), caption)
            for folder in self.folders
            for sha256, caption in zip(folder.sha256s, folder.captions, strict=True)
            if caption and wanted(sha256)
        ]

    def vectors(self, encoder: Encoder, say: Say) -> NDArray[np.float16]:
        """(N, D), unit rows. Raises FormatError for a folder that another image tower made."""
        for folder in self.folders:
            if folder.image_fingerprint != encoder.record.image_fingerprint:
                raise FormatError(
                    f"{folder.path} holds vectors of pictures by {folder.image_fingerprint[:12]}",
                    f"{encoder.record.image_fingerprint[:12]} of {encoder.name}",
                    "Embed the pictures with the encoder that is to be tuned, or name that one with --base.",
                )
        vectors = np.empty((len(self), encoder.width), np.float16)
        mine: dict[int, list[tuple[int, int]]] = {}
        absent: list[tuple[int, Path]] = []
        for sha256, row in self._rows.items():
            if sha256 in self._places:
                number, place = self._places[sha256]
                mine.setdefault(number, []).append((row, place))
            else:
                absent.append((row, self._files[sha256]))
        for number, pairs in mine.items():
            vectors[[row for row, _ in pairs]] = self.folders[number].vectors([place for _, place in pairs])
        if absent:
            say(f"{len(absent):,} pictures of captions are in no folder: encoding them once")
            files = [file for _, file in absent]
            name = cache_name("vectors", encoder.record.image_fingerprint, [str(file) for file in files])
            pixels = decode_all(files, encoder.preprocessing, self.cache)

            def forward(rows: slice) -> Tensor:
                import torch

                return torch.from_numpy(encoder.encode_images(np.array(pixels[rows])))

            vectors[[row for row, _ in absent]] = compute_once(self.cache / name, len(files), forward)
        return vectors

    def pixels(self, encoder: Encoder, say: Say) -> NDArray[np.uint8]:
        """uint8 (N, S, S, 3), each picture decoded once into a file of the cache."""
        from retrieval.sources.images import BadPicture, decode, fit
        from retrieval.sources.sources import contents

        size = encoder.preprocessing.size
        path = self.cache / cache_name("gallery", encoder.preprocessing.to_dict(), list(self._rows))
        if not path.is_file():
            say(f"decoding {len(self):,} pictures once")
            self.cache.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            pixels = new_array(temporary, np.uint8, (len(self), size, size, 3))
            wanted: dict[int, dict[str, list[int]]] = {}
            for sha256, row in self._rows.items():
                if sha256 in self._files:
                    pixels[row] = fit(decode(self._files[sha256].read_bytes()), encoder.preprocessing)
                else:
                    number, place = self._places[sha256]
                    wanted.setdefault(number, {}).setdefault(self.folders[number].uris[place], []).append(row)
            for number, uris in wanted.items():
                for uri, content in contents(self.folders[number].root, uris):
                    try:
                        if content is None:
                            raise BadPicture("it cannot be read")
                        pixels[uris[uri]] = fit(decode(content), encoder.preprocessing)
                    except BadPicture as error:
                        raise BeholderError(
                            f"{uri} of {self.folders[number].path}: {error}",
                            "the picture that was embedded",
                            "Embed the pictures again, or train --towers text.",
                        ) from error
            pixels.flush()
            del pixels
            publish(temporary, path)
        mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        return mapped


def rows_of_examples(gallery: Gallery, examples: Sequence[Example]) -> list[int]:
    return gallery.rows_of_files(example.picture for example in examples)
