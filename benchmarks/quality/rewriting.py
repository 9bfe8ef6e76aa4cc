"""`bench rewriting`: what rewriters do to a caption table's results, and whether the topic floor tells topics apart.

Each caption is a query with one relevant picture; each rewriter is asked for all of them, and what it makes of them is
ranked exactly. hit_rate says what is lost (a caption needs no beauty put in), the mean percentile of a scorer in the
top 10 what is gained, both as paired differences to the captions as they are. The floor is looked at on another split
(retrieval/rewriting/checks.py): captions of one picture are on one topic, captions of two pictures are not.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures import metrics
from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.judgements import Judgements, refuse_foregone
from benchmarks.tables.pictures import picture_vectors, rows_of_names
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from indexes.records.percentiles import percentiles
from indexes.records.scores import found_scores, read_scores
from indexes.records.shards import Embeddings
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig
from retrieval.rewriting.checks import measured_floor
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.rewriting.rewriter import RewriteSettings, count_rewrites

from .captions import RetrievalConfig, read_judgements

HIT_RATE_AT = (1, 10)
TOP = 10
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RewritingConfig:
    """Options of `bench rewriting`."""

    table: Path
    text_column: str = "caption"
    image_column: str | None = None
    splits: Path | None = None
    floor_split: str = "dev"
    split: str = "val"
    pictures: Path | None = None  # the folder that names are relative to; None = the table's own
    embeddings: Path | None = None
    model: str = "beholder-mini"
    rewrite: tuple[str, ...] = ("template", "suffix", "repeat")
    scorer: tuple[str, ...] = ()  # whose scores EMBEDDINGS holds
    seed: int = 0
    name: str = "rewriting"

    def __post_init__(self) -> None:
        if not self.rewrite:
            raise BeholderError("no --rewrite", "at least one", "Example: --rewrite template")


def measure(config: RewritingConfig, *, encoder: Encoder | None = None, settings: RewriteSettings | None = None) -> Run:
    """The run record. `settings`: of rewriters that ask a model."""
    encoder = encoder or load_encoder(config.model)
    judged = _judgements(config, config.split)
    refuse_foregone(judged)
    folder = config.pictures or config.table.parent
    vectors = picture_vectors(folder, judged.pictures, encoder, EmbedConfig(model=config.model), config.embeddings)
    scores = _percentiles(config, judged)
    captions = [query.texts[0] for query in judged.queries]
    before = _asked(encoder, captions, judged, vectors, scores)
    numbers = {f"{what}, as typed": _number(values, config.seed) for what, values in before.items()}
    for spec in config.rewrite:
        rewriter = load_rewriter(spec, settings, encoder=encoder)
        rewrites = rewriter.rewrite(captions)
        counts = count_rewrites(rewrites)
        after = _asked(encoder, [one.text for one in rewrites], judged, vectors, scores)
        for what, values in after.items():
            change = paired_difference(values, before[what], seed=config.seed)
            numbers[f"{what}, {rewriter.name}: change"] = Number.of(change)
        fell = sum(counts.fallbacks.values())
        numbers[f"{rewriter.name}: kept their own words"] = Number(fell / len(captions), n=len(captions))
        numbers[f"{rewriter.name}: over-long"] = Number(counts.truncated / len(captions), n=len(captions))
    numbers |= floor_numbers(encoder, _judgements(config, config.floor_split), config.seed)
    return Run(
        name=config.name,
        command=command_of("bench rewriting", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "splits_sha256": sha256_file(config.splits) if config.splits else None,
            "queries": len(captions),
            "pictures": len(judged.pictures),
            "encoder": Path(encoder.record.name).name,
            "image_fingerprint": encoder.record.image_fingerprint,
            "text_fingerprint": encoder.record.text_fingerprint,
        },
        numbers=numbers,
        notes=(
            f"{len(captions)} captions of {config.split}, exact search over its {len(judged.pictures)} pictures; "
            "changes are paired with the captions as typed; percentiles are those of the split's pictures. The floor: "
            f"pairs of captions of {config.floor_split}.",
        ),
    )


def floor_numbers(encoder: Encoder, judged: Judgements, seed: int) -> dict[str, Number]:
    """The topic floor of an encoder, and the share of pairs of captions at or above it: of one picture (the first two),
    and of two pictures (each picture's first and the next one's)."""
    floor = measured_floor(encoder)
    first: dict[int, list[str]] = {}
    for query in judged.queries:
        first.setdefault(query.relevant[0], []).append(query.texts[0])
    pairs = [texts[:2] for texts in first.values() if len(texts) > 1]
    if not pairs:
        return {"topic floor": Number(floor, "cosine")}
    one, other = (encoder.encode_texts([pair[place] for pair in pairs]) for place in (0, 1))
    same, unlike = (one * other).sum(1) >= floor, (one * np.roll(one, 1, axis=0)).sum(1) >= floor
    return {
        "topic floor": Number(floor, "cosine"),
        "two captions of one picture at or above the floor": _number(same, seed),
        "captions of two pictures at or above the floor": _number(unlike, seed),
    }


def _asked(
    encoder: Encoder,
    texts: list[str],
    judged: Judgements,
    vectors: npt.NDArray[np.float32],
    scores: dict[str, Floats],
) -> dict[str, Floats]:
    """By measure, a value per query (Q,): hit_rate at 1 and 10, mean percentile of the top 10."""
    places = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    encoded = encoder.encode_texts(list(places))[[places[text] for text in texts]]
    cosines = encoded @ vectors.T
    hits = metrics.ranked_hits(cosines, judged.relevance(), max(HIT_RATE_AT))
    found: dict[str, Floats] = {f"hit_rate@{k}": metrics.hit_rate(hits, k) for k in HIT_RATE_AT}
    top = np.argsort(-cosines, axis=1, kind="stable")[:, :TOP]
    return found | {f"percentile of {name} in the top {TOP}": shares[top].mean(1) for name, shares in scores.items()}


def _percentiles(config: RewritingConfig, judged: Judgements) -> dict[str, Floats]:
    """By scorer, the percentiles (N,) of the split's pictures among themselves, of scores that EMBEDDINGS holds."""
    if not config.scorer:
        return {}
    if config.embeddings is None:
        raise BeholderError("--scorer without --embeddings", "EMBEDDINGS with scores", "Give --embeddings.")
    items = Embeddings(config.embeddings).items()
    rows = rows_of_names(judged.pictures, items.column("uri").to_pylist(), config.embeddings)
    sha256s = items.column("sha256").take(rows).to_pylist()
    found, shares = found_scores(config.embeddings), {}
    for name in config.scorer:
        column = read_scores(found[name]) if name in found else None
        known = dict(zip(column.sha256s, column.values, strict=True)) if column is not None else {}
        if column is None or not all(sha256 in known for sha256 in sha256s):
            remedy = f"Run `beholder score {portable_path(config.embeddings)} --scorer {name}`."
            raise BeholderError(f"{config.embeddings.name} lacks scores of {name}", "one for each picture", remedy)
        values = np.array([known[sha256] for sha256 in sha256s])
        shares[name] = percentiles(values, lower_is_better=column.lower_is_better)
    return shares


def _judgements(config: RewritingConfig, split: str) -> Judgements:
    return read_judgements(
        RetrievalConfig(
            config.table,
            image_column=config.image_column,
            text_column=config.text_column,
            splits=config.splits,
            split=split,
        )
    )


def _number(values: npt.ArrayLike, seed: int) -> Number:
    return Number.of(bootstrap_mean(np.asarray(values, np.float64), seed=seed))
