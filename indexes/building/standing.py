"""Where pictures stand among those of an index: scores by row, their percentiles and normal scores of beauty.

An index that is built or compacted takes the percentiles of its own pictures and freezes them; pictures added later
are mapped through the frozen table. A picture without a score stands in the middle (normal score 0, no percentile)
and is counted: ScoreRecord.count says how many have one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.records.percentiles import Quantiles, frozen, normal_scores, percentiles
from indexes.records.score_columns import ScoreRecord, ScoreValues, write_score_values
from indexes.records.scores import ScoreColumn, ScoreLookup

from .segment_writer import Beauty, Rows


def row_scores(rows: Rows, column: ScoreColumn) -> NDArray[np.float32]:
    """The scores (N,) of rows in their order, by sha256; NaN where the column has none."""
    lookup = ScoreLookup(column)
    parts = [lookup.of(table.column("sha256").to_pylist()) for table in rows.tables()]
    return np.concatenate([np.empty(0, np.float32), *parts])


def row_ids(rows: Rows) -> NDArray[np.int64]:
    """The ids (N,) of rows in their order."""
    return np.concatenate([np.empty(0, np.int64), *(np.array(ids, np.int64) for ids, _ in rows.blocks())])


def own_standing(
    ids: NDArray[np.int64], scores: NDArray[np.float32], *, lower_is_better: bool
) -> tuple[ScoreValues, Quantiles]:
    """The values of scored pictures among themselves, and the table that freezes them. ids (N,) rising, scores (N,),
    NaN for none."""
    known = ~np.isnan(scores)
    kept = scores[known]
    shares = percentiles(kept, lower_is_better=lower_is_better)
    return ScoreValues(ids[known], kept, shares), frozen(kept, lower_is_better=lower_is_better)


def mapped_standing(ids: NDArray[np.int64], scores: NDArray[np.float32], table: Quantiles) -> ScoreValues:
    """The same through a frozen table: for pictures that joined later."""
    known = ~np.isnan(scores)
    return ScoreValues(ids[known], scores[known], table.of(scores[known]))


def joined(parts: Sequence[ScoreValues]) -> ScoreValues:
    """The values of several parts of an index, ids rising."""
    ids = np.concatenate([np.empty(0, np.int64), *(part.ids for part in parts)])
    order = np.argsort(ids, kind="stable")
    scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)])[order]
    shares = np.concatenate([np.empty(0), *(part.percentiles for part in parts)])[order]
    return ScoreValues(ids[order], scores, shares)


def beauty_of(ids: NDArray[np.int64], scorers: Sequence[tuple[str, ScoreValues]]) -> Beauty | None:
    """The normal scores of pictures ids (N,) by each scorer: 0 for those without a score; None without scorers."""
    if not scorers:
        return None
    z = np.zeros((len(ids), len(scorers)), np.float32)
    for place, (_, values) in enumerate(scorers):
        _, shares = values.at(ids)
        known = ~np.isnan(shares)
        z[known, place] = normal_scores(shares[known])
    return Beauty(z, tuple(name for name, _ in scorers))


def write_standing(
    folder: Path, column: ScoreColumn, values: ScoreValues, table: Quantiles, *, in_index: bool, default: bool
) -> ScoreRecord:
    """Writes the file of a scorer's values into an INDEX; its record."""
    file = write_score_values(folder, column.name, values)
    count = len(values.ids)
    return ScoreRecord(column.name, column.fingerprint, column.card, file, count, in_index, default, table)
