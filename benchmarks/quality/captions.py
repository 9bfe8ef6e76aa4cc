"""`bench retrieval`: how well words find pictures, and pictures words, for any table of captions or labels.

Captions: hit_rate@1/5/10 (papers print it as "R@k"), nDCG@10, mAP and median rank, text to image and, by the encoder,
image to text. Labels: mAP, R-precision and nDCG@10 over whole rankings, with the level of a random order beside them,
or zero-shot top-1 (picture to label). 95 % intervals over queries. With `compare` the same for a second encoder, and
what of it the first has kept.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measures import metrics
from benchmarks.per_query import digest_of
from benchmarks.runs import Run, command_of, describe_machine, portable_path
from benchmarks.tables import judgements as tables
from benchmarks.tables.caption_files import read_rows
from benchmarks.tables.judgements import Judgements
from benchmarks.tables.pictures import picture_vectors
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from indexes.records.shards import Embeddings, EncoderRecord
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig

from .rankings import Rankings, query_vectors, rank_by_cli, rank_by_index, rank_exactly, rank_texts
from .retention import HIT_RATE_AT, Scored, caption_scores, label_scores, retention

TEMPLATE = "a photo of a {}"


@dataclass(frozen=True)
class RetrievalConfig:
    """Options of `bench retrieval`. Without --index pictures are ranked exactly, those of the split alone."""

    table: Path
    pictures: Path | None = None  # the folder that names are relative to; None = the table's own
    image_column: str | None = None  # None = image or file, whichever the table has
    text_column: str | None = None  # of a caption table
    label_column: tuple[str, ...] = ()  # of a label table; "a,b" joins two
    template: tuple[str, ...] = ()  # for labels; several are averaged; none = TEMPLATE
    splits: Path | None = None  # a table with the split of each picture; None = the table's own column
    split: str | None = None  # None = every row
    model: str | None = None  # None = the index's own encoder, or beholder-mini
    index: Path | None = None
    embeddings: Path | None = None  # kept or read EMBEDDINGS, instead of embedding the split afresh
    cli: bool = False
    zero_shot: bool = False
    compare: str | None = None  # the encoder whose retrieval is to be kept
    max_retention_loss: float | None = None  # points; for `retention.check_retention`
    limit: int | None = None  # pictures
    seed: int = 0
    device: str = "cpu"
    name: str = "retrieval"

    def __post_init__(self) -> None:
        wrong = []
        if bool(self.text_column) == bool(self.label_column):
            wrong.append("give --text-column or --label-column, one of them")
        if self.cli and (self.index is None or self.label_column):
            wrong.append("--cli needs --index and a caption table")
        if self.zero_shot and (len(self.label_column) != 1 or self.index is not None):
            wrong.append("--zero-shot needs exactly one --label-column and no --index")
        if self.index is not None and self.embeddings is not None:
            wrong.append("give --index or --embeddings, not both")
        if self.template and self.text_column:
            wrong.append("--template is for labels")
        if self.compare is not None and self.cli:
            wrong.append("--compare is not for --cli")
        if self.max_retention_loss is not None:
            if self.compare is None:
                wrong.append("--max-retention-loss needs --compare BASE")
            if not np.isfinite(self.max_retention_loss):
                wrong.append(f"--max-retention-loss is {self.max_retention_loss}, not a number of points")
        if self.limit is not None and self.limit < 1:
            wrong.append(f"--limit is {self.limit}, not a number from 1")
        if wrong:
            raise BeholderError("; ".join(wrong), "", "See `beholder bench retrieval --help`.")


def measure(config: RetrievalConfig, *, encoder: Encoder | None = None) -> Run:
    """The run record of a benchmark. `encoder`: one already loaded, instead of config.model."""
    judged = read_judgements(config)
    tables.refuse_foregone(judged, among_others=config.index is not None or config.zero_shot)
    scored, record, candidates = _scored(config, judged, encoder, config.embeddings)
    numbers = {name: one.number(config.seed) for name, one in scored.items()}
    asked = digest_of([judged.queries, judged.pictures, candidates])
    if config.compare is not None:
        base = load_encoder(config.compare, config.device)
        before, base_record, _ = _scored(config, judged, base, _embeddings_of(config, base))
        numbers |= retention(scored, before, config.seed)
    through = "exact search" if config.index is None else "the index and the CLI" if config.cli else "the index"
    return Run(
        name=config.name,
        command=command_of("bench retrieval", config),
        machine=describe_machine(config.device),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "splits_sha256": sha256_file(config.splits) if config.splits else None,
            "split": config.split,
            "queries": len(judged.pictures if config.zero_shot else judged.queries),
            "pictures": len(judged.pictures),
            "candidates": candidates,
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
            **({} if config.compare is None else {"base_text_fingerprint": base_record.text_fingerprint}),
        },
        numbers=numbers,
        notes=(_protocol(config, judged, candidates, through),),
        per_query={name: one.per_query(asked) for name, one in scored.items()},
    )


def _scored(
    config: RetrievalConfig, judged: Judgements, encoder: Encoder | None, embeddings: Path | None
) -> tuple[dict[str, Scored], EncoderRecord, int]:
    """Every measure per query, whose words they were, and how many pictures each query was ranked against."""
    if config.index is not None:
        rankings, record = _through_index(config, judged, encoder)
        return score_rankings(config, judged, rankings), record, rankings.candidates
    encoder = encoder or load_encoder(config.model or "beholder-mini", config.device)
    texts = query_vectors(encoder, judged.queries)
    folder = config.pictures or config.table.parent
    embedding = EmbedConfig(model=encoder.record.name, device=config.device)
    vectors = picture_vectors(folder, judged.pictures, encoder, embedding, embeddings)
    if config.zero_shot:
        correct = metrics.zero_shot_top1(vectors @ texts.T, judged.labels())
        return {"zero-shot top-1": Scored(correct, 1 / len(texts))}, encoder.record, len(vectors)
    scored = score_rankings(config, judged, rank_exactly(judged, texts, vectors))
    if config.text_column:
        back = rank_texts(judged, texts, vectors)
        captions = judged.relevance().sum(axis=0)
        scored |= caption_scores(back.hits, captions, back.candidates, "image to text: ")
    return scored, encoder.record, len(vectors)


def _embeddings_of(config: RetrievalConfig, base: Encoder) -> Path | None:
    """--embeddings where they are of the base's picture tower too; None: the base embeds the pictures itself."""
    if config.embeddings is None:
        return None
    made = Embeddings(config.embeddings).manifest.encoder.image_fingerprint
    return config.embeddings if made == base.record.image_fingerprint else None


def read_judgements(config: RetrievalConfig) -> Judgements:
    """Queries, pictures and relevance of the table's chosen split."""
    labels = tuple(column for group in config.label_column for column in group.split(","))
    rows = read_rows(config.table, [*([config.text_column] if config.text_column else []), *labels])
    if not rows:
        raise BeholderError(f"{config.table.name} has no rows", "at least one", "Check the table.")
    image = config.image_column or next((name for name in ("image", "file") if name in rows[0]), None)
    if image is None or image not in rows[0]:
        raise BeholderError(
            f"{config.table.name} has no column of pictures {config.image_column or '(image or file)'}",
            f"one of {', '.join(rows[0])}",
            "Give --image-column.",
        )
    splits = tables.read_splits(config.splits, image) if config.splits else None
    chosen, others = tables.choose_rows(rows, image, config.split, splits, limit=config.limit, seed=config.seed)
    if config.text_column:
        return tables.caption_judgements(chosen, image, config.text_column, others)
    return tables.label_judgements(chosen, image, config.label_column, config.template or (TEMPLATE,), others)


def score_rankings(config: RetrievalConfig, judged: Judgements, rankings: Rankings) -> dict[str, Scored]:
    """The measures of captions, or those of each label column."""
    scored: dict[str, Scored] = {}
    counts = judged.relevant_counts()
    for group in judged.groups:
        mine = np.array([query.group == group for query in judged.queries])
        hits, relevant = rankings.hits[mine], counts[mine]
        if config.text_column:
            return caption_scores(hits, relevant, rankings.candidates)
        suffix = f" ({group})" if len(judged.groups) > 1 else ""
        scored |= label_scores(hits, relevant, rankings.candidates, suffix)
    return scored


def _through_index(
    config: RetrievalConfig, judged: Judgements, encoder: Encoder | None
) -> tuple[Rankings, EncoderRecord]:
    """Rankings by the index, and the record of the encoder whose words were searched for."""
    from indexes.searching.search import load_index

    if config.index is None:
        raise BeholderError("there is no --index", "an INDEX folder")
    index = load_index(config.index)
    if config.cli:
        return rank_by_cli(judged, config.index, max(HIT_RATE_AT), config.model), index.manifest.encoder
    encoder = encoder or load_encoder(config.model or index.manifest.encoder.name, config.device)
    if encoder.record.image_fingerprint != index.manifest.encoder.image_fingerprint:
        raise BeholderError(
            f"{config.index} was made by {index.manifest.encoder.name}, another encoder than {encoder.name}",
            "one encoder for words and pictures",
            "Give its --model, or an index of this one.",
        )
    texts = query_vectors(encoder, judged.queries)
    k = max(HIT_RATE_AT) if config.text_column else len(index)
    rankings = rank_by_index(judged, texts, index, k, without_others=bool(config.label_column))
    return rankings, encoder.record


def _protocol(config: RetrievalConfig, judged: Judgements, candidates: int, through: str) -> str:
    """One sentence that says what was ranked against what."""
    split = f" of split {config.split}" if config.split else ""
    if config.zero_shot:
        labels = f"{len(judged.queries):,} labels"
        return f"Each of {len(judged.pictures):,} pictures{split} is given the best of {labels}."
    what = "captions" if config.text_column else "labels"
    times = Counter(query.texts for query in judged.queries)
    shared = sum(count for count in times.values() if count > 1) if config.text_column else 0
    return (
        f"{len(judged.queries):,} {what} of {len(judged.pictures):,} pictures{split}, "
        f"each ranked against {candidates:,} pictures by {through}."
        + (
            f" {shared:,} captions are word for word another's: its own picture alone counts as right."
            if shared
            else ""
        )
        + (f" Base: {Path(config.compare).name}; changes are paired by query." if config.compare else "")
    )
