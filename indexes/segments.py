"""The INDEX folder: immutable segments and the manifest that names the live ones.

`segments/<id>/{vectors.arrow, items.parquet, index.faiss}` with rows in one order in all three;
`manifest.json`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import BeholderError
from .manifest import FileRecord, check_file, read_manifest, write_manifest
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
INDEX_FORMAT = 1


@dataclass(frozen=True)
class SegmentRecord:
    """A segment: `count` rows in three files, less the ids in `tombstones` (removed, not yet compacted
    away)."""

    id: str
    count: int
    vectors: FileRecord
    items: FileRecord
    faiss: FileRecord
    tombstones: tuple[int, ...] = ()

    @property
    def files(self) -> tuple[FileRecord, FileRecord, FileRecord]:
        return self.vectors, self.items, self.faiss

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "SegmentRecord":
        files = {name: file_record(content[name]) for name in ("vectors", "items", "faiss")}
        record = cls(**{**content, **files, "tombstones": tuple(content["tombstones"])})
        if record.tombstones:
            raise ValueError("tombstones, which this version cannot search around")
        return record


@dataclass(frozen=True)
class IndexManifest:
    """What an INDEX folder holds. The same embeddings and the same configuration give the same manifest."""

    encoder: EncoderRecord
    embeddings: str  # sha256 of the manifest of the EMBEDDINGS folder it was built from
    source: str  # the folder of pictures, relative to the INDEX folder, or absolute
    factory: str  # FAISS's name for the kind of index: "Flat", "IVF400,Flat"
    parameters: dict[str, Any]  # of search: {} or {"nprobe": n, "held_out": how n was chosen}
    settings: dict[str, Any]  # the IndexConfig
    segments: tuple[SegmentRecord, ...]
    count: int
    next_id: int  # above every id ever given out: ids are never used again
    knn_recall: float | None = None  # not measured with real queries yet

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
        if held != fields["count"]:
            raise ValueError(f"count {fields['count']}, but the segments hold {held}")
        return cls(**fields)

    def write(self, folder: Path) -> None:
        """Makes the folder a finished one; call it when every file of it is in place."""
        write_manifest(folder, INDEX, INDEX_FORMAT, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> "IndexManifest":
        """Raises FormatError for another kind of folder, a newer format, or a manifest with something
        missing."""
        content = read_manifest(folder, INDEX, INDEX_FORMAT)
        try:
            return cls.from_dict(content)
        except BeholderError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise bad_manifest(folder, error) from error


def verify_index(folder: str | Path) -> int:
    """The number of files checked: sha256 of each, row counts, unique ids, unit rows, items of the same ids.

    Raises FormatError at the first thing that is wrong.
    """
    folder = Path(folder)
    manifest = IndexManifest.read(folder)
    seen = []
    for segment in manifest.segments:
        for record in segment.files:
            check_file(folder, record)
        path = folder / segment.vectors.path
        ids = checked_blocks(str(path), VectorFile(path, manifest.dimension).blocks(65536))
        check_rows(str(path), ids, read_items(folder / segment.items.path), segment.count)
        seen += ids
    check_ids(folder, seen, manifest.next_id)
    return 3 * len(manifest.segments)
