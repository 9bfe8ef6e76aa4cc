"""A judge without a model that judges: a plumbing check of `bench judge`, and no evidence for anything.

Per row: accuracy is the mean cosine of query and pictures by an encoder, aesthetics what scorers prefer (the sign of
each scorer's difference of means, summed), diversity the mean of 1 - cosine between the row's pictures. It scores what
systems rank by, so a system that ranks by the same encoder or scorer wins by construction.
"""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.runs import portable_spec
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_bytes
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.language.judge import ASPECTS, Choice, Comparison, Verdict
from retrieval.scoring.card import Scorer, check_encoder, of_pixels, of_vectors
from retrieval.scoring.scorers import load_scorer
from retrieval.sources.images import Picture, fit

from .loaded import LoadedJudge

ENCODER, SCORER = "beholder-mini", "beholder-appeal"
BATCH = 32  # pictures through the tower at once
Floats = npt.NDArray[np.float64]


class OfflineJudge:
    """Verdicts by an encoder and scorers; the interface is `retrieval.language.judge.Judge`'s. It prefers no place."""

    def __init__(self, encoder: Encoder, scorers: Sequence[Scorer]) -> None:
        self._encoder, self._vector, self._pixel = encoder, of_vectors(scorers), of_pixels(scorers)
        self._seen: dict[str, tuple[npt.NDArray[np.float32], Floats]] = {}  # picture -> its vector, its scores

    def compare(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """A verdict for each; `said` is the numbers behind it."""
        queries = list(dict.fromkeys(one.query for one in comparisons))
        vectors = dict(zip(queries, self._encoder.encode_texts(queries), strict=True)) if queries else {}
        verdicts = []
        for one in comparisons:
            (relevance_a, scores_a, spread_a), (relevance_b, scores_b, spread_b) = (
                self._row(vectors[one.query], row) for row in (one.a, one.b)
            )
            values = (relevance_a, relevance_b), (scores_a.tolist(), scores_b.tolist()), (spread_a, spread_b)
            signs = (
                _sign(relevance_a - relevance_b),
                _sign(float(np.sign(scores_a - scores_b).sum())),
                _sign(spread_a - spread_b),
            )
            choices = dict(zip(ASPECTS, signs, strict=True))
            said = dict(zip(ASPECTS, values, strict=True))
            first: dict[str, tuple[Choice | None, Choice | None]] = {
                aspect: (choice, _sign(-choice)) for aspect, choice in choices.items()
            }
            verdicts.append(Verdict(dict(choices), first, said=(json.dumps(said),)))
        return verdicts

    def _row(self, query: npt.NDArray[np.float32], row: Sequence[Picture]) -> tuple[float, Floats, float]:
        """Mean cosine, mean of each scorer (S,), mean distance of the row's pictures."""
        seen = self._look(row)
        vectors = np.stack([vector for vector, _ in seen]).astype(np.float64)
        scores = np.stack([values for _, values in seen])
        apart = (1 - vectors @ vectors.T)[np.triu_indices(len(row), 1)]
        # Rounded: equal pictures differ in the last bits, and that is no preference.
        return (
            round(float((vectors @ query).mean()), 6),
            scores.mean(0).round(6),
            (round(float(apart.mean()), 6) if len(apart) else 0.0),
        )

    def _look(self, row: Sequence[Picture]) -> list[tuple[npt.NDArray[np.float32], Floats]]:
        keys = [sha256_bytes(repr(picture.shape).encode() + picture.tobytes()) for picture in row]
        new = {key: picture for key, picture in zip(keys, row, strict=True) if key not in self._seen}
        names, pictures = list(new), list(new.values())
        for start in range(0, len(names), BATCH):
            batch = pictures[start : start + BATCH]
            pixels = np.stack([fit(Image.fromarray(one), self._encoder.preprocessing) for one in batch])
            vectors = self._encoder.encode_images(pixels)
            columns = [scorer.score_vectors(vectors) for scorer in self._vector]
            columns += [scorer.score_pictures(batch) for scorer in self._pixel]
            scores = np.stack(columns, axis=1).astype(np.float64)
            self._seen |= dict(zip(names[start : start + BATCH], zip(vectors, scores, strict=True), strict=True))
        return [self._seen[key] for key in keys]


def load_offline(rest: str, device: str) -> LoadedJudge:
    """The judge of `[ENCODER][@SCORER,...]`. Raises BeholderError for a scorer of another encoder's vectors."""
    named, _, scored = rest.partition("@")
    names = tuple(name for name in (scored or SCORER).split(",") if name)
    if not names:
        raise BeholderError("an offline judge without scorers", "offline@SCORER", f"Example: offline@{SCORER}")
    scorers = [load_scorer(name) for name in names]
    encoder = load_encoder(named or ENCODER, device)
    for scorer in of_vectors(scorers):
        check_encoder(scorer.card, encoder.record)
    name = portable_spec(f"offline:{encoder.record.name}@{','.join(names)}")
    decides = {
        "name": name,
        "kind": "offline",
        "image_fingerprint": encoder.record.image_fingerprint,
        "text_fingerprint": encoder.record.text_fingerprint,
        "scorers": [scorer.card.fingerprint for scorer in scorers],
    }
    return LoadedJudge(OfflineJudge(encoder, scorers), name, decides, calls=0, scorers=names)


def _sign(difference: float) -> Choice:
    return 0 if difference == 0 else 1 if difference > 0 else -1
