"""Scores in bulk: of an EMBEDDINGS folder into its scores/, or of an INDEX as a column.

A picture is known by its sha256 and scored once: scores of the same scorer (by fingerprint) are kept, those of another
version are made anew. Scorers of vectors read what lies there; scorers of pixels read the pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.manifest import read_kind
from indexes.records.scores import scores_path, write_scores
from indexes.records.segments import INDEX
from indexes.records.shards import EMBEDDINGS, Embeddings, EncoderRecord
from retrieval.encoding.pipeline import LEAST_BAD
from retrieval.sources import plan as plans
from retrieval.sources.images import MAX_PIXELS

from .card import Scorer, check_encoder, wrong_vectors
from .heads import PUBLISHED, published_card
from .score_run import Corpus, Known, Progress, ScoreReport, column_of, kept_scores, partial_path, score_corpus
from .scorers import load_scorer


@dataclass(frozen=True)
class ScoreConfig:
    """Options of `score`."""

    scorer: tuple[str, ...]
    workers: int = 0  # processes that read pictures; 0 = one per core
    max_bad_share: float = 0.01  # of the pictures, that may stay without a score
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not self.scorer:
            raise BeholderError("no scorer", "--scorer NAME", "See `beholder models`.")
        repeated = sorted({name for name in self.scorer if self.scorer.count(name) > 1})
        if repeated:
            raise BeholderError(f"--scorer {repeated[0]} twice", "each once")
        if self.workers < 0 or not 0 <= self.max_bad_share <= 1 or self.max_pixels < 1:
            raise BeholderError("a wrong option", "workers from 0, a share in [0, 1], pixels from 1", "Correct it.")


def score_folder(folder: Path, config: ScoreConfig, progress: Progress | None = None) -> list[ScoreReport]:
    """Scores an EMBEDDINGS or an INDEX folder, whichever it is. Raises FormatError for another."""
    kind = read_kind(folder, f"{EMBEDDINGS} or {INDEX}")
    if kind not in (EMBEDDINGS, INDEX):
        raise FormatError(f"{folder} is of kind {kind}", "an EMBEDDINGS or INDEX folder", "Check the path.")
    return (score_embeddings if kind == EMBEDDINGS else score_index)(folder, config, progress)


def score_embeddings(folder: Path, config: ScoreConfig, progress: Progress | None = None) -> list[ScoreReport]:
    """Scores the pictures of an EMBEDDINGS folder by each scorer into `scores/<scorer>.parquet`.

    Raises BeholderError for a scorer of another encoder's vectors, ConditionFailed (with the scores kept) where more
    than max_bad_share of the pictures, and more than ten, could not be scored.
    """
    with plans.locked(folder):
        embeddings = Embeddings(folder)
        scorers = _loaded(config.scorer, embeddings.manifest.encoder)
        items = embeddings.items()
        corpus = Corpus(
            folder=folder,
            root=(folder / embeddings.manifest.source).resolve(),
            record=embeddings.manifest.encoder,
            sha256s=items.column("sha256").to_pylist(),
            uris=items.column("uri").to_pylist(),
            blocks=lambda: (vectors for _, vectors in embeddings.blocks()),
        )
        columns = {one.card.name: kept_scores(scores_path(folder, one.card.name), one.card) for one in scorers}
        found, reports = score_corpus(corpus, scorers, columns, config.workers, config.max_pixels, progress)
        for scorer in scorers:
            if reports[scorer.card.name].new:
                write_scores(scores_path(folder, scorer.card.name), column_of(scorer.card, found[scorer.card.name]))
            partial_path(folder, scorer.card).unlink(missing_ok=True)
    return _checked(list(reports.values()), len(set(corpus.sha256s)), config)


def score_index(folder: Path, config: ScoreConfig, progress: Progress | None = None) -> list[ScoreReport]:
    """Scores the pictures of a built INDEX by each scorer, as columns for --where, --sort and re-ranking; `compact`
    makes them dimensions. Raises as `score_embeddings`."""
    from indexes.building.growth import add_scores
    from indexes.searching.search import load_index

    index = load_index(folder)
    scorers = _loaded(config.scorer, index.manifest.encoder)
    ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in index.blocks())])
    items = index.items(ids)
    corpus = Corpus(
        folder=folder,
        root=(folder / index.manifest.source).resolve(),
        record=index.manifest.encoder,
        sha256s=items.column("sha256").to_pylist(),
        uris=items.column("uri").to_pylist(),
        blocks=lambda: (vectors for _, vectors in index.blocks()),
    )
    columns: dict[str, Known] = {scorer.card.name: {} for scorer in scorers}
    for record in index.scorers:
        card = next((scorer.card for scorer in scorers if scorer.card.name == record.name), None)
        if card is not None and card.fingerprint == record.fingerprint:
            values = index.score_values(record.name, ids)
            columns[record.name] = {
                sha256: float(value)
                for sha256, value in zip(corpus.sha256s, values, strict=True)
                if not np.isnan(value)
            }
    found, reports = score_corpus(corpus, scorers, columns, config.workers, config.max_pixels, progress)
    for scorer in scorers:
        if reports[scorer.card.name].new:
            add_scores(folder, column_of(scorer.card, found[scorer.card.name]))
        partial_path(folder, scorer.card).unlink(missing_ok=True)
    return _checked(list(reports.values()), len(set(corpus.sha256s)), config)


def check_model(names: Sequence[str], model: str) -> None:
    """Raises BeholderError for a scorer that cannot be loaded, or that reads vectors which `model` does not make, as
    far as their names tell: better known before pictures are embedded than after."""
    for name in names:
        known = published_card(name).encoder_names if name in PUBLISHED else ()
        if known and model not in known:
            raise wrong_vectors(name, known, model)
        load_scorer(name)


def _loaded(names: Sequence[str], record: EncoderRecord) -> list[Scorer]:
    """The scorers. Those of other vectors are refused before their weights are downloaded."""
    for name in names:
        if name in PUBLISHED:
            check_encoder(published_card(name), record)
    return [load_scorer(name) for name in names]


def _checked(reports: list[ScoreReport], pictures_: int, config: ScoreConfig) -> list[ScoreReport]:
    for report in reports:
        if len(report.missing) > max(LEAST_BAD, config.max_bad_share * pictures_):
            uri, reason = next(iter(report.missing.items()))
            raise ConditionFailed(
                f"{len(report.missing)} of {pictures_} pictures have no score of {report.scorer} ({uri}: {reason})",
                f"at most {config.max_bad_share:.1%}",
                "The other scores are kept; embed again, or raise --max-bad-share.",
            )
    return reports
