"""`align scorer`: a linear head on an encoder's features that scores pictures as people did, from a table of scores.

Ridge on standardised features; the penalty is chosen by cross-validation inside the training split, which is all that
is read. Features are the encoder's vectors, or more of its image tower (retrieval/encoding/tower_features.py).
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.correlation import pair_accuracy, spearman
from benchmarks.tables.evaluation import evaluation_pictures
from benchmarks.tables.judgements import read_tsv
from benchmarks.tables.terms import refuse_training
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_bytes, sha256_file
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.tower_features import tower_features
from retrieval.scoring.card import VECTORS
from retrieval.scoring.own_heads import TOWER, HeadRecord, save_head, whole_pictures
from retrieval.sources.images import BadPicture, Picture, decode, fit

from .features import Progress
from .ridge import choose_penalty, fit_ridge

BATCH = 16  # pictures in one pass
LEAST = 20  # training pictures: below, ten folds are of one picture each


@dataclass(frozen=True)
class ScorerTraining:
    """Options of `align scorer`."""

    table: Path  # TSV with a picture and a score per row
    out: Path
    score_column: str
    name: str = ""  # of the scorer; the stem of `out` where it is empty
    image_column: str = "file"
    group_column: str = ""  # scores are standardised within each group, for tables with a scale per group
    split: str = "train"  # of the column `split`; "" = every row
    model: str = "beholder-mini"
    features: str = TOWER  # or vectors
    penalties: tuple[float, ...] = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
    folds: int = 10
    seed: int = 0
    device: str = "cpu"
    unit: str = ""  # the score column's name where it is empty
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        wrong = []
        if self.features not in (TOWER, VECTORS):
            wrong.append(f"features {self.features!r}: {TOWER} or {VECTORS}")
        if not self.penalties or min(self.penalties) <= 0:
            wrong.append(f"penalties {self.penalties}: above 0")
        if self.folds < 2:
            wrong.append(f"folds {self.folds}: 2 or more")
        if wrong:
            raise BeholderError("; ".join(wrong), "", "See `beholder align scorer --help`.")


@dataclass(frozen=True)
class Trained:
    """What came out: pictures read, the penalty, and held-out agreement inside the training split."""

    pictures: int
    penalty: float
    spearman: float
    pair_accuracy: float


def train_scorer(config: ScorerTraining, progress: Progress | None = None) -> Trained:
    """Trains the head and writes its folder.

    Raises FormatError for a table without the columns or with a score that is no number, BeholderError for too few
    pictures, for those kept for evaluation, or one that cannot be read: a table of judgements has no expendable rows.
    """
    refuse_training(config.table, config.split)
    rows = _rows(config)
    targets, groups = standardised([float(row[config.score_column]) for row in rows], _groups(config, rows))
    encoder = load_encoder(config.model, config.device)
    inputs, digests = _inputs(config, encoder, rows, progress)
    held = len(evaluation_pictures().intersection(digests))
    if held:
        raise BeholderError(
            f"{held} of {len(digests)} pictures are kept for evaluation", "training pictures only", "Check --split."
        )

    def quality(predicted: NDArray[np.float64]) -> float:
        return spearman(predicted, targets, groups)

    penalty, held_out = choose_penalty(inputs, targets, config.penalties, quality, folds=config.folds, seed=config.seed)
    fitted = fit_ridge(inputs, targets, [penalty])[0]
    report = Trained(len(rows), penalty, quality(held_out), pair_accuracy(held_out, targets, groups))
    trained = {
        "table_sha256": sha256_file(config.table),
        "pictures_sha256": sha256_bytes("\n".join(sorted(digests)).encode()),
        "split": config.split,
        "pictures": report.pictures,
        "penalty": penalty,
        "folds": config.folds,
        "seed": config.seed,
        "held_out_spearman": round(report.spearman, 4),
        "held_out_pair_accuracy": round(report.pair_accuracy, 4),
    }
    record = HeadRecord(
        name=config.name or config.out.name,
        features=config.features,
        encoder=config.model,
        image_fingerprint=encoder.record.image_fingerprint,
        model=f"linear head on the {'image tower' if config.features == TOWER else 'vectors'} of {encoder.name}",
        unit=config.unit or config.score_column,
        source=config.source,
        licence=config.licence,
        trained=trained,
    )
    save_head(config.out, record, fitted.weight.astype(np.float32), fitted.bias)
    return report


def standardised(scores: list[float], labels: list[str]) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Scores (N,) as they are and None, where labels are empty; else each group's scores less its mean over its
    standard deviation, and the groups' numbers (N,)."""
    targets = np.array(scores)
    if not labels:
        return targets, None
    groups = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    for group in np.unique(groups):
        mine = groups == group
        spread = targets[mine].std()
        if not spread:
            raise BeholderError(
                f"all scores of a group ({labels[int(np.argmax(mine))]}) are the same", "different ones"
            )
        targets[mine] = (targets[mine] - targets[mine].mean()) / spread
    return targets, groups


def _rows(config: ScorerTraining) -> list[dict[str, str]]:
    columns = [config.image_column, config.score_column]
    columns += [config.group_column] if config.group_column else []
    rows = read_tsv(config.table, [*columns, *(["split"] if config.split else [])])
    rows = [row for row in rows if not config.split or row["split"] == config.split]
    for row in rows:
        try:
            finite = np.isfinite(float(row[config.score_column]))
        except ValueError:
            finite = False
        if not finite:
            found = f"{row[config.image_column]} has the {config.score_column} {row[config.score_column]!r}"
            raise FormatError(found, "a finite number", "Mend the table.")
    if len(rows) < LEAST:
        found = f"{config.table.name} has {len(rows)} pictures" + (f" of split {config.split}" if config.split else "")
        raise BeholderError(found, f"at least {LEAST}", "Check --split and the table.")
    return rows


def _groups(config: ScorerTraining, rows: list[dict[str, str]]) -> list[str]:
    return [row[config.group_column] for row in rows] if config.group_column else []


def _inputs(
    config: ScorerTraining, encoder: Encoder, rows: list[dict[str, str]], progress: Progress | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Features (N, F) and the pictures' sha256."""
    parts: list[NDArray[Any]] = []
    digests: list[str] = []
    for at in range(0, len(rows), BATCH):
        pictures = []
        for row in rows[at : at + BATCH]:
            content = _read(config.table.parent, row[config.image_column])
            digests.append(sha256_bytes(content))
            pictures.append(_decoded(content, row[config.image_column]))
        if config.features == TOWER:
            parts.append(tower_features(encoder, whole_pictures(encoder, pictures)))
        else:
            parts.append(_vectors(encoder, pictures))
        if progress:
            progress(min(at + BATCH, len(rows)), len(rows))
    return np.concatenate(parts).astype(np.float64), digests


def _vectors(encoder: Encoder, pictures: list[Picture]) -> NDArray[np.float16]:
    """As `embed` stores them."""
    from PIL import Image

    fitted = [fit(Image.fromarray(picture), encoder.preprocessing) for picture in pictures]
    return encoder.encode_images(np.stack(fitted)).astype(np.float16)


def _read(folder: Path, name: str) -> bytes:
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        raise BeholderError(
            f"the picture {name} lies outside the table's folder", "a name inside it", "Mend the table."
        )
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        found = f"{name} cannot be read ({error.strerror})"
        raise BeholderError(found, "every picture of the table", "Check the table's folder.") from error


def _decoded(content: bytes, name: str) -> Picture:
    try:
        return np.asarray(decode(content))
    except BadPicture as error:
        raise BeholderError(f"{name}: {error}", "every picture of the table", "Mend or leave out the row.") from error
