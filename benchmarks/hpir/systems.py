"""What is compared on an HPIR set: encoders, each with rewriters and re-rankers, scorers, and tables of human scores.

Human scores are the ceiling, above all where they were fitted to the very votes of the set.
Every system becomes one float array per different query of the set: a score for each picture that the query's items
show, which are that query's candidates. An encoder scores them exactly, by cosine; a re-ranker gets them all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.runs import portable_spec
from indexes.errors import BeholderError
from indexes.records.beauty import spread_of
from indexes.records.manifest import sha256_file
from indexes.records.percentiles import normal_scores, percentiles
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.hpir import HpirItem
from retrieval.language.asking import AskSettings
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.rewriting.rewriter import RewriteSettings, count_rewrites
from retrieval.scoring.scorers import load_scorer
from retrieval.search.candidates import Candidates, Reranker
from retrieval.search.generic_queries import generic_queries
from retrieval.search.query import NOT_WEIGHT, Part, Query, combine
from retrieval.search.rerankers import RankMix, load_reranker

from .pictures import SetPictures, Vectors
from .scorers import picture_scores, table_scores

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
DEFAULT_ENCODER = "beholder-mini"  # where nothing is named


@dataclass(frozen=True)
class Question:
    """A different query of a set. query: None where it is more than words. candidates: rows of the set's pictures."""

    words: str
    query: Query | None
    candidates: Ints


@dataclass(frozen=True)
class System:
    """scores: for each question an array over its candidates, higher is better. parts: what it is made of, with the
    fingerprints that tell versions apart."""

    name: str
    scores: tuple[Floats, ...]
    parts: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SystemSpecs:
    """Which systems: each encoder alone, with each rewriter, and each of these with each re-ranker; each encoder with
    each beauty weight of the first scorer; each scorer; each table (path, column of scores). With nothing named:
    encoders of the EMBEDDINGS, else beholder-mini."""

    encoder: tuple[str, ...] = ()
    rewrite: tuple[str, ...] = ()
    rerank: tuple[str, ...] = ()
    scorer: tuple[str, ...] = ()
    tables: tuple[tuple[Path, str], ...] = ()
    device: str = "cpu"
    beauty: tuple[float, ...] = ()  # as `search --beauty`

    def encoders(self, pictures: SetPictures) -> tuple[str, ...]:
        """The encoders by name; none where only scorers or tables are named."""
        if self.encoder:
            return self.encoder
        if (self.scorer or self.tables) and not (self.rewrite or self.rerank or self.beauty):
            return ()
        stored = tuple(dict.fromkeys(one.manifest.encoder.name for one in pictures.embeddings))
        return stored or (DEFAULT_ENCODER,)


def questions_of(items: Sequence[HpirItem], rows: Mapping[str, int]) -> tuple[list[Question], Ints]:
    """The different queries, and which one (K,) each item asks. rows: sha256 -> row of the set's pictures."""
    numbers: dict[str, int] = {}
    first: list[HpirItem] = []
    shown: list[set[int]] = []
    asked = np.empty(len(items), np.int64)
    for place, item in enumerate(items):
        key = json.dumps([item.query, item.parts], sort_keys=True)
        if key not in numbers:
            numbers[key] = len(first)
            first.append(item)
            shown.append(set())
        asked[place] = numbers[key]
        shown[numbers[key]].update(rows[sha256] for sha256 in (*item.group_a, *item.group_b))
    questions = [
        Question(item.query, query_of(item), np.array(sorted(inside), np.int64))
        for item, inside in zip(first, shown, strict=True)
    ]
    return questions, asked


def query_of(item: HpirItem) -> Query | None:
    """The query of an item as its words say it, weights and negatives included; None where it holds pictures or
    vectors, whose bytes a set does not carry."""
    if set(item.parts) - {"text", "not"}:
        return None
    parts = [_part(one, 1.0, 1) for one in item.parts.get("text") or ()]
    parts += [_part(one, -NOT_WEIGHT, -1) for one in item.parts.get("not") or ()]
    return Query(tuple(parts)) if parts else Query.of(item.query) if item.query.strip() else None


def _part(given: Any, weight: float, sign: int) -> Part:
    if isinstance(given, Mapping):
        return Part("text", given["text"], sign * float(given.get("weight", weight)))
    return Part("text", str(given), sign * weight)


def systems(specs: SystemSpecs, questions: Sequence[Question], pictures: SetPictures) -> list[System]:
    """All of them, in the order of the specs. Raises BeholderError for a name that is none, a scorer of vectors that
    were not given, and pictures that are missing."""
    loaded = {name: load_encoder(name, specs.device) for name in dict.fromkeys(specs.encoders(pictures))}
    vectors = {name: pictures.vectors(encoder) for name, encoder in loaded.items()}
    rerankers = [(spec, load_reranker(spec, AskSettings(device=specs.device, timeout_s=30.0))) for spec in specs.rerank]
    mixed = [one.scorer for _, one in rerankers if isinstance(one, RankMix) and one.scorer]
    scorers = {name: load_scorer(name) for name in dict.fromkeys([*specs.scorer, *mixed])}
    known = picture_scores(scorers, loaded, vectors, pictures)
    found = []
    for name, encoder in loaded.items():
        plain = _by_encoder(_short(name), encoder, vectors[name], questions, "")
        rewritten = [_by_encoder(_short(name), encoder, vectors[name], questions, spec) for spec in specs.rewrite]
        for system in (plain, *rewritten):
            found.append(system)
            for spec, reranker in rerankers:
                context = _Context(questions, vectors[name], known, specs.scorer[0] if specs.scorer else "", pictures)
                found.append(_reranked(system, spec, reranker, context))
        for b in specs.beauty:
            found.append(_by_sum(_short(name), encoder, b, questions, vectors[name], plain, specs.scorer[0], known))
    found += [
        System(
            _short(name),
            tuple(known[name][one.candidates] for one in questions),
            {"scorer": scorers[name].card.name, "scorer_fingerprint": scorers[name].card.fingerprint},
        )
        for name in dict.fromkeys(specs.scorer)
    ]
    for table, column in specs.tables:
        values = table_scores(table, column, pictures)
        name, scores = f"ceiling: {column} of {table.name}", tuple(values[one.candidates] for one in questions)
        found.append(System(name, scores, {"column": column, "table_sha256": sha256_file(table)}))
    names = [one.name for one in found]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise BeholderError(f"two systems are called {repeated}", "different ones", "Name each once.")
    return found


def _by_encoder(name: str, encoder: Encoder, vectors: Vectors, questions: Sequence[Question], rewrite: str) -> System:
    """Cosines of the questions' words, rewritten where a spec is given; what is unwanted keeps its words."""
    queries = [one.query for one in questions]
    parts = [part for query in queries if query is not None for part in query.parts]
    said = {part.value: part.value for part in parts}
    record = encoder.record
    prints = {"image_fingerprint": record.image_fingerprint, "text_fingerprint": record.text_fingerprint}
    made_of = {"encoder": name, **prints}
    notes: tuple[str, ...] = ()
    if rewrite:
        wanted = list(dict.fromkeys(part.value for part in parts if part.weight > 0))
        rewriter = load_rewriter(rewrite, RewriteSettings(device=str(encoder.device)), encoder=encoder)
        done = rewriter.rewrite(wanted)
        made_of["rewriter"] = rewriter.name
        said |= {one.original: one.text for one in done}
        rewrite = portable_spec(rewrite)
        notes = (f"{name}, {rewrite}: {count_rewrites(done).line()}.",)
    texts = list(dict.fromkeys([*said, *said.values()]))
    rows = {text: row for row, text in enumerate(texts)}
    encoded = encoder.encode_texts(texts)
    scores = []
    for question, query in zip(questions, queries, strict=True):
        if query is None:
            raise BeholderError(f"the query {question.words!r} is not of words alone", "texts", "Leave its items out.")
        at = [rows[said[part.value] if part.weight > 0 else part.value] for part in query.parts]
        vector = encoded[at[0]]
        if query.plain is None:
            vector = combine(encoded[at], [part.weight for part in query.parts])
        scores.append(np.asarray(vectors[question.candidates] @ vector, np.float64))
    return System(f"{name}, {rewrite}" if rewrite else name, tuple(scores), made_of, notes)


def _by_sum(
    name: str,
    encoder: Encoder,
    b: float,
    questions: Sequence[Question],
    vectors: Vectors,
    plain: System,
    scorer: str,
    known: Mapping[str, Floats],
) -> System:
    """Relevance plus b spreads of a picture's normal score, as `search --beauty b` over the set's pictures."""
    spread, _ = spread_of(
        encoder.encode_texts(list(generic_queries())), [(np.arange(len(vectors)), vectors)], len(vectors)
    )
    beauty = b * spread * normal_scores(percentiles(known[scorer])).astype(np.float64)
    scores = [
        relevance + beauty[question.candidates] for question, relevance in zip(questions, plain.scores, strict=True)
    ]
    return System(f"{name}, beauty {b:g}", tuple(scores), {**plain.parts, "beauty": f"{scorer}:{b:g}"})


@dataclass(frozen=True)
class _Context:
    questions: Sequence[Question]
    vectors: Vectors
    scorers: Mapping[str, Floats]  # by name, (N,) of all pictures
    default_scorer: str
    pictures: SetPictures


def _reranked(system: System, spec: str, reranker: Reranker, context: _Context) -> System:
    """The system's candidates of each question, re-ranked; their scores are the re-ranker's."""
    scores, notes, told = [], list(system.notes), portable_spec(spec)
    for question, relevance in zip(context.questions, system.scores, strict=True):
        best_first = np.argsort(-relevance, kind="stable")
        ids = question.candidates[best_first]
        candidates = Candidates(
            query=question.words,
            ids=ids,
            relevance=relevance[best_first].astype(np.float32),
            scores=relevance[best_first],
            percentiles={name: percentiles(values)[ids] for name, values in context.scorers.items()},
            default_scorer=context.default_scorer,
            vectors=lambda wanted: context.vectors[wanted],
            picture=context.pictures.picture,
        )
        done = reranker.rerank(candidates, len(ids))
        places = np.searchsorted(question.candidates, done.ids)
        values = np.empty(len(ids))
        values[places] = done.scores
        scores.append(values)
        notes += [f"{system.name}, {told}: {note}." for note in done.notes]
    made_of = {**system.parts, "reranker": told}
    return replace(
        system, name=f"{system.name}, {told}", scores=tuple(scores), parts=made_of, notes=tuple(dict.fromkeys(notes))
    )


def _short(name: str) -> str:
    """A folder's own name; any other name as it is."""
    return Path(name).name if Path(name).exists() else name
