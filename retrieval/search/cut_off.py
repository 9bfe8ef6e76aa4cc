"""The calibrated cut-off of queries: whether anything in the index answers them at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.calibration import DEPTH, Calibration, statistic
from indexes.records.segments import IndexManifest
from indexes.searching.search import Index

from .query import Query
from .query_encoder import QueryEncoder
from .results import CutOff


def cut_offs(
    index: Index,
    encoder: QueryEncoder,
    queries: Sequence[Query],
    allowed: NDArray[np.int64] | None = None,
    known: Mapping[str, NDArray[np.float32]] | None = None,
) -> list[CutOff]:
    """What each query reaches and had to reach, among the pictures that are allowed. known: vectors (D,) of texts that
    are encoded already.

    A query is judged by its wanted texts as they were typed, each alone, and takes the best of them: a rewrite of
    gibberish is words, and a sum of parts has another scale than the texts that the index was calibrated on. Raises
    BeholderError for an index without calibration, and for a query without such a text.
    """
    calibration = calibration_of(index.manifest, index.folder)
    texts = [[part.value for part in query.parts if part.kind == "text" and part.weight > 0] for query in queries]
    for query, own in zip(queries, texts, strict=True):
        if not own:
            remedy = "Give --min-relevance a number, such as 0.6; pictures are nearer to pictures than words are."
            raise BeholderError(f"--min-relevance auto for {query.label}", "a query with words", remedy)
    vectors = dict(known or {})
    new = list(dict.fromkeys(text for own in texts for text in own if text not in vectors))
    if new:
        vectors |= zip(new, encoder.encode_texts(new), strict=True)
    reached = {}
    if vectors:
        found = statistics(index, np.stack(list(vectors.values())), allowed)
        reached = dict(zip(vectors, found.tolist(), strict=True))
    return [CutOff(max(reached[text] for text in own), calibration.threshold) for own in texts]


def calibration_of(manifest: IndexManifest, folder: Path) -> Calibration:
    """The calibration of an index. Raises BeholderError where it has none."""
    if manifest.calibration is None:
        remedy = f"Run `beholder index tune {folder}`, or give a number."
        raise BeholderError(f"{folder} has no calibration of relevance", "one for --min-relevance auto", remedy)
    return Calibration.from_dict(manifest.calibration)


def statistics(
    index: Index, vectors: NDArray[np.float32], allowed: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """The statistic (Q,) of queries (Q, D) over the pictures that are allowed."""
    return statistic(index.search(vectors, DEPTH, allowed=allowed).scores)
