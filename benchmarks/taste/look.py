"""`bench look`: does a query that asks for a look get it? "moody forest": forests, and darker ones than a search for
the plain words finds.

Of each query's top 10: the mean percentile of the attribute that its word stands for, in the word's direction, by a
second formula (look_measures.py), and the share whose captions name the subject. Rows: the base encoder; the subject
alone; the teacher, which takes the word out of the query and adds its signed attributes by `--beauty` (and a second one
that leaves the word in); rewriters; other encoders. A row counts only where its subject share falls by at most 5 points
below the base's. No judge, and no row knows the second formula.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.per_query import PerQuery, digest_of
from benchmarks.quality.captions import RetrievalConfig, read_judgements
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from benchmarks.tables.judgements import Judgements
from benchmarks.tables.pictures import picture_vectors
from indexes.errors import BeholderError
from indexes.records.beauty import spread_of
from indexes.records.manifest import sha256_bytes, sha256_file
from indexes.records.percentiles import normal_scores, percentiles
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.search.generic_queries import generic_queries

from .look_attributes import attributes
from .look_measures import MEASURES
from .look_words import TRAINED, UNSEEN, LookWord, look_words, names_subject, stems_of
from .score_cache import ScoreCache, scores_folder

TOP = 10
MOST_LOST = 0.05  # of the subject's share: a row that loses more does not count
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LookConfig:
    """Options of `bench look`."""

    table: Path
    text_column: str = "caption"
    image_column: str | None = None
    splits: Path | None = None
    split: str = "val"
    pictures: Path | None = None
    embeddings: Path | None = None  # of the base's picture tower
    words: Path | None = None  # None = the table in the box
    only: str | None = None  # words of this split: trained or unseen; None = both
    base: str = "beholder-mini"
    model: tuple[str, ...] = ()
    rewrite: tuple[str, ...] = ()
    beauty: tuple[float, ...] = (1.5,)  # of each attribute of the teacher; chosen on dev (decision 0022)
    cache: str = ""  # folder of kept attributes; "": the user's, none: keep none
    seed: int = 0
    name: str = "look"

    def __post_init__(self) -> None:
        if self.only not in (None, TRAINED, UNSEEN):
            raise BeholderError(f"--only {self.only}", f"{TRAINED} or {UNSEEN}")
        if any(not np.isfinite(b) or b <= 0 for b in self.beauty):
            raise BeholderError(f"--beauty {self.beauty}", "numbers above 0: the words bring the signs")
        names = [Path(name).name for name in self.model]
        if len({"base", "subject alone", *names}) < len(names) + 2:
            raise BeholderError(
                f"two rows are named alike among --model {', '.join(names)}", "a name each", "Copy or rename a folder."
            )


@dataclass(frozen=True)
class Gallery:
    """What is known of the N pictures: shares (N, 6) of the second formulas, percentiles by MEASURES' order; stems of
    the words in each one's captions."""

    shares: Floats
    stems: tuple[set[str], ...]


@dataclass(frozen=True)
class Look:
    """Per query (Q,): mean percentile in the word's direction, and share of the subject, in its top 10."""

    percentile: Floats
    subject: Floats


def measure(config: LookConfig, *, base: Encoder | None = None) -> Run:
    """The run record. `base`: an encoder already loaded, instead of config.base."""
    base = base or load_encoder(config.base)
    words = [word for word in look_words(config.words) if config.only in (None, word.split)]
    judged = _judgements(config)
    pictures = len(judged.pictures)
    if pictures < 2 * TOP:
        raise BeholderError(f"{pictures} pictures", f"at least {2 * TOP}: the top {TOP} of few are most of them")
    if not words:
        raise BeholderError(f"no word of the table is {config.only}", "at least one", "Leave --only out.")
    folder = config.pictures or config.table.parent
    vectors = _vectors(config, base, judged, config.embeddings)
    cache = ScoreCache(scores_folder(config.cache))
    second, first = attributes(folder, judged.pictures, base, vectors, cache)
    gallery = Gallery(np.stack([percentiles(column) for column in second.T], axis=1), _stems(judged))
    rows = _rows(config, base, words, judged, vectors, first, gallery)
    return Run(
        name=config.name,
        command=command_of("bench look", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "table": portable_path(config.table),
            "table_sha256": sha256_file(config.table),
            "splits_sha256": sha256_file(config.splits) if config.splits else None,
            "split": config.split,
            "pictures": pictures,
            "words": len(words),
            "words_sha256": sha256_bytes(repr(words).encode()),
            "encoder": Path(base.record.name).name,
            "image_fingerprint": base.record.image_fingerprint,
            "text_fingerprint": base.record.text_fingerprint,
        },
        numbers=numbers_of(rows, words, config.seed),
        notes=_notes(config, rows, words, pictures),
        per_query=per_query_of(rows, digest_of([words, judged.pictures])),
    )


def _rows(
    config: LookConfig,
    base: Encoder,
    words: Sequence[LookWord],
    judged: Judgements,
    vectors: Vectors,
    first: Floats,
    gallery: Gallery,
) -> dict[str, Look]:
    """What each system finds; the first row is the base."""
    queries = [word.query for word in words]
    asked = base.encode_texts(queries)
    rows = {"base": look_of(_top(asked @ vectors.T), words, gallery)}
    subjects = base.encode_texts([word.subjects[0] for word in words])
    rows["subject alone"] = look_of(_top(subjects @ vectors.T), words, gallery)
    generic = base.encode_texts(list(generic_queries()))
    spread, _ = spread_of(generic, [(np.arange(len(vectors)), vectors)], len(vectors))
    normal = np.stack([normal_scores(percentiles(column)) for column in first.T], axis=1)
    asked_for = spread * signs(words) @ normal.T
    for b in config.beauty:
        rows[f"teacher, b = {b:g}"] = look_of(_top(subjects @ vectors.T + b * asked_for), words, gallery)
        kept = _top(asked @ vectors.T + b * asked_for)
        rows[f"teacher with the word, b = {b:g}"] = look_of(kept, words, gallery)
    for spec in config.rewrite:
        texts = [one.text for one in load_rewriter(spec, encoder=base).rewrite(queries)]
        rows[f"base, {spec}"] = look_of(_top(base.encode_texts(texts) @ vectors.T), words, gallery)
    for name in config.model:
        other = load_encoder(name)
        same = other.record.image_fingerprint == base.record.image_fingerprint
        theirs = vectors if same else _vectors(config, other, judged, None)
        rows[Path(name).name] = look_of(_top(other.encode_texts(queries) @ theirs.T), words, gallery)
    return rows


def look_of(top: npt.NDArray[np.int64], words: Sequence[LookWord], gallery: Gallery) -> Look:
    """Of each word's first pictures `top` (Q, k), rows of the gallery."""
    columns = [list(MEASURES).index(word.attribute) for word in words]
    shares = [gallery.shares[row, column].mean() for row, column in zip(top, columns, strict=True)]
    percentile = [share if word.sign > 0 else 1 - share for share, word in zip(shares, words, strict=True)]
    named = [
        np.mean([names_subject(word, gallery.stems[place]) for place in row])
        for row, word in zip(top, words, strict=True)
    ]
    return Look(np.array(percentile, np.float64), np.array(named, np.float64))


def signs(words: Sequence[LookWord]) -> Floats:
    """(Q, 6): 1 or -1 for what a word's teacher asks for, 0 else; columns as in MEASURES."""
    matrix = np.zeros((len(words), len(MEASURES)))
    for row, word in enumerate(words):
        for attribute, sign in word.teacher:
            matrix[row, list(MEASURES).index(attribute)] = sign
    return matrix


def numbers_of(rows: dict[str, Look], words: Sequence[LookWord], seed: int) -> dict[str, Number]:
    """Every row beside the base, over all words, trained and unseen ones; gains by attribute."""
    base = rows["base"]
    splits = {TRAINED: [w.split == TRAINED for w in words], UNSEEN: [w.split == UNSEEN for w in words]}
    groups = {"all words": np.ones(len(words), np.bool_)}
    groups |= {f"{name} words": np.array(mine) for name, mine in splits.items() if any(mine) and not all(mine)}
    numbers: dict[str, Number] = {}
    for name, row in rows.items():
        for group, mine in groups.items():
            head = f"{name}, {group}"
            numbers[f"{head}: percentile"] = Number.of(bootstrap_mean(row.percentile[mine], seed=seed), 0.5)
            if row is not base:
                gain = paired_difference(row.percentile[mine], base.percentile[mine], seed=seed)
                numbers[f"{head}: gain"] = Number.of(gain)
            numbers[f"{head}: subject"] = Number.of(bootstrap_mean(row.subject[mine], seed=seed))
            if row is not base:
                change = paired_difference(row.subject[mine], base.subject[mine], seed=seed)
                numbers[f"{head}: change of subject"] = Number.of(change)
    for name, row in rows.items():
        for attribute in MEASURES:
            mine = np.array([word.attribute == attribute for word in words])
            if row is not base and mine.any():
                gain = paired_difference(row.percentile[mine], base.percentile[mine], seed=seed)
                numbers[f"{name}, {attribute}: gain"] = Number.of(gain)
    return numbers


def per_query_of(rows: dict[str, Look], asked: str) -> dict[str, PerQuery]:
    """The values of every row's two measures over all words, of queries with the digest `asked`."""
    found: dict[str, PerQuery] = {}
    for name, row in rows.items():
        found[f"{name}, all words: percentile"] = PerQuery(row.percentile, asked)
        found[f"{name}, all words: subject"] = PerQuery(row.subject, asked)
    return found


def counts(row: Look, base: Look) -> bool:
    """Whether a row may be compared: its subject share is at most 5 points below the base's."""
    return bool(row.subject.mean() >= base.subject.mean() - MOST_LOST - 1e-12)


def _notes(config: LookConfig, rows: dict[str, Look], words: Sequence[LookWord], pictures: int) -> tuple[str, ...]:
    measured = "; ".join(f"{name} by {how}" for name, (_, how) in MEASURES.items())
    notes = [
        f"{len(words)} words, one query each, exact search over the {pictures:,} pictures of {config.split}; of the "
        f"top {TOP} the percentile of the word's attribute, in its direction, and the share with the subject in a "
        "caption. "
        "Gains and changes are paired with the base's row by query.",
        f"Measured {measured}: formulas that nothing ranks by.",
    ]
    out = [name for name, row in rows.items() if not counts(row, rows["base"])]
    if out:
        lost = f"more than {100 * MOST_LOST:g} points of the subject's share are lost"
        notes.append(f"Do not count, as {lost}: {'; '.join(out)}.")
    return tuple(notes)


def _judgements(config: LookConfig) -> Judgements:
    return read_judgements(
        RetrievalConfig(
            config.table,
            image_column=config.image_column,
            text_column=config.text_column,
            splits=config.splits,
            split=config.split,
        )
    )


def _stems(judged: Judgements) -> tuple[set[str], ...]:
    captions: list[list[str]] = [[] for _ in judged.pictures]
    for query in judged.queries:
        captions[query.relevant[0]].extend(query.texts)
    return tuple(stems_of(texts) for texts in captions)


def _vectors(config: LookConfig, encoder: Encoder, judged: Judgements, embeddings: Path | None) -> Vectors:
    folder = config.pictures or config.table.parent
    found = picture_vectors(folder, judged.pictures, encoder, EmbedConfig(model=encoder.record.name), embeddings)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def _top(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    return np.asarray(np.argsort(-scores, axis=1, kind="stable")[:, :TOP], np.int64)
