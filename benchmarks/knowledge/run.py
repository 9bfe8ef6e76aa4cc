"""`bench knowledge`: does search know what a description means that never names its style?

Queries describe a style without naming it; relevant are the pictures that bear its label. Beside each other: the base,
the base given recorded rewrites (the teacher, which calls a language model for every query), the style's name alone,
and aligned encoders given the queries as typed. Phrasings up to `trained` were trained on, later ones never seen.
Beside it what alignment costs: captions and labels of other sets, by the base and by the aligned encoders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures import metrics
from benchmarks.measures.metrics import Bools, Floats
from benchmarks.measures.stats import RESAMPLES, bootstrap_mean, paired_difference
from benchmarks.quality.captions import RetrievalConfig, read_judgements
from benchmarks.quality.rankings import query_vectors, rank_exactly
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables import judgements as tables
from benchmarks.tables.judgements import Judgements
from benchmarks.tables.pictures import picture_vectors
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig

from .texts import KnowledgeQuery, check_texts, read_texts, spellings

DEPTH = 8  # of precision: pictures that a person sees at once
NOT_PAINTED = ("photo", "cartoon")  # labels that no "painting" is said of
OBJECTS = "a {object}, {depiction}", "{depiction} of a {object}"
TRAINED, UNSEEN = "trained phrasings", "unseen phrasings"
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KnowledgeConfig:
    """Options of `bench knowledge measure`."""

    table: Path  # of the pictures: file, style, split, artist
    queries: Path
    rewrites: Path
    split: str = "val"
    embeddings: Path | None = None  # of the table's pictures
    model: str = "beholder-mini"
    aligned: tuple[str, ...] = ()  # checkpoints, one for each seed
    trained: int = 6  # phrasings 1 to this were trained on
    kept_captions: Path | None = None  # a caption table, with the folder `images` beside it
    kept_splits: Path | None = None
    kept_captions_embeddings: Path | None = None
    kept_labels: Path | None = None  # a table of objects and depictions
    kept_labels_embeddings: Path | None = None
    seed: int = 0
    name: str = "knowledge"


def measure(config: KnowledgeConfig) -> Run:
    """The run record. Raises BeholderError where a query names what it describes."""
    texts = read_texts(config.queries, config.rewrites)
    check_texts(texts, artists_of(config.table))
    base = load_encoder(config.model)
    aligned = [load_encoder(name) for name in config.aligned]
    rows, _ = tables.choose_rows(tables.read_tsv(config.table, ("file", "style")), "file", config.split)
    names = [row["file"] for row in rows]
    vectors = _vectors(config.table.parent, names, [base, *aligned], config.embeddings)
    relevance = relevance_of(texts, [row["style"] for row in rows])
    spelled = spellings(texts)
    asked = [one.query for one in texts]
    sides = {
        "base": [scores_of(base, asked, vectors[0], relevance)],
        "base, rewritten": [scores_of(base, [one.rewrite for one in texts], vectors[0], relevance)],
        "the style's name alone": [
            scores_of(base, [name_alone(spelled[one.style]) for one in texts], vectors[0], relevance)
        ],
    }
    if aligned:
        sides["aligned"] = [
            scores_of(one, asked, mine, relevance) for one, mine in zip(aligned, vectors[1:], strict=True)
        ]
    seen = np.array([one.phrasing <= config.trained for one in texts])
    numbers = knowledge_numbers({side: mean_of(found) for side, found in sides.items()}, relevance, seen, config.seed)
    right = np.array([one.named_right for one in texts], np.float64)
    numbers["rewrites that name the right style"] = Number.of(bootstrap_mean(right, seed=config.seed))
    numbers |= kept_numbers(config, base, aligned)
    return Run(
        name=config.name,
        command=command_of("bench knowledge measure", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "queries_sha256": sha256_file(config.queries),
            "rewrites_sha256": sha256_file(config.rewrites),
            "split": config.split,
            "queries": len(texts),
            "pictures": len(names),
            "encoder": Path(base.record.name).name,
            "image_fingerprint": base.record.image_fingerprint,
            "text_fingerprint": base.record.text_fingerprint,
            "aligned_fingerprints": [one.record.text_fingerprint for one in aligned],
        },
        numbers=numbers,
        notes=(_protocol(config, texts, len(names), relevance),),
    )


def artists_of(table: Path) -> dict[str, list[str]]:
    """The artists of each style, of a table that names them."""
    found: dict[str, list[str]] = {}
    for row in tables.read_tsv(table, ("style",)):
        if row.get("artist"):
            found.setdefault(row["style"], []).append(row["artist"])
    return found


def relevance_of(texts: Sequence[KnowledgeQuery], labels: Sequence[str]) -> Bools:
    """bool (Q, N). Raises BeholderError for a style that no picture bears, or one that all do in all queries."""
    bearers = np.array(labels)
    matrix = np.stack([bearers == one.style for one in texts])
    missing = sorted({one.style for one, row in zip(texts, matrix, strict=True) if not row.any()})
    if missing:
        raise BeholderError(f"no picture bears {', '.join(missing)}", "the styles of the table", "Check the queries.")
    if matrix.all():
        raise BeholderError(
            f"every one of {len(labels)} pictures is relevant to every query", "pictures of other styles"
        )
    return matrix


def name_alone(spelled: str) -> str:
    return spelled if spelled in NOT_PAINTED else f"{spelled} painting"


def scores_of(encoder: Encoder, texts: Sequence[str], vectors: Vectors, relevance: Bools) -> dict[str, Floats]:
    """Per query (Q,): precision@8 and average precision over whole rankings."""
    said = dict.fromkeys(texts)
    places = {text: row for row, text in enumerate(said)}
    return of_vectors(encoder.encode_texts(list(said))[[places[text] for text in texts]], vectors, relevance)


def of_vectors(queries: npt.NDArray[np.floating], vectors: Vectors, relevance: Bools) -> dict[str, Floats]:
    """The same of queries (Q, D) that are vectors already."""
    hits = metrics.ranked_hits(queries @ vectors.T, relevance)
    return {
        f"precision@{DEPTH}": np.asarray(hits[:, :DEPTH].mean(1), np.float64),
        "mAP": metrics.average_precision(hits, relevance.sum(1)),
    }


def mean_of(found: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Over checkpoints of several seeds, query by query: intervals are over queries."""
    return {what: np.mean([one[what] for one in found], axis=0) for what in found[0]}


def knowledge_numbers(
    sides: dict[str, dict[str, Floats]], relevance: Bools, seen: npt.NDArray[np.bool_], seed: int
) -> dict[str, Number]:
    """Each side's measures over trained and over unseen phrasings, with chance; the best there can be; gains over the
    base, paired; and which share of the teacher's gain the aligned encoder has."""
    counts = relevance.sum(1).astype(np.int64)
    chance = {
        f"precision@{DEPTH}": metrics.chance_r_precision(counts, relevance.shape[1]),
        "mAP": metrics.chance_average_precision(counts, relevance.shape[1]),
    }
    groups = {name: mine for name, mine in ((TRAINED, seen), (UNSEEN, ~seen)) if mine.any()}
    numbers: dict[str, Number] = {}
    for what, by_chance in chance.items():
        for group, mine in groups.items():
            for side, found in sides.items():
                interval = bootstrap_mean(found[what][mine], seed=seed)
                numbers[f"{what}, {group}: {side}"] = Number.of(interval, float(by_chance[mine].mean()))
    best = np.minimum(counts, DEPTH) / DEPTH
    numbers[f"precision@{DEPTH}: the most there can be"] = Number(float(best.mean()))
    for side in sides:
        if side not in ("base", "the style's name alone"):
            for group, mine in groups.items():
                what = f"precision@{DEPTH}"
                gain = paired_difference(sides[side][what][mine], sides["base"][what][mine], seed=seed)
                numbers[f"{what}, {group}: gain of {side}"] = Number.of(gain)
    for side in sides:
        if side.startswith("aligned"):
            for group, mine in groups.items():
                three = [sides[one][f"precision@{DEPTH}"][mine] for one in (side, "base", "base, rewritten")]
                label = f"share of the teacher's gain, {group}" + ("" if side == "aligned" else f": {side}")
                numbers[label] = share_of_gain(*three, seed=seed)
    return numbers


def share_of_gain(aligned: Floats, base: Floats, teacher: Floats, *, seed: int) -> Number:
    """(aligned - base) / (teacher - base) of means over queries, resampled together; no interval where the teacher's
    gain may be nothing."""
    won, there = aligned - base, teacher - base
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(won), (RESAMPLES, len(won)))
    tops, bottoms = won[drawn].mean(1), there[drawn].mean(1)
    if there.mean() <= 0:
        raise BeholderError("the rewrites gain nothing", "a teacher that is better than the base", "Write better ones.")
    value = float(won.mean() / there.mean())
    if not (bottoms > 0).all():
        return Number(value, n=len(won))
    low, high = np.quantile(tops / bottoms, [0.025, 0.975])
    return Number(value, low=float(low), high=float(high), n=len(won))


def kept_numbers(config: KnowledgeConfig, base: Encoder, aligned: Sequence[Encoder]) -> dict[str, Number]:
    """hit_rate@10 of captions and mAP of objects: of the base, and the aligned encoders' change."""
    numbers: dict[str, Number] = {}
    if config.kept_captions is not None:
        judged = read_judgements(
            RetrievalConfig(config.kept_captions, text_column="caption", splits=config.kept_splits, split="val")
        )
        folder = config.kept_captions.parent / "images"
        numbers |= _kept(
            config, judged, folder, config.kept_captions_embeddings, "captions: hit_rate@10", base, aligned
        )
    if config.kept_labels is not None:
        judged = read_judgements(
            RetrievalConfig(config.kept_labels, label_column=("object,depiction",), template=OBJECTS, split="val")
        )
        folder = config.kept_labels.parent
        numbers |= _kept(config, judged, folder, config.kept_labels_embeddings, "objects: mAP", base, aligned)
    return numbers


def _kept(
    config: KnowledgeConfig,
    judged: Judgements,
    folder: Path,
    embeddings: Path | None,
    what: str,
    base: Encoder,
    aligned: Sequence[Encoder],
) -> dict[str, Number]:
    vectors = _vectors(folder, judged.pictures, [base, *aligned], embeddings)
    found = []
    for encoder, mine in zip([base, *aligned], vectors, strict=True):
        hits = rank_exactly(judged, query_vectors(encoder, judged.queries), mine).hits
        rate = what.endswith("hit_rate@10")
        found.append(metrics.hit_rate(hits, 10) if rate else metrics.average_precision(hits, judged.relevant_counts()))
    numbers = {f"{what}: base": Number.of(bootstrap_mean(found[0], seed=config.seed))}
    if aligned:
        change = paired_difference(np.mean(found[1:], axis=0), found[0], seed=config.seed)
        numbers[f"{what}: change by alignment"] = Number.of(change)
    return numbers


def _vectors(folder: Path, names: Sequence[str], encoders: Sequence[Encoder], embeddings: Path | None) -> list[Vectors]:
    """(N, D) for each encoder: those of the first one again where the image tower is the same."""
    first = encoders[0].record
    found = [picture_vectors(folder, names, encoders[0], EmbedConfig(model=first.name), embeddings)]
    for encoder in encoders[1:]:
        same = encoder.record.image_fingerprint == first.image_fingerprint
        config = EmbedConfig(model=encoder.record.name)
        found.append(found[0] if same else picture_vectors(folder, names, encoder, config, None))
    return found


def _protocol(config: KnowledgeConfig, texts: Sequence[KnowledgeQuery], pictures: int, relevance: Bools) -> str:
    seen = sum(one.phrasing <= config.trained for one in texts)
    fewest, most = int(relevance.sum(1).min()), int(relevance.sum(1).max())
    several = f" Aligned: the mean of {len(config.aligned)} checkpoints." if len(config.aligned) > 1 else ""
    return (
        f"{len(texts)} queries that never name the style they describe ({seen} of phrasings that were trained on, "
        f"{len(texts) - seen} of unseen ones) over the {pictures} pictures of {config.split}, {fewest} to {most} of a "
        f"style, exact search; gains are paired over queries.{several}"
    )
