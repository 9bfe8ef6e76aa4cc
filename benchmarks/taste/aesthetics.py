"""`bench aesthetics`: does a scorer agree with people? Against mean scores of pictures, or single choices between two.

Mean scores: Spearman (SRCC), Pearson (PLCC, of the scores as they are), Kendall's tau-b (KRCC) and pair accuracy,
within groups where each was judged on a scale of its own. Choices: the share of single choices that the scorer makes
too. 95 % intervals over pictures. Known sets go by name (aesthetic_sets.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measures.correlation import (
    bootstrap_pictures,
    choice_agreement,
    kendall,
    pair_accuracy,
    pearson,
    spearman,
)
from benchmarks.measures.stats import Interval
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables import judgements as tables
from benchmarks.tables.aesthetic_sets import AestheticSet, file_of, find_table, read_table
from benchmarks.tables.pictures import picture_vectors, require_pictures
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig
from retrieval.progress import progress_line
from retrieval.scoring.card import Scorer, of_pixels, of_vectors
from retrieval.scoring.scorers import load_scorer
from retrieval.sources.images import BadPicture, Picture, decode

BATCH = 16  # pictures held at once
Statistic = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64] | None], float]
PAIR_COLUMNS = ("file_1", "file_2", "wins_1", "wins_2")


@dataclass(frozen=True)
class AestheticsConfig:
    """Options of `bench aesthetics`: a set by name, a table with --score-column, or a table of pairs."""

    table: Path
    scorer: str = "beholder-appeal"
    score_column: str | None = None  # mean score of a picture; None: the table holds pairs and choices
    group_column: str | None = None
    image_column: str = "file"
    split: str | None = None  # None = every row
    seed: int = 0
    name: str = "aesthetics"
    pictures: Path | None = None  # the folder that names are relative to; None = the table's own

    def __post_init__(self) -> None:
        known = find_table(self.table)[1]
        if known is not None and (self.score_column or self.group_column or self.image_column != "file"):
            raise BeholderError(f"columns for the set {self.table}", "none: they are known", "Leave them out.")
        if known is None and self.score_column is None and (self.group_column or self.split):
            raise BeholderError(
                "--group-column or --split without --score-column", "both or none", "Add --score-column."
            )


def measure(config: AestheticsConfig, *, scorer: Scorer | None = None) -> Run:
    """The run record. `scorer`: one already loaded, instead of config.scorer."""
    command = command_of("bench aesthetics", config)
    scorer = scorer or load_scorer(config.scorer)
    table, known = find_table(config.table)
    config = _filled_in(config, table, known)
    if config.score_column is None:
        numbers, note, pictures = _of_choices(config, scorer)
    else:
        numbers, note, pictures = _of_scores(config, scorer, known)
    if known is not None:
        note += f" {known.terms.source}; terms of the scores: {known.terms.licence}; use here: {known.terms.use}."
    return Run(
        name=config.name,
        command=command,
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "split": config.split,
            "pictures": pictures,
            "scorer": scorer.card.name,
            "scorer_fingerprint": scorer.card.fingerprint,
        },
        numbers=numbers,
        notes=(note,),
    )


def _filled_in(config: AestheticsConfig, table: Path, known: AestheticSet | None) -> AestheticsConfig:
    if known is None:
        return replace(config, pictures=config.pictures or table.parent)
    if config.pictures is None and not known.with_pictures:
        raise BeholderError(
            f"the pictures of {config.table} are not with its scores", "their folder", "Give --pictures."
        )
    return replace(
        config,
        table=table,
        score_column=known.score_column,
        group_column=known.group_column,
        image_column=known.image_column,
        split=config.split or known.split,
        pictures=config.pictures or table.parent,
    )


def _of_scores(
    config: AestheticsConfig, scorer: Scorer, known: AestheticSet | None
) -> tuple[dict[str, Number], str, int]:
    wanted = [config.image_column, config.score_column or ""] + ([config.group_column] if config.group_column else [])
    rows = read_table(config.table, wanted, known.encoding if known else "utf-8")
    if not rows:
        raise BeholderError(f"{config.table.name} has no rows", "at least two", "Check the table.")
    rows, _ = tables.choose_rows(rows, config.image_column, config.split)
    names = [file_of(row[config.image_column], known) for row in rows]
    truth = np.array([_number(row[config.score_column or ""], config.table) for row in rows])
    groups = None
    if config.group_column:
        labels = [row[config.group_column] for row in rows]
        groups = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    scores = picture_scores(scorer, config.pictures or config.table.parent, names)

    def within(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        return None if groups is None else groups[rows]

    def interval(statistic: Statistic) -> Interval:
        def of_rows(drawn: npt.NDArray[np.int64]) -> float:
            return statistic(scores[drawn], truth[drawn], within(drawn))

        return bootstrap_pictures(of_rows, len(names), seed=config.seed)

    numbers = {
        "Spearman": _of(interval(spearman), "", 0.0),
        "Pearson": _of(interval(pearson), "", 0.0),
        "Kendall": _of(interval(kendall), "", 0.0),
        "pair accuracy": _of(interval(pair_accuracy), "share", 0.5),
    }
    split = f" of split {config.split}" if config.split else ""
    within_text = f", compared within {config.group_column} only" if config.group_column else ""
    note = f"{scorer.card.name} against {config.score_column} of {len(names):,} pictures{split}{within_text}."
    return numbers, note, len(names)


def _of_choices(config: AestheticsConfig, scorer: Scorer) -> tuple[dict[str, Number], str, int]:
    rows = tables.read_tsv(config.table, PAIR_COLUMNS)
    if not rows:
        raise BeholderError(f"{config.table.name} has no rows", "at least one pair", "Check the table.")
    names = list(dict.fromkeys(row[column] for column in PAIR_COLUMNS[:2] for row in rows))
    places = {name: place for place, name in enumerate(names)}
    pairs = np.array([[places[row[column]] for column in PAIR_COLUMNS[:2]] for row in rows], np.int64)
    wins = np.array([[_number(row[column], config.table) for column in PAIR_COLUMNS[2:]] for row in rows])
    if (wins[:, 0] == wins[:, 1]).all():
        found = f"each of {len(rows)} pairs of {config.table.name} was chosen as often one way as the other"
        raise BeholderError(found, "a pair that people judge differently", "Check the columns.")
    scores = picture_scores(scorer, config.pictures or config.table.parent, names)

    def agreement(drawn: npt.NDArray[np.int64]) -> float:
        return choice_agreement(scores, pairs, wins, np.bincount(drawn, minlength=len(names)).astype(np.float64))

    numbers = {"agreement": _of(bootstrap_pictures(agreement, len(names), seed=config.seed), "share", 0.5)}
    note = f"{scorer.card.name} against {wins.sum():,.0f} single choices between two of {len(names):,} pictures."
    return numbers, note, len(names)


def picture_scores(scorer: Scorer, folder: Path, names: list[str]) -> npt.NDArray[np.float64]:
    """(N,) scores of pictures by name under folder. Raises BeholderError for one that is missing or cannot be read."""
    require_pictures(folder, names)
    if of_vectors([scorer]):
        encoder = load_encoder(scorer.card.encoder_names[0])
        config = EmbedConfig(model=encoder.name)
        vectors = picture_vectors(folder, names, encoder, config, None)
        return of_vectors([scorer])[0].score_vectors(vectors).astype(np.float64)
    parts: list[npt.NDArray[Any]] = []
    with progress_line("pictures") as progress:
        for at in range(0, len(names), BATCH):
            parts.append(
                of_pixels([scorer])[0].score_pictures([read_picture(folder / name) for name in names[at : at + BATCH]])
            )
            progress(min(at + BATCH, len(names)), len(names))
    return np.concatenate(parts).astype(np.float64)


def read_picture(path: Path) -> Picture:
    try:
        return np.asarray(decode(path.read_bytes()))
    except (OSError, BadPicture) as error:
        raise BeholderError(f"{path.name} cannot be read ({error})", "every picture of the table") from error


def _number(text: str, table: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise FormatError(f"{table.name} holds {text!r}", "a finite number", "Mend the table.")
    return value


def _of(interval: Interval, unit: str, chance: float) -> Number:
    return Number(interval.mean, unit, interval.low, interval.high, interval.n, chance)
