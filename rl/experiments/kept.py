"""What an aligned encoder has kept of its base: captions of photographs and objects by name, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.metrics import average_precision, hit_rate
from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.quality.captions import RetrievalConfig, read_judgements
from benchmarks.quality.rankings import query_vectors, rank_exactly
from benchmarks.runs import Number
from benchmarks.tables.judgements import Judgements
from retrieval.encoding.encoder import Encoder

from .parts import Parts
from .places import Places

Floats = NDArray[np.float64]
OBJECT_SET, TEMPLATES = "photoart", ("a {object}, {depiction}", "{depiction} of a {object}")
CAPTIONS, MAP = "captions: hit_rate@10", "objects: mAP"
OBJECTS = "objects mAP"  # a figure of choices, percent


@dataclass
class Kept:
    """Measures of a split of Flickr8k (captions) and, on val, of Photo-Art (objects). Vectors of the base's pictures
    are read once."""

    places: Places
    split: str
    parts: Parts | None = None  # of the base: checkpoints that differ above them alone are measured by them, quickly
    _judged: dict[str, Judgements] = field(default_factory=dict)
    _vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def values(self, encoder: Encoder) -> dict[str, Floats]:
        """Per query: hit_rate@1, 5 and 10 of captions (Q,), average precision of objects."""
        judged, vectors = self._read("flickr8k", encoder)
        hits = rank_exactly(judged, self.queries(encoder, judged), vectors, 10).hits
        found = {f"captions: hit_rate@{k}": hit_rate(hits, k) for k in (1, 5, 10)}
        if self.split == "val":  # Photo-Art has no dev split
            judged, vectors = self._read(OBJECT_SET, encoder)
            ranked = rank_exactly(judged, self.queries(encoder, judged), vectors)
            found[MAP] = average_precision(ranked.hits, judged.relevant_counts())
        return found

    def captions(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """The base's vectors of captions (Q, D) and of pictures (N, D), and the place of each caption's own picture."""
        judged, vectors = self._read("flickr8k", self.places.encoder)
        owners = np.array([query.relevant[0] for query in judged.queries], np.int64)
        return query_vectors(self.places.encoder, judged.queries), vectors, owners

    def queries(self, encoder: Encoder, judged: Judgements) -> NDArray[np.float32]:
        """(Q, D) unit rows: the mean of a query's phrasings."""
        state = encoder.model.state_dict()
        if self.parts is None or not self.parts.holds(state):
            return query_vectors(encoder, judged.queries)
        texts = list(dict.fromkeys(text for query in judged.queries for text in query.texts))
        places = {text: row for row, text in enumerate(texts)}
        self.parts.use(state)
        said = self.parts.text_vectors(self.parts.texts(texts))
        means = np.stack([said[[places[text] for text in query.texts]].mean(axis=0) for query in judged.queries])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)

    def pictures(self, name: str, files: Sequence[str], encoder: Encoder) -> NDArray[np.float32]:
        """(N, D) unit rows of a set's pictures by a tuned image tower."""
        state = encoder.model.state_dict()
        if self.parts is None or not self.parts.holds(state):
            return self.places.vectors(name, files, encoder)
        self.parts.use(state)
        return self.parts.picture_vectors(self.parts.pictures([self.places.pictures(name) / file for file in files]))

    def _read(self, name: str, encoder: Encoder) -> tuple[Judgements, NDArray[np.float32]]:
        if name not in self._judged:
            self._judged[name] = read_judgements(_table(self.places.data, name, self.split))
        judged = self._judged[name]
        if encoder.record.image_fingerprint != self.places.encoder.record.image_fingerprint:
            return judged, self.pictures(name, judged.pictures, encoder)
        if name not in self._vectors:
            self._vectors[name] = self.places.vectors(name, judged.pictures)
        return judged, self._vectors[name]


class Objects:
    """The objects of Photo-Art's training pictures, as it has no dev split: what choices may not lose of them. `parts`:
    of the base, where pictures of tuned image heads are to be measured, too."""

    def __init__(self, places: Places, parts: Parts | None = None) -> None:
        self.parts = parts
        self.judged = read_judgements(_table(places.data, OBJECT_SET, "train"))
        self.files = [places.pictures(OBJECT_SET) / file for file in self.judged.pictures]
        self.vectors = places.vectors(OBJECT_SET, self.judged.pictures)

    def of(self, encoder: Encoder) -> float:
        """mAP, percent."""
        vectors = self.vectors if self.parts is None else self.parts.seen_by(encoder, self.files)
        ranked = rank_exactly(self.judged, query_vectors(encoder, self.judged.queries), vectors)
        return 100 * float(average_precision(ranked.hits, self.judged.relevant_counts()).mean())


def _table(data: Path, name: str, split: str) -> RetrievalConfig:
    folder = data / name
    if name == OBJECT_SET:
        return RetrievalConfig(
            folder / "items.tsv", label_column=("object,depiction",), template=TEMPLATES, split=split
        )
    return RetrievalConfig(folder / "captions.tsv", text_column="caption", splits=folder / "splits.tsv", split=split)


def kept_numbers(base: dict[str, Floats], sides: dict[str, dict[str, Floats]], seed: int) -> dict[str, Number]:
    """The base's level of each measure, and each side's change from it, paired by query. Sides are means over seeds."""
    numbers = {}
    for what, values in base.items():
        numbers[f"{what}: base"] = Number.of(bootstrap_mean(values, seed=seed))
        for side, found in sides.items():
            numbers[f"{what}: change by {side}"] = Number.of(paired_difference(found[what], values, seed=seed))
    return numbers


def mean_of(found: list[dict[str, Floats]]) -> dict[str, Floats]:
    """Over seeds, query by query."""
    return {what: np.asarray(np.mean([one[what] for one in found], axis=0), np.float64) for what in found[0]}
