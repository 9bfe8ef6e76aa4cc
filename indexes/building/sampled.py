"""Whether an index finds what its own vectors say: knn_recall on a sample, for `verify`.

The files' sha256 say that nothing changed since they were written; this says that what was written belongs together:
FAISS's file, the vectors and the search parameters.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes.engine.factories import parse
from indexes.errors import ConditionFailed
from indexes.records.query_file import kept_queries
from indexes.searching.search import Index, load_index

from .recall import Queries, answered, interval, shares

SAMPLE = 64  # queries: their exact answers over a million vectors of 256 take some two seconds on two cores


@dataclass(frozen=True)
class Sampled:
    """knn_recall@10 on a sample, with its interval, and the lowest that the manifest's own figure allows."""

    knn_recall: float
    interval: tuple[float, float]
    queries: int
    kind: str
    least: float | None  # None where the manifest has no figure of this kind of queries


def sampled_recall(folder: str | Path, *, seed: int = 0) -> Sampled | None:
    """knn_recall of an INDEX on its own queries, or on rows of it; None for fewer than two pictures.

    Raises ConditionFailed where it is surely lower than the manifest says, or an exact index misses anything.
    """
    index = load_index(folder, mmap=True)
    if len(index) < 2:
        return None
    queries = _queries(index, seed)
    values, _ = shares(index, queries, {})
    low, high = interval(values, seed)
    kind = parse(index.manifest.factory)
    measured = index.manifest.measured
    least: float | None = None
    if kind.parameter is None and not kind.lossy:
        least = 1.0
    elif measured is not None and measured.get("kind") == queries.kind and not measured.get("stale"):
        least = float(measured["interval"][0])
    found = Sampled(float(values.mean()), (low, high), len(values), queries.kind, least)
    if least is not None and high < least:
        said = f"{index.folder} has knn_recall@10 {found.knn_recall:.3f} (at most {high:.3f}) on {len(values)} queries"
        raise ConditionFailed(said, f"{least:.3f} or more, as its manifest says", "Build it again.")
    return found


def _queries(index: Index, seed: int) -> Queries:
    rng = np.random.default_rng(seed)
    given = kept_queries(index.folder, index.manifest)
    if given is not None:
        vectors, kind = given
        return answered(vectors[np.sort(rng.permutation(len(vectors))[:SAMPLE])], index.blocks(), kind)
    ids = index.live_ids()
    own = np.sort(ids[rng.permutation(len(ids))[:SAMPLE]])
    return answered(index.vectors(own), index.blocks(), "held-out", own)
