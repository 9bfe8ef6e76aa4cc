"""Scores of an index that is updated: new pictures are scored by the index's own scorers before they are added."""

from pathlib import Path

import numpy as np

from indexes.errors import BeholderError
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.searching.search import Index
from retrieval.scoring.scorers import load_scorer
from retrieval.scoring.scoring import ScoreConfig, score_embeddings


def seed_scores(index: Index, embeddings: Path) -> None:
    """Writes the scores that an index holds into an EMBEDDINGS folder that has none of a scorer: nothing is scored
    twice."""
    missing = [record for record in index.scorers if not scores_path(embeddings, record.name).is_file()]
    if not missing:
        return
    ids = index.live_ids()
    digests = index.items(ids).column("sha256").to_pylist()
    for record in missing:
        values = index.score_values(record.name, ids)
        known = np.flatnonzero(~np.isnan(values))
        held = [digests[place] for place in known]
        column = ScoreColumn(record.name, record.fingerprint, record.card, held, values[known])
        write_scores(scores_path(embeddings, record.name), column)


def score_new(index: Index, embeddings: Path, workers: int) -> None:
    """Scores the pictures of an EMBEDDINGS folder that have no score yet by each scorer of the index. A scorer that is
    not to be had here, or is another version by now, is left out: `add` counts the pictures without a score."""
    for record in index.scorers:
        try:
            scorer = load_scorer(record.name)
        except BeholderError:
            continue
        if scorer.card.fingerprint == record.fingerprint:
            score_embeddings(embeddings, ScoreConfig((record.name,), workers, max_bad_share=1.0))
