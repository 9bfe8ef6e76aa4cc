"""Flickr8k as galleries of an experiment: a split's pictures with vectors and scores, captions as queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.captions import RetrievalConfig, read_judgements
from benchmarks.quality.rankings import query_vectors
from benchmarks.tables.judgements import Judgements
from indexes.records.percentiles import normal_scores, percentiles
from indexes.records.scores import ScoreLookup, found_scores, read_scores
from indexes.records.shards import Embeddings
from retrieval.encoding.encoder import Encoder
from retrieval.scoring.scorers import load_scorer
from retrieval.scoring.scoring import ScoreConfig, score_embeddings

from .places import Places

NAME = "flickr8k"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gallery:
    """A split: names of files, sha256s, vectors (N, D) of the base, scores (N,) by scorer, captions and whose they
    are."""

    files: tuple[str, ...]
    sha256s: tuple[str, ...]
    vectors: NDArray[np.float32]
    scores: dict[str, Floats]
    judged: Judgements

    @property
    def captions(self) -> list[str]:
        return [query.texts[0] for query in self.judged.queries]

    def shares(self, weights: Sequence[tuple[str, float]]) -> Floats:
        """Percentiles (N,) of the weighted mean of normal scores: of one scorer, those of its own scores."""
        parts = [weight * normal_scores(percentiles(self.scores[name])) for name, weight in weights]
        return percentiles(np.sum(parts, axis=0))


def read_gallery(places: Places, split: str, scorers: Sequence[str]) -> Gallery:
    """The pictures of a split in the table's order. Scores are computed once, for the whole set."""
    table = places.data / NAME / "captions.tsv"
    judged = read_judgements(
        RetrievalConfig(table, text_column="caption", splits=table.with_name("splits.tsv"), split=split)
    )
    folder = places.embeddings(NAME)
    items = Embeddings(folder).items()
    known = dict(zip(items.column("uri").to_pylist(), items.column("sha256").to_pylist(), strict=True))
    sha256s = tuple(known[name] for name in judged.pictures)
    vectors = places.vectors(NAME, judged.pictures)
    return Gallery(judged.pictures, sha256s, vectors, _scores(places, sha256s, scorers), judged)


def caption_vectors(encoder: Encoder, gallery: Gallery) -> NDArray[np.float32]:
    """(Q, D) unit rows."""
    return query_vectors(encoder, gallery.judged.queries)


def _scores(places: Places, sha256s: Sequence[str], scorers: Sequence[str]) -> dict[str, Floats]:
    folder = places.embeddings(NAME)
    found = {}
    for name in scorers:
        path = found_scores(folder).get(name)
        if path is None or read_scores(path).fingerprint != load_scorer(name).card.fingerprint:
            places.say(f"scoring {NAME}: {name}")
            score_embeddings(folder, ScoreConfig((name,)))
            path = found_scores(folder)[name]
        found[name] = np.asarray(ScoreLookup(read_scores(path)).of(list(sha256s)), np.float64)
    return found
