"""What the experiment `look` learns from and is measured on: words with subjects, pictures with their attributes.

Lists are made by the teacher of `bench look`: relevance to the subject, plus the signed attributes of the word. No list
knows the second formulas, which figures are measured with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.captions import RetrievalConfig, read_judgements
from benchmarks.tables.judgements import Judgements, read_tsv
from benchmarks.tables.subjects import short_subjects
from benchmarks.taste.look import Gallery, Look, look_of, signs
from benchmarks.taste.look_attributes import attributes
from benchmarks.taste.look_words import ATTRIBUTES, TRAINED, LookWord, look_words, stems_of
from benchmarks.taste.score_cache import ScoreCache, scores_folder
from indexes.errors import BeholderError
from indexes.records.beauty import spread_of
from indexes.records.percentiles import normal_scores, percentiles
from retrieval.encoding.encoder import Encoder
from retrieval.search.generic_queries import generic_queries
from rl.preferences import PreferenceList

from .flickr import NAME, read_gallery
from .parts import Parts
from .places import Places
from .tiers import Tiers, tiered_lists

TOP = 10
SAID = {  # what the teacher asks for, in words
    "brightness": ("bright light", "darkness"),
    "contrast": ("strong light and shadow", "soft flat light"),
    "saturation": ("pure strong colours", "pale grey colours"),
    "colourfulness": ("many different colours", "a single colour"),
    "warmth": ("warm orange light", "cold blue light"),
    "complexity": ("many small details", "an empty plain background"),
}
Rows = NDArray[np.float32]
Normal = NDArray[np.floating[Any]]  # normal scores (N, 6), columns as in ATTRIBUTES
Signs = Mapping[str, NDArray[np.float64]]  # word -> (6,) 1, -1 or 0, columns as in ATTRIBUTES


@dataclass(frozen=True)
class Words:
    """Words to learn from with what a rewriter would ask for, and those to be measured on."""

    learnt: Signs
    asked: tuple[LookWord, ...]
    trained: NDArray[np.bool_]  # (Q,) of `asked`

    @classmethod
    def read(cls, glossary: Path | None, *, dev: bool) -> Words:
        """`dev`: of the words that may be trained on, the last of each attribute and direction is held out, and only
        these words are asked; words of the glossary that share a root with one held out are left out as well. Raises
        BeholderError for a glossary that holds a word kept for the end."""
        words = look_words()
        mine = [one for one in words if one.split == TRAINED]
        last = {(one.attribute, one.sign): one.word for one in mine}
        held = set(last.values()) if dev else {one.word for one in words if one.split != TRAINED}
        learnt = {one.word: signs([one])[0] for one in mine if one.word not in held}
        for word, row in (read_glossary(glossary) if glossary else {}).items():
            if word in {one.word for one in words}:
                raise BeholderError(f"the glossary holds {word!r}", "words that are not in the table", "Remove it.")
            if not dev or not any(same_root(word, one) for one in held):
                learnt[word] = row
        asked = tuple(mine if dev else words)
        return cls(learnt, asked, np.array([one.word not in held for one in asked]))


def same_root(one: str, other: str) -> bool:
    """Whether parts of two words begin alike ("ash-grey" and "greyish", "cosily-lit" and "cosy"): by four letters, so
    that rather too many do."""
    return bool(_roots(one) & _roots(other))


def _roots(word: str) -> set[str]:
    parts = (part for part in word.split("-") if len(part) > 3)
    return {part.removeprefix("un").replace("gray", "grey").replace("y", "i")[:4] for part in parts}


def read_glossary(path: Path) -> dict[str, NDArray[np.float64]]:
    """Word -> signs (6,) of a table of words and what they ask for (`brightness-`)."""
    found = {}
    for row in read_tsv(path, ("word", "teacher")):
        attribute, sign = row["teacher"][:-1], row["teacher"][-1]
        if attribute not in ATTRIBUTES or sign not in "+-":
            raise BeholderError(f"{row['word']} asks for {row['teacher']}", "an attribute with a sign", "Mend it.")
        column = np.zeros(len(ATTRIBUTES))
        column[ATTRIBUTES.index(attribute)] = 1 if sign == "+" else -1
        found[row["word"]] = column
    return found


def in_words(word: LookWord) -> str:
    """The query that a rewriter makes of a word where no scorer is at hand: the subject, and the attributes."""
    parts = [SAID[attribute][sign < 0] for attribute, sign in word.teacher]
    return f"{word.query}, {', '.join(parts)}"


@dataclass(frozen=True)
class Shown:
    """A split's pictures by the base: vectors (N, D), normal scores (N, 6) of what the teacher ranks by."""

    vectors: Rows
    normal: Normal
    sha256s: tuple[str, ...]
    captions: tuple[str, ...]


def shown_to_learn(places: Places) -> Shown:
    """The pictures of `train`."""
    gallery = read_gallery(places, "train", ATTRIBUTES)
    normal = np.stack([normal_scores(percentiles(gallery.scores[name])) for name in ATTRIBUTES], axis=1)
    return Shown(gallery.vectors, normal, gallery.sha256s, tuple(gallery.captions))


def teacher_scores(
    base: Encoder,
    subjects: Sequence[str],
    asked: NDArray[np.float64],
    vectors: Rows,
    normal: Normal,
    b: float,
) -> NDArray[np.float64]:
    """(Q, N): relevance to the subjects, plus b times the signed attributes (Q, 6) in units of the gallery's spread."""
    generic = base.encode_texts(list(generic_queries()))
    spread, _ = spread_of(generic, [(np.arange(len(vectors)), vectors)], len(vectors))
    places = {text: row for row, text in enumerate(dict.fromkeys(subjects))}
    relevance = (base.encode_texts(list(places)) @ vectors.T)[[places[text] for text in subjects]]
    return np.asarray(relevance + b * spread * (asked @ normal.T), np.float64)


def look_lists(
    base: Encoder,
    words: Words,
    shown: Shown,
    *,
    subjects: int,
    depth: int,
    b: float,
    tiers: Tiers,
    draws: int,
    seed: int,
) -> Iterator[PreferenceList]:
    """Every learnt word with `subjects` drawn subjects, `draws` lists each: first the `depth` pictures nearest to the
    subject (0: all), as the teacher orders them, then the others. Pairs among the first tell the look, pairs
    across tell the subject. The reference is given the subject alone: what the word adds to it is what is learnt."""
    known, generator = short_subjects(shown.captions), np.random.default_rng(seed)
    pairs = [
        (word, str(subject))
        for word in words.learnt
        for subject in generator.choice(known, min(subjects, len(known)), replace=False)
    ]
    asked = np.stack([words.learnt[word] for word, _ in pairs])
    said = [subject for _, subject in pairs]
    scores = teacher_scores(base, said, asked, shown.vectors, shown.normal, b)
    if depth:
        relevance = teacher_scores(base, said, np.zeros_like(asked), shown.vectors, shown.normal, b)
        nearest = np.argpartition(-relevance, depth, axis=1)[:, :depth]
        above = np.zeros_like(scores)
        np.put_along_axis(above, nearest, np.ptp(scores) + 1, axis=1)
        scores += above
    found = tiered_lists(
        [f"{word} {subject}" for word, subject in pairs],
        scores,
        shown.sha256s,
        tiers,
        draws=draws,
        seed=seed,
        provenance={"teacher": "look", "b": b, "depth": depth},
    )
    return (replace(one, reference=said[number // draws]) for number, one in enumerate(found))


class Measured:
    """A split's pictures and what `bench look` measures of a ranking over them. `parts`: of the base, where pictures of
    tuned image heads are to be measured, too."""

    def __init__(self, places: Places, split: str, words: Words, parts: Parts | None = None) -> None:
        self.words, self.parts, self.encoder = words, parts, places.encoder
        table = places.data / NAME / "captions.tsv"
        judged: Judgements = read_judgements(
            RetrievalConfig(table, text_column="caption", splits=table.with_name("splits.tsv"), split=split)
        )
        self.vectors = places.vectors(NAME, judged.pictures)
        self.files = [places.pictures(NAME) / file for file in judged.pictures]
        cache = ScoreCache(scores_folder(""))
        second, first = attributes(places.pictures(NAME), judged.pictures, places.encoder, self.vectors, cache)
        captions: list[list[str]] = [[] for _ in judged.pictures]
        for query in judged.queries:
            captions[query.relevant[0]].extend(query.texts)
        shares = np.stack([percentiles(column) for column in second.T], axis=1)
        self.gallery = Gallery(shares, tuple(stems_of(texts) for texts in captions))
        self.normal = np.stack([normal_scores(percentiles(column)) for column in first.T], axis=1)

    def of(self, scores: NDArray[np.floating]) -> Look:
        """Of scores (Q, N)."""
        top = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
        return look_of(np.asarray(top, np.int64), self.words.asked, self.gallery)

    def asked(self, encoder: Encoder) -> Look:
        vectors = self.vectors if self.parts is None else self.parts.seen_by(encoder, self.files)
        return self.of(encoder.encode_texts([one.query for one in self.words.asked]) @ vectors.T)

    def teacher(self, base: Encoder, b: float) -> Look:
        words = self.words.asked
        subjects = [one.subjects[0] for one in words]
        return self.of(teacher_scores(base, subjects, signs(words), self.vectors, self.normal, b))

    def figures(self, look: Look) -> dict[str, float]:
        """Percent: mean percentile of trained and of held-out words, share of the subject."""
        mine = self.words.trained
        return {
            "look trained": 100 * float(look.percentile[mine].mean()),
            "look unseen": 100 * float(look.percentile[~mine].mean()),
            "subject": 100 * float(look.subject.mean()),
        }
