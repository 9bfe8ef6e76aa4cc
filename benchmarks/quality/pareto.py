"""`bench pareto`: what beauty costs in relevance. hit_rate@1/5/10 of captions against the mean percentile of the
pictures that a search returns, for the sum (`--beauty b`, exact) and for re-ranking candidates (`--rerank rank-mix`),
each swept from none to much.

Both ends are known: b = 0 and share 0 are plain search, share 1 sorts the candidates by beauty alone. The scorer is
the judge of what it ranks by, so the percentile says what was bought, not whether people like it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.measures.metrics import Bools, Floats, hit_rate
from benchmarks.measures.stats import bootstrap_mean
from benchmarks.plots import Curve
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.judgements import refuse_foregone
from benchmarks.tables.pictures import picture_vectors, rows_of_names
from indexes.errors import BeholderError
from indexes.records.beauty import spread_of
from indexes.records.manifest import sha256_file
from indexes.records.percentiles import normal_scores, percentiles
from indexes.records.scores import ScoreLookup, found_scores, read_scores
from indexes.records.shards import Embeddings
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig
from retrieval.scoring.card import ScorerCard, of_vectors
from retrieval.scoring.scorers import load_scorer
from retrieval.search.generic_queries import generic_queries
from retrieval.search.rerank import order_by, rank_mix

from .captions import RetrievalConfig, read_judgements
from .rankings import query_vectors
from .retention import HIT_RATE_AT

TOP = 10  # results whose percentiles are averaged
WEIGHTS = (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
AT_ONCE = 500  # queries: their scores of a million pictures are 2 GB
PERCENTILE = f"percentile in the top {TOP}"


@dataclass(frozen=True)
class ParetoConfig:
    """Options of `bench pareto`."""

    table: Path
    text_column: str = "caption"
    image_column: str | None = None
    splits: Path | None = None
    split: str = "val"
    pictures: Path | None = None
    embeddings: Path | None = None
    scorer: str = "beholder-appeal"
    beauty: tuple[float, ...] = WEIGHTS
    share: tuple[float, ...] = SHARES
    candidates: int = 100  # that rank-mix re-ranks
    model: str = "beholder-mini"
    seed: int = 0
    name: str = "pareto"

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in self.share):
            raise BeholderError(f"shares {self.share}", "shares from 0 to 1")
        if self.candidates < TOP:
            raise BeholderError(f"{self.candidates} candidates", f"at least {TOP}")


def measure(config: ParetoConfig, *, encoder: Encoder | None = None) -> Run:
    """The run record. `encoder`: one already loaded, instead of config.model."""
    encoder = encoder or load_encoder(config.model)
    judged = read_judgements(
        RetrievalConfig(
            config.table,
            image_column=config.image_column,
            text_column=config.text_column,
            splits=config.splits,
            split=config.split,
        )
    )
    refuse_foregone(judged)
    folder = config.pictures or config.table.parent
    embedding = EmbedConfig(model=encoder.record.name)
    vectors = picture_vectors(folder, judged.pictures, encoder, embedding, config.embeddings)
    scores, card = _scores(config.scorer, vectors, judged.pictures, config.embeddings)
    shares = percentiles(scores, lower_is_better=not card.higher_is_better)
    generic = encoder.encode_texts(list(generic_queries()))
    spread, _ = spread_of(generic, [(np.arange(len(vectors)), vectors)], len(vectors))
    queries, relevant = query_vectors(encoder, judged.queries), judged.relevance()
    sides: dict[str, dict[str, Floats]] = {}
    for b in config.beauty:
        sides[f"sum, b = {b:g}"] = by_sum(queries, vectors, shares, relevant, b * spread)
    for share in config.share:
        sides[f"rank-mix, share {share:g}"] = by_rank_mix(queries, vectors, shares, relevant, share, config.candidates)
    numbers = {
        f"{side}: {what}": _number(values, config.seed) for side, by in sides.items() for what, values in by.items()
    }
    numbers["spread of relevance"] = Number(spread, "cosine")
    return Run(
        name=config.name,
        command=command_of("bench pareto", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "splits_sha256": sha256_file(config.splits) if config.splits else None,
            "split": config.split,
            "queries": len(queries),
            "pictures": len(vectors),
            "scorer": card.name,
            "scorer_fingerprint": card.fingerprint,
            "encoder": Path(encoder.record.name).name,
            "image_fingerprint": encoder.record.image_fingerprint,
            "text_fingerprint": encoder.record.text_fingerprint,
        },
        numbers=numbers,
        notes=(
            f"{len(queries)} captions of {config.split}, exact search over its {len(vectors)} pictures, percentiles of "
            f"{config.scorer} among them, spread over {len(generic)} generic queries; rank-mix re-ranks "
            f"{config.candidates} candidates. Nothing was chosen here: both are swept.",
        ),
    )


def by_sum(
    queries: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32], shares: Floats, relevant: Bools, weight: float
) -> dict[str, Floats]:
    """Per query (Q,): hit rates and the mean percentile of the top, by relevance plus weight times the normal score
    of each picture's percentile `shares` (N,)."""
    beauty = weight * normal_scores(shares).astype(np.float64)
    parts = []
    for start in range(0, len(queries), AT_ONCE):
        scores = queries[start : start + AT_ONCE].astype(np.float64) @ vectors.T.astype(np.float64) + beauty
        parts.append(np.argsort(-scores, axis=1, kind="stable")[:, : max(*HIT_RATE_AT, TOP)])
    return _found(np.concatenate(parts), shares, relevant)


def by_rank_mix(
    queries: npt.NDArray[np.float32],
    vectors: npt.NDArray[np.float32],
    shares: Floats,
    relevant: Bools,
    share: float,
    candidates: int,
) -> dict[str, Floats]:
    """The same for the best candidates by relevance, in the order of `rank_mix`."""
    rows = []
    for start in range(0, len(queries), AT_ONCE):
        scores = queries[start : start + AT_ONCE].astype(np.float64) @ vectors.T.astype(np.float64)
        for row, top in zip(scores, np.argsort(-scores, axis=1, kind="stable")[:, :candidates], strict=True):
            rows.append(top[order_by(rank_mix(row[top], shares[top], share))][: max(*HIT_RATE_AT, TOP)])
    return _found(np.stack(rows), shares, relevant)


def _found(ranked: npt.NDArray[np.int64], shares: Floats, relevant: Bools) -> dict[str, Floats]:
    hits = np.take_along_axis(relevant, ranked, axis=1)
    found = {f"hit_rate@{k}": hit_rate(hits, k) for k in HIT_RATE_AT}
    return {**found, PERCENTILE: np.asarray(shares[ranked[:, :TOP]].mean(axis=1), np.float64)}


def _scores(
    name: str, vectors: npt.NDArray[np.float32], names: Sequence[str], embeddings: Path | None
) -> tuple[npt.NDArray[np.float32], ScorerCard]:
    """Scores (N,) of the named pictures, and the scorer's card: those that the EMBEDDINGS folder keeps, else of the
    vectors (N, D). Raises BeholderError for a scorer of pixels whose scores were not computed."""
    scorer = load_scorer(name)
    if of_vectors([scorer]):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return of_vectors([scorer])[0].score_vectors(unit), scorer.card
    kept = None if embeddings is None else found_scores(embeddings).get(name)
    if kept is None or embeddings is None:
        remedy = f"beholder score {embeddings or 'EMBEDDINGS'} --scorer {name}, and give --embeddings."
        raise BeholderError(f"{name} reads pixels", "scores of them in the EMBEDDINGS", remedy)
    column, items = read_scores(kept), Embeddings(embeddings).items()
    if column.fingerprint != scorer.card.fingerprint:
        raise BeholderError(f"{kept} is of another {name}", "scores of this version", "Score the pictures again.")
    rows = rows_of_names(names, items.column("uri").to_pylist(), embeddings)
    scores = ScoreLookup(column).of(items.column("sha256").take(pa.array(rows)).to_pylist())
    if np.isnan(scores).any():
        raise BeholderError(f"{int(np.isnan(scores).sum())} pictures without a score of {name}", "a score each")
    return scores, scorer.card


def _number(values: Floats, seed: int) -> Number:
    return Number.of(bootstrap_mean(values, seed=seed))


def curves(run: Run) -> list[Curve]:
    """The two curves of a run: hit_rate@10 in percent across, mean percentile in points up, labelled by the weight or
    the share."""
    drawn = []
    for name in ("sum", "rank-mix"):
        points = []
        for key, number in run.numbers.items():
            side, _, what = key.partition(": ")
            if side.startswith(f"{name}, ") and what == PERCENTILE:
                across = run.numbers[f"{side}: hit_rate@10"].value
                points.append((100 * across, 100 * number.value, side.partition(", ")[2]))
        drawn.append(Curve(name, tuple(points)))
    return drawn
