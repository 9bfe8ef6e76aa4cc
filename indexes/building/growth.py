"""An INDEX that grows and shrinks: add, remove, merge, compact.

Segments are never changed. Each of these writes new files under new names and then the manifest, so an index
that is killed at any moment is the old one or the new one; the next writer clears what no manifest names.
Files that the new manifest no longer names lose their names at once: a reader that has the index open has
opened them all, and keeps answering from them. Ids are the INDEX's own and are never used again.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.engine.factories import lists_for, parse, rescaled
from indexes.engine.faiss_build import Progress
from indexes.errors import BeholderError
from indexes.records.locks import locked
from indexes.records.manifest import MANIFEST, publish, record_file, sha256_file
from indexes.records.score_columns import ScoreRecord
from indexes.records.scores import FOLDER as SCORES
from indexes.records.scores import ScoreColumn
from indexes.records.segments import INDEX_FORMAT, IndexManifest, SegmentRecord, read_tombstones, write_tombstones
from indexes.records.shards import Embeddings, EncoderRecord, read_items, write_items
from indexes.records.vectors import Block, VectorFile, write_vectors
from indexes.searching.safety import admit, remember
from indexes.searching.segment_reader import Effort

from .growth_scores import drifts, pending, refreshed, scores_at, scores_in, with_column, with_drift, with_scores
from .index_config import FLAT_UP_TO
from .membership import compute, keys, known_keys, live_rows, new_rows, relative_source, with_ids
from .membership import gone_from as gone_from
from .membership import missing_ids as missing_ids
from .segment_writer import Rows, Training, write_segment


@dataclass(frozen=True)
class Growth:
    """What a call changed, and what the index holds now."""

    added: int
    known: int  # pictures that were there already, by uri and sha256: not added again
    removed: int
    count: int
    segments: int
    unscored: dict[str, int] = field(default_factory=dict)  # added pictures without a score, by scorer
    drift: dict[str, float] = field(default_factory=dict)  # percentile points, by scorer, where over 5: compact then


def add(index: str | Path, embeddings: str | Path, *, threads: int = 0, progress: Progress | None = None) -> Growth:
    """Adds the pictures of an EMBEDDINGS folder that the INDEX has not, by uri and sha256, as one new segment.

    Up to index_config.FLAT_UP_TO of them are kept Flat, more as the index is. Their scores come out of `embeddings`,
    and are mapped through the index's percentiles. Raises BeholderError where another encoder made the embeddings,
    another version of a scorer the scores, or another writer is at work.
    """
    folder, source = Path(index), Embeddings(embeddings)
    with locked(_checked(folder)):
        before = IndexManifest.read(folder)
        check_same_encoder(before.encoder, source.manifest.encoder, folder)
        _sweep(folder, before)
        prefix = relative_source(source.folder, source.manifest.source, folder, before.source)
        rows, known = new_rows(source, known_keys(folder, before), prefix, before.next_id)
        if not rows.count:
            return Growth(0, known, 0, before.count, len(before.segments))
        digest = sha256_file(source.folder / MANIFEST)
        factory = grown_factory(before.factory, rows.count)
        scores = scores_in(source.folder, rows, before.scores)
        rows, records, unscored = with_scores(folder, before, rows, scores)
        recipe = before.next_id, rows.count, factory, before.settings, _said(records)
        segment_id = _name("add", digest, before.embeddings, *recipe)
        segment = write_segment(folder, segment_id, rows, factory, _training(before, threads), progress)
        after = replace(
            before,
            embeddings=_chained(before.embeddings, digest),
            segments=(*before.segments, segment),
            count=before.count + rows.count,
            next_id=before.next_id + rows.count,
            measured=_stale(before),
            scores=records,
        )
        after = _publish(folder, after)
        return Growth(rows.count, known, 0, after.count, len(after.segments), unscored, drifts(after.scores))


def remove(index: str | Path, ids: Iterable[int] | NDArray[np.int64]) -> Growth:
    """Removes pictures from all later searches. Their rows stay in the files until `compact`.

    Raises BeholderError for an id that the index does not hold; then nothing is removed.
    """
    folder = Path(index)
    wanted = np.unique(np.fromiter(ids, np.int64))
    with locked(_checked(folder)):
        before = IndexManifest.read(folder)
        _sweep(folder, before)
        segments, left = [], wanted
        for segment in before.segments:
            gone = read_tombstones(folder, segment.tombstones)
            held = _ids(folder, before, segment)
            mine = np.intersect1d(left, np.setdiff1d(held, gone, assume_unique=True), assume_unique=True)
            left = np.setdiff1d(left, mine, assume_unique=True)
            if not len(mine):
                segments.append(segment)
            elif len(mine) + len(gone) < segment.count:
                removed = write_tombstones(folder, segment.id, np.concatenate([gone, mine]))
                segments.append(replace(segment, tombstones=removed))
        if len(left):
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise BeholderError(f"id {left[0]}{more} not in {folder}", "ids of pictures that it holds")
        after = replace(before, segments=tuple(segments), count=before.count - len(wanted))
        if len(wanted):
            after = _publish(folder, replace(after, measured=_stale(before)))
        return Growth(0, 0, len(wanted), after.count, len(after.segments), {}, drifts(after.scores))


def merge(index: str | Path, others: Sequence[str | Path], *, threads: int = 0) -> Growth:
    """Takes the pictures of other indexes into this one, under new ids. FAISS's files are copied as they are, unless
    scorers are among the dimensions: percentiles are an index's own, and such segments are built again.

    Pictures that the index has already, by uri and sha256, are left out. Raises BeholderError for an index of
    another encoder, before anything is written, and for scores of another version of a scorer.
    """
    folder, added, known = Path(index), 0, 0
    unscored: dict[str, int] = {}
    with locked(_checked(folder)):
        before = after = IndexManifest.read(folder)
        manifests = [IndexManifest.read(Path(other)) for other in others]
        for other, manifest in zip(others, manifests, strict=True):
            if Path(other).resolve() == folder.resolve():
                raise BeholderError(f"{folder} into itself", "another index")
            check_same_encoder(before.encoder, manifest.encoder, Path(other))
            admit(other)  # its FAISS files become ours
        _sweep(folder, before)
        for other, manifest in zip(others, manifests, strict=True):
            after, more, had = _taken(folder, after, Path(other), manifest, unscored, threads)
            added, known = added + more, known + had
        if added:
            after = _publish(folder, replace(after, measured=_stale(before)))
        return Growth(added, known, 0, after.count, len(after.segments), unscored, drifts(after.scores))


def _taken(
    folder: Path, before: IndexManifest, other: Path, manifest: IndexManifest, unscored: dict[str, int], threads: int
) -> tuple[IndexManifest, int, int]:
    """The manifest with the other index's segments taken in, and how many pictures were new and known; counts of
    pictures without a score are added to `unscored`."""
    prefix = relative_source(other, manifest.source, folder, before.source)
    held, added, known, segments = known_keys(folder, before).column("key"), 0, 0, []
    offset = before.next_id
    for segment in manifest.segments:
        opened = VectorFile(other / segment.vectors.path, manifest.dimension)
        ids, gone = opened.ids(), read_tombstones(other, segment.tombstones)
        items = with_ids(read_items(other / segment.items.path), ids + offset, prefix)
        there = compute.is_in(keys(items), value_set=held).to_numpy(zero_copy_only=False)
        live = ~np.isin(ids, gone)
        known += int((live & there).sum())
        fresh = live & ~there
        if not fresh.any():
            continue
        rows = _fresh_rows(opened, np.flatnonzero(fresh), offset, items)
        scores = scores_at(other, manifest, before.scores, ids[fresh])
        rows, records, without = with_scores(folder, before, rows, scores)
        before = replace(before, scores=records)
        for name, count in without.items():
            unscored[name] = unscored.get(name, 0) + count
        segment_id = _name(
            "merge", segment.id, segment.faiss.sha256, segment.items.sha256, offset, prefix, _said(records)
        )
        if before.in_index or manifest.in_index:
            factory = grown_factory(before.factory, rows.count)
            record = write_segment(folder, segment_id, rows, factory, _training(before, threads))
        else:
            record = _copied(folder, other, segment, segment_id, opened, offset, items)
            if not fresh.all():
                record = replace(record, tombstones=write_tombstones(folder, segment_id, ids[~fresh] + offset))
        segments.append(record)
        added += int(fresh.sum())
    after = replace(
        before,
        embeddings=_chained(before.embeddings, manifest.embeddings) if added else before.embeddings,
        segments=(*before.segments, *segments),
        count=before.count + added,
        next_id=offset + manifest.next_id if added else offset,
    )
    return after, added, known


def _fresh_rows(opened: VectorFile, positions: NDArray[np.int64], offset: int, items: Any) -> Rows:
    """Some rows of a segment, at positions (n,), under the ids that its items have by now."""
    chosen, ids = items.take(positions), opened.ids()

    def blocks() -> Iterator[Block]:
        for start in range(0, len(positions), 65536):
            part = positions[start : start + 65536]
            yield ids[part] + offset, opened.rows_at(part)

    return Rows(len(positions), opened.dimension, blocks, chosen.schema.remove_metadata(), lambda: iter([chosen]))


def _copied(
    folder: Path, other: Path, segment: SegmentRecord, segment_id: str, opened: VectorFile, offset: int, items: Any
) -> SegmentRecord:
    """A segment with new ids: vectors and items written again, FAISS's file (which knows rows only) copied."""
    final = folder / "segments" / segment_id
    temporary = final.with_name(f".{segment_id}.tmp")
    temporary.mkdir(parents=True)
    shifted = ((ids + offset, vectors) for ids, vectors in opened.blocks(65536))
    write_vectors(temporary / "vectors.arrow", opened.dimension, shifted)
    write_items(temporary / "items.parquet", items)
    shutil.copyfile(other / segment.faiss.path, temporary / ".index.faiss.tmp")
    publish(temporary / ".index.faiss.tmp", temporary / "index.faiss")
    publish(temporary, final)
    names = "vectors.arrow", "items.parquet", "index.faiss"
    vectors, table, faiss = (record_file(folder, f"segments/{segment_id}/{name}") for name in names)
    return SegmentRecord(segment_id, segment.count, vectors, table, faiss)


def compact(
    index: str | Path, *, factory: str | None = None, threads: int = 0, progress: Progress | None = None
) -> Growth:
    """Writes all live rows as one segment, under the ids that they have; removed rows are gone from the disk
    then. Percentiles are those of the live pictures again, and all scorers become dimensions. An index of one segment
    with nothing removed, whose scores stand, stays as it is, unless another factory is given.
    """
    folder = Path(index)
    with locked(_checked(folder)):
        before = IndexManifest.read(folder)
        _sweep(folder, before)
        chosen = factory or compacted_factory(before)
        plain = len(before.segments) == 1 and before.segments[0].tombstones is None
        if (plain and chosen == before.factory and not pending(before)) or not before.count:
            if not before.count and before.segments:
                _publish(folder, replace(before, segments=()))
            return Growth(0, 0, 0, before.count, min(len(before.segments), before.count))
        rows, records = refreshed(folder, before, live_rows(folder, before))
        was = [[s.id, s.tombstones.sha256 if s.tombstones else ""] for s in before.segments]
        segment_id = _name("compact", was, chosen, before.settings, _said(records))
        segment = write_segment(folder, segment_id, rows, chosen, _training(before, threads), progress)
        after = replace(
            before,
            embeddings=_chained(before.embeddings, segment_id),
            factory=chosen,
            parameters=before.parameters if chosen == before.factory else first_parameters(chosen),
            segments=(segment,),
            measured=_stale(before),
            scores=tuple(record if chosen == before.factory else replace(record, steps={}) for record in records),
        )
        _publish(folder, after)
        return Growth(0, 0, sum(s.count for s in before.segments) - before.count, after.count, 1)


def add_scores(index: str | Path, column: ScoreColumn) -> ScoreRecord:
    """Puts scores on a built INDEX, by sha256: for filters, sorting and re-ranking at once, and for beauty weights
    after `compact`. Its record: `count` says how many pictures have one.

    Raises BeholderError for a column that knows no picture of the index, or another version of a scorer that is among
    its dimensions.
    """
    folder = Path(index)
    with locked(_checked(folder)):
        before = IndexManifest.read(folder)
        _sweep(folder, before)
        after, record = with_column(folder, before, column)
        _publish(folder, after)
        return record


def grown_factory(factory: str, count: int) -> str:
    """FAISS's name for `count` rows that join an index of `factory`: Flat while a scan is quick, else the
    same kind with the lists that so many rows can train."""
    return "Flat" if count <= FLAT_UP_TO else rescaled(factory, count)


def compacted_factory(manifest: IndexManifest) -> str:
    """The factory for all live rows: chosen again by their number where the builder chose it by that alone,
    else the manifest's, with fewer lists where there are fewer rows than lists."""
    if manifest.measured is None and manifest.settings.get("factory") == "auto":
        return "Flat" if manifest.count <= FLAT_UP_TO else f"IVF{lists_for(manifest.count)},Flat"
    lists = parse(manifest.factory).lists
    return rescaled(manifest.factory, manifest.count) if lists > manifest.count else manifest.factory


def first_parameters(factory: str) -> dict[str, Any]:
    """Search parameters to begin with, until `tune` has measured: a sixteenth of the lists, at least 8."""
    kind = parse(factory)
    values: dict[str, Any] = {}
    if kind.lists:
        values["nprobe"] = min(kind.lists, max(8, kind.lists // 16))
    if kind.graph:
        values["efSearch"] = Effort.ef_search
    if kind.rescores:
        values["candidates"] = Effort.candidates
    return values


def check_same_encoder(ours: EncoderRecord, theirs: EncoderRecord, folder: Path) -> None:
    """Two encoders agree on pictures iff their image fingerprints agree."""
    if ours.image_fingerprint != theirs.image_fingerprint or ours.width != theirs.width:
        raise BeholderError(
            f"{folder} is of encoder {theirs.name} (pictures {theirs.image_fingerprint[:12]})",
            f"{ours.name} (pictures {ours.image_fingerprint[:12]})",
            f"Embed its pictures again with --model {ours.name}.",
        )


def _checked(folder: Path) -> Path:
    """The folder, known to be an INDEX (and one that is safe to open) before anything is put into it."""
    admit(folder)
    return folder


def _ids(folder: Path, manifest: IndexManifest, segment: SegmentRecord) -> NDArray[np.int64]:
    return VectorFile(folder / segment.vectors.path, manifest.dimension).ids()


def _training(manifest: IndexManifest, threads: int) -> Training:
    """As the index was trained; what its settings do not say is our default."""
    known = manifest.settings
    rows = int(known.get("train_rows", Training.train_rows))
    return Training(int(known.get("seed", 0)), rows, threads)


def _name(*recipe: Any) -> str:
    """A segment's id: of what it is made, so that the same call makes the same bytes."""
    return hashlib.sha256(json.dumps([INDEX_FORMAT, *recipe], sort_keys=True).encode()).hexdigest()[:16]


def _chained(before: str, digest: str) -> str:
    """For `embeddings` of a grown index: it is not of one folder any more, and `build` must not take it for
    the index of one."""
    return hashlib.sha256(f"{before} {digest}".encode()).hexdigest()


def _stale(manifest: IndexManifest) -> dict[str, Any] | None:
    """What was measured, marked: the rows are others now, until it is measured again."""
    return None if manifest.measured is None else {**manifest.measured, "stale": True}


def _said(records: Iterable[ScoreRecord]) -> list[list[Any]]:
    """What a segment's name says of scores."""
    return [[record.name, record.file.sha256, record.in_index] for record in records]


def _publish(folder: Path, manifest: IndexManifest) -> IndexManifest:
    """Writes the manifest, with what its scores have drifted to, and returns it."""
    manifest = with_drift(folder, manifest)
    manifest.write(folder)
    remember(folder)
    _sweep(folder, manifest)
    return manifest


def _sweep(folder: Path, manifest: IndexManifest) -> None:
    """Removes what the manifest does not name: replaced segments, old lists of removed ids, the remains of a
    killed run. The caller holds the lock."""
    (folder / f".{MANIFEST}.tmp").unlink(missing_ok=True)
    columns = {record.file.path for record in manifest.scores}
    for path in folder.glob(f"{SCORES}/*"):
        if path.relative_to(folder).as_posix() not in columns:
            path.unlink()
    named = {segment.id: {Path(file.path).name for file in segment.files} for segment in manifest.segments}
    for segment in (folder / "segments").glob("*"):
        if segment.name not in named:
            shutil.rmtree(segment)
            continue
        for file in segment.iterdir():
            if file.name not in named[segment.name]:
                file.unlink()
