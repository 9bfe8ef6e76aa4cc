"""The scores of an EMBEDDINGS folder on their way into an INDEX: which there are, which become dimensions, and where
each picture stands by them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from indexes.records.percentiles import Quantiles
from indexes.records.score_columns import ScoreRecord, ScoreValues
from indexes.records.scores import ScoreColumn, column_name, found_scores, read_scores

from .index_config import IndexConfig
from .segment_writer import Rows
from .standing import beauty_of, own_standing, row_ids, row_scores, write_standing


@dataclass(frozen=True)
class Scored:
    """What one scorer says of the rows. The column is without its scores."""

    column: ScoreColumn
    values: ScoreValues
    table: Quantiles


def score_files(embeddings: Path, config: IndexConfig) -> dict[str, Path]:
    """The files of scores, those of config.scorers first and in that order. Raises BeholderError for a scorer that
    the folder has no scores of, or two whose names are one column."""
    found = found_scores(embeddings)
    for name in config.scorers:
        if name not in found:
            known = f"one of {', '.join(found)}" if found else "scores that were computed before"
            remedy = f"Score them first: beholder score {embeddings} --scorer {name}"
            raise BeholderError(f"no scores of {name} in {embeddings}", known, remedy)
    ordered = [*config.scorers, *(name for name in found if name not in config.scorers)]
    columns: dict[str, str] = {}
    for name in ordered:
        other = columns.setdefault(column_name(name), name)
        if other != name:
            raise BeholderError(f"scorers {other} and {name} in {embeddings}", "names that differ as columns do")
    return {name: found[name] for name in ordered}


def score_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """The sha256 of each file, by scorer: what a manifest's settings keep."""
    return {name: sha256_file(path) for name, path in files.items()}


def scored_rows(rows: Rows, files: Mapping[str, Path], config: IndexConfig) -> tuple[Rows, list[Scored]]:
    """The rows with their normal scores by config.scorers, and what every scorer says of them. 12 bytes a picture
    and scorer in memory, and 36 while a file is read. Raises BeholderError for a scorer that knows no picture."""
    ids, scored = row_ids(rows), []
    for name, path in files.items():
        column = read_scores(path)
        if column.name != name:
            raise BeholderError(f"{path} holds scores of {column.name}", name, "Score the pictures again.")
        values, table = own_standing(ids, row_scores(rows, column), lower_is_better=column.lower_is_better)
        if name in config.scorers and rows.count and not len(values.ids):
            raise BeholderError(f"{path} has a score for none of {rows.count} pictures", "scores of these pictures")
        empty = ScoreColumn(column.name, column.fingerprint, column.card, [], column.values[:0])
        scored.append(Scored(empty, values, table))
    inside = [(one.column.name, one.values) for one in scored if one.column.name in config.scorers]
    return replace(rows, beauty=beauty_of(ids, inside)), scored


def write_scored(folder: Path, scored: list[Scored], config: IndexConfig) -> tuple[ScoreRecord, ...]:
    """Writes the files of scores into an INDEX folder; their records."""
    return tuple(
        write_standing(
            folder,
            one.column,
            one.values,
            one.table,
            in_index=one.column.name in config.scorers,
            default=one.column.name == config.default_scorer,
        )
        for one in scored
    )
