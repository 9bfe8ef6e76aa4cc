"""Scores of an INDEX that grows: pictures that join are mapped through the frozen percentiles, `compact` freezes them
anew, and a scorer that came later is a column until `compact` makes it a dimension.

How far the frozen percentiles lie from those of the pictures now is the scorer's drift, in percentile points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.percentiles import drift
from indexes.records.score_columns import ScoreFile, ScoreRecord, ScoreValues, write_score_values
from indexes.records.scores import ScoreColumn, ScoreLookup, column_name, found_scores, read_scores
from indexes.records.segments import IndexManifest, read_tombstones
from indexes.records.shards import read_items
from indexes.records.vectors import VectorFile

from .segment_writer import Rows
from .standing import beauty_of, joined, mapped_standing, own_standing, row_ids, row_scores, write_standing

SAID = 5.0  # percentile points of drift from which a caller is told

Scores = Mapping[str, NDArray[np.float32]]  # by scorer, (n,), NaN for none


def scores_in(source: Path, rows: Rows, records: Sequence[ScoreRecord]) -> dict[str, NDArray[np.float32]]:
    """The scores of rows by each scorer, out of an EMBEDDINGS folder; all NaN where it has none of a scorer. Raises
    BeholderError for scores of another version of a scorer."""
    files, found = found_scores(source), {}
    for record in records:
        if record.name not in files:
            found[record.name] = np.full(rows.count, np.nan, np.float32)
            continue
        column = read_scores(files[record.name])
        check_same_scorer(record, column.fingerprint, files[record.name])
        found[record.name] = row_scores(rows, column)
    return found


def check_same_scorer(record: ScoreRecord, fingerprint: str, where: Path) -> None:
    if record.fingerprint != fingerprint:
        found = f"{where} has scores of {record.name} {fingerprint[:12]}"
        raise BeholderError(found, f"of {record.fingerprint[:12]}, as the index", "Score the pictures again.")


def with_scores(
    folder: Path, before: IndexManifest, rows: Rows, scores: Scores
) -> tuple[Rows, tuple[ScoreRecord, ...], dict[str, int]]:
    """The rows with normal scores for the index's dimensions, its records with their scores in, and how many of the
    rows have none, by scorer. New files are written; no manifest names them yet."""
    ids, records, inside = row_ids(rows), [], []
    for record in before.scores:
        new = mapped_standing(ids, scores[record.name], record.percentiles)
        if record.in_index:
            inside.append((record.name, new))
        if len(new.ids):
            whole = joined([ScoreFile(folder, record).values(), new])
            record = replace(record, file=write_score_values(folder, record.name, whole), count=len(whole.ids))
        records.append(record)
    unscored = {name: int(np.isnan(values).sum()) for name, values in scores.items()}
    beauty = beauty_of(ids, inside)
    return replace(rows, beauty=beauty), tuple(records), {name: count for name, count in unscored.items() if count}


def refreshed(folder: Path, before: IndexManifest, rows: Rows) -> tuple[Rows, tuple[ScoreRecord, ...]]:
    """The rows of `compact` with all scorers as dimensions, and their records with percentiles of these rows. Search
    parameters per beauty weight stay where the dimensions do."""
    ids, records, inside = row_ids(rows), [], []
    order = np.argsort(ids)
    same = all(record.in_index for record in before.scores)
    for record in before.scores:
        scores, _ = ScoreFile(folder, record).values().at(ids)
        values, table = own_standing(ids[order], scores[order], lower_is_better=record.lower_is_better)
        column = ScoreColumn(record.name, record.fingerprint, record.card, [], scores[:0])
        written = write_standing(folder, column, values, table, in_index=True, default=record.default)
        records.append(replace(written, steps=record.steps if same else {}))
        inside.append((record.name, values))
    return replace(rows, beauty=beauty_of(ids, inside)), tuple(records)


def pending(manifest: IndexManifest) -> bool:
    """Whether `compact` would change the scores: a scorer that is no dimension yet, or percentiles that drifted."""
    return any(not record.in_index or record.drift for record in manifest.scores)


def with_drift(folder: Path, manifest: IndexManifest) -> IndexManifest:
    """The manifest with the drift of each scorer over its live pictures."""
    if not manifest.scores:
        return manifest
    live = live_ids(folder, manifest)
    records = []
    for record in manifest.scores:
        scores, _ = ScoreFile(folder, record).values().at(live)
        scores = scores[~np.isnan(scores)]
        moved = drift(scores, record.percentiles, lower_is_better=record.lower_is_better)
        # Between knots of the table lies a rounding that is no drift.
        same = len(scores) == record.percentiles.count and moved < 1
        records.append(replace(record, drift=0.0 if same else round(moved, 3)))
    return replace(manifest, scores=tuple(records))


def live_ids(folder: Path, manifest: IndexManifest) -> NDArray[np.int64]:
    parts = [np.empty(0, np.int64)]
    for segment in manifest.segments:
        ids = VectorFile(folder / segment.vectors.path, manifest.dimension).ids()
        parts.append(np.setdiff1d(ids, read_tombstones(folder, segment.tombstones), assume_unique=True))
    return np.concatenate(parts)


def drifts(records: Sequence[ScoreRecord]) -> dict[str, float]:
    """Those worth saying, in percentile points by scorer."""
    return {record.name: record.drift for record in records if record.drift > SAID}


def with_column(folder: Path, before: IndexManifest, column: ScoreColumn) -> tuple[IndexManifest, ScoreRecord]:
    """The manifest with a column of scores, for filters, sorting and re-ranking, and its record.

    A scorer that the index has already: as a column it is replaced; as a dimension its scores stay, and pictures
    without one get theirs (dimensions follow at `compact`). Raises BeholderError for a column that knows no picture of
    the index, another version of a scorer that is a dimension, or a name that is another's column.
    """
    ids, scores = _looked_up(folder, before, column)
    if not len(ids) or np.isnan(scores).all():
        raise BeholderError(f"scores of {column.name} for none of {before.count} pictures of {folder}", "for some")
    known = next((record for record in before.scores if record.name == column.name), None)
    for record in before.scores:
        if record is not known and record.column == column_name(column.name):
            raise BeholderError(f"scorers {record.name} and {column.name}", "names that differ as columns do")
    if known is not None and known.in_index:
        check_same_scorer(known, column.fingerprint, folder)
        held = ScoreFile(folder, known).values()
        missing = ~np.isin(ids, held.ids)
        whole = joined([held, mapped_standing(ids[missing], scores[missing], known.percentiles)])
        made = replace(known, file=write_score_values(folder, known.name, whole), count=len(whole.ids))
    else:
        values, table = own_standing(ids, scores, lower_is_better=column.lower_is_better)
        made = write_standing(folder, column, values, table, in_index=False, default=False)
    if known is None:
        return replace(before, scores=(*before.scores, made)), made
    return replace(before, scores=tuple(made if record is known else record for record in before.scores)), made


def _looked_up(
    folder: Path, manifest: IndexManifest, column: ScoreColumn
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(ids rising, scores, NaN for none) of all live pictures."""
    lookup, parts = ScoreLookup(column), []
    for segment in manifest.segments:
        items = read_items(folder / segment.items.path)
        ids = np.array(items.column("id").to_numpy(), np.int64)
        live = ~np.isin(ids, read_tombstones(folder, segment.tombstones))
        parts.append((ids[live], lookup.of(items.column("sha256").to_pylist())[live]))
    ids = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
    scores = np.concatenate([np.empty(0, np.float32), *(part[1] for part in parts)])
    order = np.argsort(ids)
    return ids[order], scores[order]


def scores_at(other: Path, manifest: IndexManifest, records: Sequence[ScoreRecord], ids: NDArray[np.int64]) -> Scores:
    """The scores of another index's pictures ids (n,) by each scorer; all NaN where it has none of a scorer. Raises
    BeholderError for scores of another version of a scorer."""
    theirs: dict[str, ScoreRecord] = {record.name: record for record in manifest.scores}
    found: dict[str, NDArray[np.float32]] = {}
    for record in records:
        if record.name not in theirs:
            found[record.name] = np.full(len(ids), np.nan, np.float32)
            continue
        check_same_scorer(record, theirs[record.name].fingerprint, other)
        values: ScoreValues = ScoreFile(other, theirs[record.name]).values()
        found[record.name] = values.at(ids)[0]
    return found
