"""The INDEX folder: immutable segments and the manifest that names the live ones.

`segments/<id>/{vectors.arrow, items.parquet, index.faiss}` with rows in one order in all three, ids rising;
`beauty.arrow` beside them where scorers are among the index's dimensions; `removed-<sha12>.arrow`: ids taken out of
the segment (tombstones); `scores/<scorer>-<sha12>.parquet`; `manifest.json`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError

from .beauty_file import NormalScoresFile
from .manifest import FileRecord, check_file, publish, read_manifest, record_file, sha256_bytes, write_manifest
from .score_columns import ScoreFile, ScoreRecord
from .shards import EncoderRecord, bad_manifest, check_ids, check_rows, checked_blocks, file_record, read_items
from .vectors import VectorFile

INDEX = "beholder-index"
INDEX_FORMAT = 3
TOMBSTONES: Any = pa.schema([("id", pa.int64())])


def upgraded_from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 1 listed removed ids in the manifest (and none could be) and had no room for measurements."""
    segments = [{**segment, "tombstones": None} for segment in content["segments"]]
    if any(segment["tombstones"] for segment in content["segments"]):
        raise ValueError("tombstones in format 1, which could not have any")
    rest = {name: value for name, value in content.items() if name != "knn_recall"}
    return {**rest, "segments": segments, "measured": None, "format": 2}


def upgraded_from_2(content: dict[str, Any]) -> dict[str, Any]:
    """Format 2 had no scores, no spread of relevance and no calibration."""
    segments = [{**segment, "beauty": None} for segment in content["segments"]]
    settings = {"scorers": [], "default_scorer": "", "scores": {}, **content["settings"]}
    new: dict[str, Any] = {"scores": [], "spread": None, "calibration": None, "format": 3}
    return {**content, **new, "segments": segments, "settings": settings}


UPGRADES = {1: upgraded_from_1, 2: upgraded_from_2}


@dataclass(frozen=True)
class SegmentRecord:
    """A segment: `count` rows in three files, less the ids that the file `tombstones` lists; `beauty`: its normal
    scores, where scorers are among the dimensions."""

    id: str
    count: int
    vectors: FileRecord
    items: FileRecord
    faiss: FileRecord
    tombstones: FileRecord | None = None
    beauty: FileRecord | None = None

    @property
    def files(self) -> tuple[FileRecord, ...]:
        others = (file for file in (self.beauty, self.tombstones) if file is not None)
        return (self.vectors, self.items, self.faiss, *others)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "SegmentRecord":
        files: dict[str, FileRecord | None]
        files = {name: file_record(content[name]) for name in ("vectors", "items", "faiss")}
        for name in ("tombstones", "beauty"):
            files[name] = None if content[name] is None else file_record(content[name])
        return cls(**{**content, **files})


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
    scores: tuple[ScoreRecord, ...] = ()  # those in the index's dimensions first, in the order of these
    spread: dict[str, Any] | None = None  # value, queries, kind; see beauty.spread_of; None: no text query was known
    calibration: dict[str, Any] | None = None  # of relevance: what queries without an answer score

    @property
    def dimension(self) -> int:
        return self.encoder.width

    @property
    def in_index(self) -> tuple[ScoreRecord, ...]:
        """The scorers in the index's dimensions, in their order."""
        return tuple(record for record in self.scores if record.in_index)

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """All files that it names."""
        of_segments = (file for segment in self.segments for file in segment.files)
        return (*of_segments, *(record.file for record in self.scores))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "IndexManifest":
        """Raises KeyError, TypeError or ValueError for content that is not such a manifest."""
        fields = {name: content[name] for name in cls.__dataclass_fields__}
        fields["encoder"] = EncoderRecord.from_dict(content["encoder"])
        fields["segments"] = tuple(SegmentRecord.from_dict(segment) for segment in content["segments"])
        fields["scores"] = tuple(ScoreRecord.from_dict(record) for record in content["scores"])
        _check_scores(fields["scores"], fields["segments"], fields["spread"])
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


def _check_scores(
    scores: tuple[ScoreRecord, ...], segments: tuple[SegmentRecord, ...], spread: dict[str, Any] | None
) -> None:
    """Raises ValueError unless the scorers go with the segments and each other."""
    names = [record.name for record in scores]
    if len({record.column for record in scores}) != len(names):
        raise ValueError(f"scorers {', '.join(names)}, of which two are one column")
    known = [record.in_index for record in scores]
    if known != sorted(known, reverse=True) or sum(record.default for record in scores) > 1:
        raise ValueError("scorers out of order, or with several defaults")
    if any(known) and any(segment.beauty is None for segment in segments):
        raise ValueError("a segment without the normal scores of the scorers in the index")
    if spread is not None and not 0 <= float(spread["value"]) <= 1:
        raise ValueError(f"a spread of {spread['value']}")


def check_removed(where: str, ids: NDArray[np.int64], removed: NDArray[np.int64]) -> None:
    """Raises FormatError unless every removed id is one of the segment's ids."""
    if not np.isin(removed, ids).all():
        strange = removed[~np.isin(removed, ids)][0]
        raise FormatError(f"{where} removes id {strange}", "ids of its own segment", "Make the folder again.")


def check_normal_scores(opened: NormalScoresFile, manifest: "IndexManifest", folder: Path) -> None:
    """Raises FormatError unless a segment's normal scores are of the index's scorers, in its order."""
    wanted = tuple(record.name for record in manifest.in_index)
    if opened.scorers != wanted:
        found = f"{folder} has a segment with scorers {', '.join(opened.scorers)}"
        raise FormatError(found, ", ".join(wanted), "Build it again.")


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
        if segment.beauty is not None:
            opened = NormalScoresFile(folder / segment.beauty.path, segment.count)
            check_normal_scores(opened, manifest, folder)
            opened.check()
        removed = read_tombstones(folder, segment.tombstones)
        check_removed(str(path), np.concatenate([np.empty(0, np.int64), *ids]), removed)
        live += segment.count - len(removed)
        seen += ids
    check_ids(folder, seen, manifest.next_id)
    if live != manifest.count:
        raise FormatError(f"{folder} has {live} live pictures", f"{manifest.count}", "Build it again.")
    for scorer in manifest.scores:
        check_file(folder, scorer.file)
        ScoreFile(folder, scorer).values()
    return len(manifest.files)
