"""The INDEX folder: immutable segments and the manifest that names the live ones.

`segments/<id>/{vectors.arrow, items.parquet, index.faiss}` with rows in one order in all three, ids rising;
`removed-<sha12>.arrow` beside them: ids taken out of the segment (tombstones); `manifest.json`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import BeholderError, FormatError
from .manifest import FileRecord, check_file, publish, read_manifest, record_file, sha256_bytes, write_manifest
from .shards import (
    EncoderRecord,
    bad_manifest,
    check_ids,
    check_rows,
    checked_blocks,
    file_record,
    read_items,
)
from .vectors import VectorFile

INDEX = "beholder-index"
INDEX_FORMAT = 2
TOMBSTONES: Any = pa.schema([("id", pa.int64())])


def upgraded_from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 1 listed removed ids in the manifest (and none could be) and had no room for measurements."""
    segments = [{**segment, "tombstones": None} for segment in content["segments"]]
    if any(segment["tombstones"] for segment in content["segments"]):
        raise ValueError("tombstones in format 1, which could not have any")
    rest = {name: value for name, value in content.items() if name != "knn_recall"}
    return {**rest, "segments": segments, "measured": None, "format": 2}


UPGRADES = {1: upgraded_from_1}


@dataclass(frozen=True)
class SegmentRecord:
    """A segment: `count` rows in three files, less the ids that the file `tombstones` lists."""

    id: str
    count: int
    vectors: FileRecord
    items: FileRecord
    faiss: FileRecord
    tombstones: FileRecord | None = None

    @property
    def files(self) -> tuple[FileRecord, ...]:
        three = self.vectors, self.items, self.faiss
        return three if self.tombstones is None else (*three, self.tombstones)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "SegmentRecord":
        files = {name: file_record(content[name]) for name in ("vectors", "items", "faiss")}
        removed = content["tombstones"]
        return cls(**{**content, **files, "tombstones": None if removed is None else file_record(removed)})


def write_tombstones(folder: Path, segment_id: str, ids: NDArray[np.int64]) -> FileRecord:
    """Writes the removed ids (n,) of a segment. The name follows from the content, so a file that an open
    reader or the old manifest names is never written over."""
    rising = np.unique(np.asarray(ids, np.int64))
    path = f"segments/{segment_id}/removed-{sha256_bytes(rising.tobytes())[:12]}.arrow"
    temporary = (folder / path).with_name(f".{Path(path).name}.tmp")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, TOMBSTONES) as writer:
        writer.write_batch(pa.record_batch([pa.array(rising)], schema=TOMBSTONES))
    publish(temporary, folder / path)
    return record_file(folder, path)


def read_tombstones(folder: Path, record: FileRecord | None) -> NDArray[np.int64]:
    """The removed ids (n,), rising; none without a file. Raises FormatError for a file that is no such list."""
    if record is None:
        return np.empty(0, np.int64)
    path = folder / record.path
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all()
        if not table.schema.equals(TOMBSTONES) or table.column("id").null_count:
            raise FormatError(f"{path} holds {table.schema}", "one column of ids", "Make the folder again.")
        ids = np.array(table.column("id").to_numpy(), np.int64)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read ({error})", "removed ids", "Make the folder again.") from error
    if (np.diff(ids) <= 0).any():
        raise FormatError(f"{path} has ids out of order", "rising ids", "Make the folder again.")
    return ids


@dataclass(frozen=True)
class IndexManifest:
    """What an INDEX folder holds. The same embeddings and the same configuration give the same manifest."""

    encoder: EncoderRecord
    embeddings: str  # sha256 of the manifest of the EMBEDDINGS folder it was built from
    source: str  # the folder of pictures, relative to the INDEX folder, or absolute
    factory: str  # FAISS's name for the kind of index: "Flat", "IVF400,Flat"
    parameters: dict[str, Any]  # of search: {}, {"nprobe": n} or {"efSearch": n}; see search.Index.search
    settings: dict[str, Any]  # the IndexConfig
    segments: tuple[SegmentRecord, ...]
    count: int  # of live pictures: rows of all segments less the removed ones
    next_id: int  # above every id ever given out: ids are never used again
    measured: dict[str, Any] | None = None  # by the planner: knn_recall, its interval, speed; None: not measured

    @property
    def dimension(self) -> int:
        return self.encoder.width

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "IndexManifest":
        """Raises KeyError, TypeError or ValueError for content that is not such a manifest."""
        fields = {name: content[name] for name in cls.__dataclass_fields__}
        fields["encoder"] = EncoderRecord.from_dict(content["encoder"])
        fields["segments"] = tuple(SegmentRecord.from_dict(segment) for segment in content["segments"])
        held = sum(segment.count for segment in fields["segments"])
        removed = any(segment.tombstones for segment in fields["segments"])
        if not 0 <= fields["count"] <= held or (fields["count"] != held and not removed):
            raise ValueError(f"count {fields['count']}, but the segments hold {held}")
        return cls(**fields)

    def write(self, folder: Path) -> None:
        """Makes the folder a finished one; call it when every file of it is in place."""
        write_manifest(folder, INDEX, INDEX_FORMAT, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> "IndexManifest":
        """Raises FormatError for another kind of folder, a newer format, or a manifest with something
        missing."""
        try:
            return cls.from_dict(read_manifest(folder, INDEX, INDEX_FORMAT, UPGRADES))
        except BeholderError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise bad_manifest(folder, error) from error


def check_removed(where: str, ids: NDArray[np.int64], removed: NDArray[np.int64]) -> None:
    """Raises FormatError unless every removed id is one of the segment's ids."""
    if not np.isin(removed, ids).all():
        strange = removed[~np.isin(removed, ids)][0]
        raise FormatError(f"{where} removes id {strange}", "ids of its own segment", "Make the folder again.")


def verify_index(folder: str | Path) -> int:
    """The number of files checked: sha256 of each, row counts, unique rising ids, unit rows, items of the same
    ids, removed ids.

    Raises FormatError at the first thing that is wrong.
    """
    folder = Path(folder)
    manifest = IndexManifest.read(folder)
    seen, live = [], 0
    for segment in manifest.segments:
        for record in segment.files:
            check_file(folder, record)
        path = folder / segment.vectors.path
        ids = checked_blocks(str(path), VectorFile(path, manifest.dimension).blocks(65536))
        check_rows(str(path), ids, read_items(folder / segment.items.path), segment.count)
        removed = read_tombstones(folder, segment.tombstones)
        check_removed(str(path), np.concatenate([np.empty(0, np.int64), *ids]), removed)
        live += segment.count - len(removed)
        seen += ids
    check_ids(folder, seen, manifest.next_id)
    if live != manifest.count:
        raise FormatError(f"{folder} has {live} live pictures", f"{manifest.count}", "Build it again.")
    return sum(len(segment.files) for segment in manifest.segments)
