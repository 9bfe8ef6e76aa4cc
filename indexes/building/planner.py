"""Chooses the kind of index: what fits into memory is tried on a sample, and the quickest that meets the
target is built.

Sizes are known before anything is allocated (factories.py). Each trial is a small index of its own, searched
as any index is; its time is carried over to the whole corpus by how that kind of search grows.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.engine.factories import TRIAL_ROWS, Candidate, candidate, candidates, growth, parse, rescaled
from indexes.engine.faiss_build import Vectors, gather
from indexes.engine.memory import give_back, shown
from indexes.errors import ConditionFailed
from indexes.records.segments import IndexManifest
from indexes.records.shards import ITEM_COLUMNS, EncoderRecord
from indexes.records.vectors import Block
from indexes.searching.search import Index

from .fit import fit
from .index_config import FLAT_UP_TO, IndexConfig
from .recall import Queries, answered, latency_ms
from .segment_writer import Beauty, FaissRows, Rows, write_segment

TRIAL_QUERIES = 256
GIVE_UP = 2  # a kind whose trial is so many times slower than the quickest so far is not tried harder
NEARLY = 1.1  # among candidates predicted within a tenth of the quickest, the smallest is built


@dataclass(frozen=True)
class Trial:
    """A candidate over the sample, at the least effort that met the target, or the most that was tried."""

    factory: str  # as it would be built over all vectors
    bytes_per_vector: float
    build_bytes: int
    parameters: dict[str, int]
    knn_recall: float
    met: bool  # False also where it was given up, as too slow
    qps: float  # queries per second over the sample, in batches
    latency_ms: float  # of one query over the sample
    predicted_ms: float  # of one query over all vectors


@dataclass(frozen=True)
class Plan:
    """The factories to build, best first, and why."""

    factories: tuple[str, ...]
    reason: str
    trials: tuple[Trial, ...]
    ruled_out: tuple[Candidate, ...]  # for want of memory

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: lists for tuples."""
        plain: dict[str, Any] = {"factories": list(self.factories), "reason": self.reason}
        plain["trials"] = [asdict(trial) for trial in self.trials]
        return {**plain, "ruled_out": [asdict(offered) for offered in self.ruled_out]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Plan":
        trials = tuple(Trial(**trial) for trial in content["trials"])
        ruled_out = tuple(Candidate(**offered) for offered in content["ruled_out"])
        return cls(tuple(content["factories"]), content["reason"], trials, ruled_out)


def plan(rows: Rows, config: IndexConfig, vectors: NDArray[np.float32] | None, kind: str, place: Path) -> Plan:
    """The plan for `rows`; trials are written under the folder `place` and removed again.

    vectors (Q, D): queries, of which TRIAL_QUERIES are used; None: held-out rows. Raises ConditionFailed with
    the two best trade-offs where nothing that fits meets the target, and where nothing fits.
    """
    width = FaissRows(rows).dimension
    fit_in, out = candidates(rows.count, width, config.memory, config.device, config.train_rows)
    if not fit_in:
        least = min(out, key=lambda offered: offered.build_bytes)
        found = f"{shown(config.memory)} of memory for {rows.count} vectors of width {width}"
        expected = f"{shown(least.build_bytes)}, for {least.factory}"
        raise ConditionFailed(found, expected, "Give it more memory.")
    if fit_in[0].factory == "Flat" and rows.count <= FLAT_UP_TO:
        reason = f"Flat is exact, and up to {FLAT_UP_TO} pictures no index saves as much as a millisecond a query"
        return Plan(("Flat",), reason, (), tuple(out))
    sample = _sample(rows, config.seed)
    queries = _trial_queries(sample, vectors, kind, config.seed)
    trials: list[Trial] = []
    for offered in fit_in:
        quickest = max((trial.qps for trial in trials if trial.met), default=0.0)
        trials.append(_trial(offered, rows, sample, queries, config, place, quickest / GIVE_UP))
    ranked = rank(trials)
    if not ranked:
        raise _missed(trials, out, rows, sample, queries, config, place)
    chosen = ranked[0]
    also = f" of {len(trials)} kinds that fit" if len(trials) > 1 else ", the only kind that fits"
    reason = f"{chosen.factory} is the quickest{also} and reaches {config.knn_recall:g}"
    if chosen.factory == "Flat":
        reason = f"Flat is the quickest{also}, and exact"
    return Plan(tuple(trial.factory for trial in ranked), reason, tuple(trials), tuple(out))


def rank(trials: list[Trial]) -> list[Trial]:
    """Those that met the target, best first: the quickest, or a smaller one that is nearly as quick."""
    left, ranked = [trial for trial in trials if trial.met], []
    while left:
        quickest = min(trial.predicted_ms for trial in left)
        near = [trial for trial in left if trial.predicted_ms <= NEARLY * quickest]
        chosen = min(near, key=lambda trial: (trial.bytes_per_vector, trial.predicted_ms))
        ranked.append(chosen)
        left.remove(chosen)
    return ranked


def _sample(rows: Rows, seed: int) -> Rows:
    """At most TRIAL_ROWS random rows, numbered from 0, with items that say nothing."""
    count = min(TRIAL_ROWS, rows.count)
    chosen = np.sort(np.random.default_rng(seed + 3).permutation(rows.count)[:count])
    vectors, ids = gather(rows, chosen).astype(np.float16), np.arange(count)
    beauty = None if rows.beauty is None else Beauty(rows.beauty.z[chosen], rows.beauty.scorers)

    def blocks() -> Iterator[Block]:
        yield ids, vectors

    def tables() -> Iterator[Any]:
        yield pa.table({"id": ids})

    return Rows(count, rows.dimension, blocks, ITEM_COLUMNS, tables, beauty)


def _trial_queries(sample: Rows, vectors: NDArray[np.float32] | None, kind: str, seed: int) -> Queries:
    rng = np.random.default_rng(seed + 4)
    if vectors is not None:
        chosen = np.sort(rng.permutation(len(vectors))[:TRIAL_QUERIES])
        return answered(vectors[chosen], sample.blocks(), kind)
    own = np.sort(rng.permutation(sample.count)[:TRIAL_QUERIES])
    return answered(gather(sample, own), sample.blocks(), "held-out", own)


def _trial(
    offered: Candidate,
    rows: Vectors,
    sample: Rows,
    queries: Queries,
    config: IndexConfig,
    place: Path,
    slowest_qps: float = 0,
) -> Trial:
    factory = rescaled(offered.factory, sample.count)
    if place.exists():
        shutil.rmtree(place)
    segment = write_segment(place, "trial", sample, factory, config.training)
    give_back()
    encoder = EncoderRecord("trial", "", "", rows.dimension, {})
    IndexManifest(encoder, "", "", factory, {}, {}, (segment,), sample.count, sample.count).write(place)
    index = Index(place, config.device, False)
    kind = parse(factory)
    found = fit(index, queries, kind, config.knn_recall, threads=config.threads, slowest_qps=slowest_qps)
    best = found.best()
    latency = latency_ms(index, queries, best.parameters, config.threads, 100)
    # What any search costs, the second scoring included, does not grow with the corpus.
    least = {**best.parameters, **({"nprobe": 1} if "nprobe" in best.parameters else {})}
    fixed = min(latency, latency_ms(index, queries, least, config.threads, 50)) if "nprobe" in least else 0.0
    predicted = fixed + (latency - fixed) * growth(factory, sample.count, rows.count)
    del index
    shutil.rmtree(place)
    return Trial(
        offered.factory,
        offered.bytes_per_vector,
        offered.build_bytes,
        best.parameters,
        round(best.knn_recall, 4),
        found.chosen is not None,
        round(best.qps, 1),
        round(latency, 4),
        round(predicted, 4),
    )


def _missed(
    trials: list[Trial],
    out: list[Candidate],
    rows: Rows,
    sample: Rows,
    queries: Queries,
    config: IndexConfig,
    place: Path,
) -> ConditionFailed:
    """The error with the two best trade-offs: the best recall within memory, and the least memory that meets
    the target (tried on the sample, where it does fit)."""
    best = max(trials, key=lambda trial: (trial.knn_recall, -trial.predicted_ms))
    within = f"{best.factory} reaches {best.knn_recall:.3f} in {shown(best.build_bytes)}"
    beyond = ""
    for offered in sorted(out, key=lambda offered: offered.build_bytes):
        width = FaissRows(rows).dimension
        found = _trial(candidate(offered.factory, rows.count, width), rows, sample, queries, config, place)
        if found.met:
            beyond = f", {offered.factory} reaches {found.knn_recall:.3f} in {shown(offered.build_bytes)}"
            break
    bound = f" within {shown(config.memory)}" if config.memory else ""
    expected = f"knn_recall {config.knn_recall:g} over {queries.kind} queries{bound}"
    return ConditionFailed(f"on a sample {within}{beyond}", expected, "Lower the target, or give it more memory.")
