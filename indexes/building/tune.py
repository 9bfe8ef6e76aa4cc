"""Search parameters of a built index: the least effort that meets a target on real queries, and what it costs.

Queries are kept (query_file.py), to be asked again when the index has grown. Where none were given,
rows of the corpus stand in (each without itself), and what text queries find is unknown: they lie farther
from pictures than pictures do from each other.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.engine.factories import parse
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.locks import locked
from indexes.records.query_file import kept_queries, other_queries, unit_queries, write_queries
from indexes.records.segments import IndexManifest
from indexes.searching.safety import remember
from indexes.searching.search import Index, load_index

from .beauty_tune import beauty_records, measured_spread
from .fit import Fit, fit
from .recall import Queries, answered, measured

MOST_QUERIES = 1000  # their exact answers over a million vectors of 256 take some half a minute on two cores
HELD_OUT = 256  # rows of the corpus that stand in for queries
KEPT = "build_s", "peak_bytes", "reason", "trials", "ruled_out"  # of what a build measured: true ever after


def queries_for(index: Index, given: tuple[NDArray[np.float32], str] | None, seed: int) -> Queries:
    """At most MOST_QUERIES of the given queries, or HELD_OUT rows of the index, with their exact answers."""
    rng = np.random.default_rng(seed + 1)
    if given is not None:
        vectors, kind = given
        chosen = np.sort(rng.permutation(len(vectors))[:MOST_QUERIES])
        return answered(vectors[chosen], index.blocks(), kind)
    ids = index.live_ids()
    own = np.sort(ids[rng.permutation(len(ids))[:HELD_OUT]])
    return answered(index.vectors(own), index.blocks(), "held-out", own)


def tuned(
    index: Index, queries: Queries, target: float, *, seed: int, threads: int, measure: bool
) -> tuple[Fit, dict[str, Any] | None]:
    """The fit, and where it is to be measured what `measured` keeps of its best setting."""
    found = fit(index, queries, parse(index.manifest.factory), target, threads=threads, whole_curve=measure)
    if not measure:
        return found, None
    kept = measured(index, queries, found.best().parameters, target=target, seed=seed, threads=threads)
    return found, {**kept, "curve": found.curve()}


def missed(what: str, found: Fit, target: float, kind: str) -> ConditionFailed:
    """The error of a target that the index cannot meet, with its two best settings."""
    best = sorted(found.tried, key=lambda point: (-point.knn_recall, -point.qps))[:2]
    settings = [
        f"{point.knn_recall:.3f} at {point.qps:.0f} queries a second ({_shown(point.parameters)})" for point in best
    ]
    expected = f"knn_recall {target:g} over {kind} queries"
    return ConditionFailed(f"{what} reaches {' or '.join(settings)}", expected, "Lower the target, or build another.")


def _shown(parameters: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "no parameters"


def tune_index(
    folder: str | Path,
    *,
    query_vectors: NDArray[Any] | None = None,
    query_kind: str = "vectors",
    text_vectors: NDArray[Any] | None = None,
    knn_recall: float | None = None,
    threads: int = 0,
) -> IndexManifest:
    """Chooses the search parameters again, with new queries (Q, D) or those that the index keeps, and returns
    the new manifest. The target is the old one unless given.

    With text queries, or generic ones (text_vectors (T, D)) where the others are no texts, the spread of relevance is
    measured again, and the search parameters of beauty weights are chosen.

    Raises ConditionFailed, and changes nothing, where the target is out of reach.
    """
    folder = Path(folder)
    index = load_index(folder)
    with locked(folder):
        before = index.manifest
        seed, target = _seed(before), float(knn_recall or before.settings.get("knn_recall", 0.95))
        if not 0 < target <= 1:
            raise BeholderError(f"knn_recall {target}", "above 0, at most 1")
        given = kept_queries(folder, before)
        if query_vectors is not None:
            given = unit_queries(query_vectors, before.dimension), query_kind
        _check_count(index)
        queries = queries_for(index, given, seed)
        found, kept = tuned(index, queries, target, seed=seed, threads=threads, measure=True)
        if found.chosen is None or kept is None:
            raise missed(f"{folder}, {before.factory},", found, target, queries.kind)
        settings = {**before.settings, "knn_recall": target}
        if query_vectors is not None and given is not None:
            settings["queries"] = write_queries(folder, given[0], query_kind)
        parameters = dict(found.chosen.parameters)
        after = replace(before, settings=settings, parameters=parameters)
        texts = given if given is not None and given[1] == "text" else None
        if texts is None and text_vectors is not None:
            texts = unit_queries(text_vectors, before.dimension), "generic"
        if texts is not None:
            spread = measured_spread(*texts, index.blocks(), len(index))
            scores = beauty_records(index.with_spread(spread), *texts, target, threads=threads)
            after = replace(after, spread=spread, scores=scores)
        return _published(folder, after, kept)


def remeasure(folder: str | Path, *, threads: int = 0) -> IndexManifest:
    """Measures recall and speed again at the parameters that the index has, on the queries that it keeps: for
    after it has grown. `measured` then says whether the target is still met: knn_recall and target."""
    folder = Path(folder)
    index = load_index(folder)
    with locked(folder):
        before = index.manifest
        seed, target = _seed(before), float(before.settings.get("knn_recall", 0.95))
        _check_count(index)
        queries = queries_for(index, kept_queries(folder, before), seed)
        parameters = {name: value for name, value in before.parameters.items() if isinstance(value, int)}
        kept = measured(index, queries, parameters, target=target, seed=seed, threads=threads)
        return _published(folder, before, kept)


def _seed(manifest: IndexManifest) -> int:
    return int(manifest.settings.get("seed", 0))


def _check_count(index: Index) -> None:
    if len(index) < 2:
        raise BeholderError(f"{index.folder} holds {len(index)} pictures", "two or more, to measure recall")


def _published(folder: Path, manifest: IndexManifest, kept: dict[str, Any]) -> IndexManifest:
    """The manifest with what was measured, written. The caller holds the lock."""
    old = {name: value for name, value in (manifest.measured or {}).items() if name in KEPT}
    after = replace(manifest, measured={**old, **kept})
    after.write(folder)
    for path in other_queries(folder, after):
        path.unlink()
    remember(folder)
    return after
