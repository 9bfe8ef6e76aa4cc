"""An index of parts: a folder whose manifest names INDEX folders, here or behind a service elsewhere, that are
searched as one. This module knows the folder, asks all parts at once, and merges; how a part is asked is its own.

A picture's id is that of its part, and which part in the bits above: `part << PART_BITS | id`. So parts grow, shrink
and are built again on their own, and the ids of the others stay. A part that does not answer is always told of:
`asked` returns it by name with the reason, beside what the others say.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError
from indexes.records.exact import Neighbors, best
from indexes.records.manifest import MANIFEST, read_manifest, write_manifest
from indexes.records.shards import EncoderRecord, bad_manifest

PARTS = "beholder-parts"
PARTS_FORMAT = 1
PART_BITS = 40  # a part may give out a million million ids; 8,192 parts keep all of them below 2^53, JSON's limit
MOST_PARTS = 1 << 13
WAITING = 64  # parts asked at once

Said = TypeVar("Said")


class PartDown(Exception):
    """A part that cannot be asked: not there, no answer, or none in time. The message is the reason."""


@dataclass(frozen=True)
class PartRecord:
    """A part: an INDEX folder, its path relative to the folder of the parts or absolute, or the URL of a service with
    the name of one of its indexes, http://host:8000/?index=NAME. `count` is what it held when the parts were named."""

    place: str
    count: int

    @property
    def is_remote(self) -> bool:
        return self.place.startswith(("http://", "https://"))


@dataclass(frozen=True)
class PartsManifest:
    """What an index of parts is of; the order of the parts decides their ids."""

    encoder: EncoderRecord
    parts: tuple[PartRecord, ...]

    @property
    def dimension(self) -> int:
        return self.encoder.width

    @property
    def count(self) -> int:
        """Pictures when the parts were named."""
        return sum(part.count for part in self.parts)

    @property
    def factory(self) -> str:
        """What kind of index it is, in words."""
        return f"{len(self.parts)} parts"

    def write(self, folder: Path) -> None:
        write_manifest(folder, PARTS, PARTS_FORMAT, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "PartsManifest":
        """Raises FormatError for another kind of folder, a newer format, or a manifest with something missing."""
        content = read_manifest(folder, PARTS, PARTS_FORMAT)
        try:
            parts = tuple(PartRecord(str(part["place"]), int(part["count"])) for part in content["parts"])
            manifest = cls(EncoderRecord.from_dict(content["encoder"]), parts)
        except (KeyError, TypeError, ValueError) as error:
            raise bad_manifest(folder, error) from error
        if not 1 <= len(parts) <= MOST_PARTS:
            raise FormatError(f"{folder / MANIFEST} names {len(parts)} parts", f"1 to {MOST_PARTS:,}")
        return manifest


def is_parts(folder: Path) -> bool:
    """Whether a folder is an index of parts; False where it is anything else, or nothing."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return b'"kind": "beholder-parts"' in stream.read(1 << 20)


def write_parts(folder: Path, encoders: Sequence[EncoderRecord], parts: Sequence[PartRecord]) -> PartsManifest:
    """Makes (or replaces) the folder of an index of parts. encoders: one per part.

    Raises BeholderError for no parts, a part twice, parts of different encoders, a folder of another kind.
    """
    if not 1 <= len(parts) <= MOST_PARTS:
        raise BeholderError(f"{len(parts)} parts", f"1 to {MOST_PARTS:,} parts")
    places = [part.place for part in parts]
    twice = [place for place in places if places.count(place) > 1]
    if twice:
        raise BeholderError(f"{twice[0]} is named twice", "each part once")
    for part, encoder in zip(parts, encoders, strict=True):
        if encoder.image_fingerprint != encoders[0].image_fingerprint:
            raise BeholderError(
                f"{part.place} is of {encoder.name} (pictures {encoder.image_fingerprint[:12]})",
                f"{encoders[0].name} (pictures {encoders[0].image_fingerprint[:12]}) as {parts[0].place}",
                "Embed its pictures with the same encoder.",
            )
    if folder.exists() and not is_parts(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise BeholderError(f"{folder} is there and no index of parts", "a new folder", "Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = PartsManifest(encoders[0], tuple(parts))
    manifest.write(folder)
    return manifest


@dataclass(frozen=True)
class Down:
    """A part that did not answer, and why."""

    number: int
    place: str
    reason: str


@dataclass(frozen=True)
class Asked(Generic[Said]):
    """What the parts said, by number, and which said nothing."""

    said: Mapping[int, Said]
    down: tuple[Down, ...]


def asked(places: Sequence[str], ask: Callable[[int], Said]) -> Asked[Said]:
    """ask(number) of every part, all at once. A part whose `ask` raises PartDown is down; any other error is raised."""

    def one(number: int) -> Said | Down:
        try:
            return ask(number)
        except PartDown as error:
            return Down(number, places[number], str(error))

    with ThreadPoolExecutor(min(WAITING, len(places)), "parts") as pool:
        found = list(pool.map(one, range(len(places))))
    said = {number: answer for number, answer in enumerate(found) if not isinstance(answer, Down)}
    return Asked(said, tuple(answer for answer in found if isinstance(answer, Down)))


def merged(found: Mapping[int, Neighbors], k: int) -> Neighbors:
    """The best min(k, all) of each query among the answers of parts, by number, with ids over all of them. Equal
    scores keep the order of parts, and within a part that of its ids. Raises BeholderError for ids beyond a part's
    room."""
    order = sorted(found)
    queries = len(found[order[0]].ids) if order else 0
    ids = [np.empty((queries, 0), np.int64), *(whole_ids(number, found[number].ids) for number in order)]
    scores = [np.empty((queries, 0), np.float32), *(found[number].scores for number in order)]
    return best(np.concatenate(scores, axis=1), np.concatenate(ids, axis=1), k)


def whole_ids(number: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids within a part as ids over all parts."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << PART_BITS):
        raise BeholderError(f"part {number} has the id {ids.max()}", f"ids below {1 << PART_BITS:,}", "Build it again.")
    return np.asarray(ids + (number << PART_BITS), np.int64)


def split_id(identity: int) -> tuple[int, int]:
    """(part, id within it) of an id over all parts."""
    return identity >> PART_BITS, identity & ((1 << PART_BITS) - 1)


def resolved(folder: Path, record: PartRecord) -> Path:
    """The INDEX folder of a part on this machine."""
    return (folder / record.place).resolve()
