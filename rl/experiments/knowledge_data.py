"""What the experiment `knowledge` learns from: descriptions with recorded rewrites, paintings, folds of both.

Training lists come from the teacher, the base given the rewrite of each description; the student is given the
description. A fifth of the training paintings is kept from every list, to choose by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.knowledge.run import artists_of, relevance_of, scores_of
from benchmarks.knowledge.texts import KnowledgeQuery, check_texts, read_texts
from benchmarks.tables.judgements import read_tsv
from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from retrieval.rewriting.table import read_rewrites
from rl.features import cache_name
from rl.preferences import write_preferences

from .kept import OBJECTS, Objects
from .places import Places
from .tiers import Tiers, tiered_lists

PAINTINGS = "peopleart"
GLOSSARIES = "glossary-rewrites.tsv", "second-glossary-rewrites.tsv"
DEV_SHARE = 5  # one of so many training paintings is kept to choose by
SALT = "dev:"  # before a painting's name, where that is drawn


@dataclass(frozen=True)
class Paintings:
    """Some of the set: names of files, their style labels, vectors (N, D) of the base, sha256s."""

    files: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: NDArray[np.float32]
    sha256s: tuple[str, ...]


def paintings(places: Places, split: str, *, dev: bool | None = None) -> Paintings:
    """Those of a split; `dev`: only those kept to choose by, or only the others."""
    rows = read_tsv(places.data / PAINTINGS / "items.tsv", ("file", "style", "split"))
    rows = [row for row in rows if row["split"] == split and dev in (None, in_dev(row["file"]))]
    files = tuple(row["file"] for row in rows)
    return Paintings(
        files,
        tuple(row["style"] for row in rows),
        places.vectors(PAINTINGS, files),
        tuple(places.sha256s(PAINTINGS, files)),
    )


def in_dev(file: str) -> bool:
    return int.from_bytes(hashlib.sha256((SALT + file).encode()).digest()[:8]) < 2**64 // DEV_SHARE


@dataclass(frozen=True)
class Descriptions:
    """The descriptions that are asked, and those of the glossaries, which are learnt from alone."""

    asked: tuple[KnowledgeQuery, ...]
    glossary: tuple[tuple[str, str], ...]  # query, rewrite

    @classmethod
    def read(cls, folder: Path, table: Path) -> Descriptions:
        """Raises BeholderError where a query names its style, or a glossary holds one of the queries."""
        asked = read_texts(folder / "queries.tsv", folder / "rewrites.tsv")
        check_texts(asked, artists_of(table))
        rows = [row for name in GLOSSARIES for row in read_rewrites(folder / name)[1]]
        both = {one.query for one in asked} & {row["query"] for row in rows}
        if both:
            raise BeholderError(f"a glossary holds {min(both)!r}", "other texts than the queries", "Remove it.")
        return cls(tuple(asked), tuple((row["query"], row["rewrite"]) for row in rows))

    def up_to(self, phrasing: int) -> list[KnowledgeQuery]:
        return [one for one in self.asked if one.phrasing <= phrasing]


def write_lists(
    path: Path,
    base: Encoder,
    pairs: Sequence[tuple[str, str]],
    shown: Paintings,
    tiers: Tiers,
    *,
    draws: int,
    seed: int,
) -> int:
    """The number of lists of (query, rewrite) pairs, by the base's own ranking of the rewrites."""
    teacher = _once(base, [rewrite for _, rewrite in pairs], path.parent) @ shown.vectors.T
    lists = tiered_lists(
        [query for query, _ in pairs],
        teacher,
        shown.sha256s,
        tiers,
        draws=draws,
        seed=seed,
        provenance={"teacher": "recorded rewrite"},
    )
    return write_preferences(path, lists, {"experiment": "knowledge", "encoder": base.record.text_fingerprint})


def _once(base: Encoder, texts: Sequence[str], cache: Path) -> NDArray[np.float32]:
    """(T, D) of texts, encoded the first time: the lists of all seeds come from the same."""
    path = cache / cache_name("teacher", base.record.text_fingerprint, list(texts))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        np.save(temporary, base.encode_texts(list(texts)))
        temporary.replace(path)
    found: NDArray[np.float32] = np.load(path)
    return found


class DevFigures:
    """Figures of an encoder: precision@8 (percent) of trained and held-out phrasings, mAP (percent) of objects. Where
    phrasings are held out, over the paintings that were kept to choose by; else over all training paintings."""

    def __init__(self, places: Places, texts: Descriptions, trained: int, unseen: Sequence[int]) -> None:
        self.shown = paintings(places, "train", dev=True if unseen else None)
        self.asked = [one for one in texts.asked if one.phrasing <= trained or one.phrasing in unseen]
        self.seen = np.array([one.phrasing <= trained for one in self.asked])
        self.relevance = relevance_of(self.asked, self.shown.labels)
        self.objects = Objects(places)

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        return self.of(encoder, [one.query for one in self.asked])

    def of(self, encoder: Encoder, texts: Sequence[str]) -> dict[str, float]:
        """The figures where `texts` are asked in place of the queries."""
        found = scores_of(encoder, texts, self.shown.vectors, self.relevance)["precision@8"]
        figures = {
            "precision@8 trained": 100 * float(found[self.seen].mean()),
            OBJECTS: self.objects.of(encoder),
        }
        if not self.seen.all():
            figures["precision@8 unseen"] = 100 * float(found[~self.seen].mean())
        return figures
