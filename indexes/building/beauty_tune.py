"""Search parameters per beauty weight: for each scorer in an index and each step of its weight the least effort that
meets the target, measured against exact answers with that weight."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.engine.factories import parse
from indexes.records.beauty import STEPS, Step, spread_of
from indexes.records.score_columns import ScoreRecord
from indexes.records.vectors import Block
from indexes.searching.search import Index

from .fit import fit
from .recall import K, Queries

STEP_QUERIES = 256  # of those that are there: the interval of knn_recall over so many is about +-1 point


def measured_spread(vectors: NDArray[np.float32], kind: str, blocks: Iterable[Block], count: int) -> dict[str, Any]:
    """What a manifest keeps of the spread of relevance: its value, over how many text queries (Q, D), of which
    kind."""
    value, queries = spread_of(vectors, blocks, count)
    return {"value": value, "queries": queries, "kind": kind}


def beauty_records(
    index: Index, vectors: NDArray[np.float32], kind: str, target: float, *, threads: int = 0
) -> tuple[ScoreRecord, ...]:
    """The index's score records with the search parameters of each step, chosen on text query vectors (Q, D).

    Exact kinds need none. A step at which no effort meets the target is kept without parameters: searches there are
    exact. Needs the index's spread.
    """
    made = parse(index.manifest.factory)
    if not index.manifest.in_index or not index.manifest.spread or not (made.parameter or made.lossy) or len(index) < 2:
        return index.manifest.scores
    chosen = vectors[np.unique(np.linspace(0, len(vectors) - 1, min(STEP_QUERIES, len(vectors)), dtype=int))]
    records = []
    for record in index.manifest.scores:
        steps = {}
        for b in STEPS if record.in_index else ():
            beauty = {record.name: float(b)}
            answers = index.search(chosen, K, beauty=beauty, exact=True, threads=threads or None).ids
            found = fit(index, Queries(chosen, answers, kind, beauty=beauty), made, target, threads=threads)
            best = found.best()
            parameters = None if found.chosen is None else dict(found.chosen.parameters)
            steps[b] = Step(parameters, round(best.knn_recall, 4))
        records.append(replace(record, steps=steps))
    return tuple(records)
