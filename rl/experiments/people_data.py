"""The pages of the experiment `people`: mean scores to learn from, pages and choices between two to be measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables.judgements import read_tsv
from benchmarks.taste.aesthetics import PAIR_COLUMNS
from rl.lists.people import lists_of_scores
from rl.preferences import write_preferences

from .people_choices import chosen_by_scores, chosen_by_votes
from .places import Places

SCORED, VOTED = "website", "website_pairs"
TRAINED = "a beautiful web page", "an attractive website", "a well designed home page"
UNSEEN = "a screenshot of a stylish site", "a lovely looking page on the internet"
DEV = "a good-looking site", "a visually appealing page"  # choices are made with these: neither trained nor reported
LISTS = 768  # of a training table: a run never sees one twice


@dataclass(frozen=True)
class Pages:
    """Pages of a set by name, their mean scores (N,)."""

    files: list[str]
    scores: NDArray[np.float64]

    @classmethod
    def read(cls, data: Path, split: str) -> Pages:
        rows = read_tsv(data / SCORED / "items.tsv", ("file", "mean_score", "split"))
        rows = [row for row in rows if row["split"] == split]
        return cls([row["file"] for row in rows], np.array([float(row["mean_score"]) for row in rows]))

    def chosen(self) -> NDArray[np.float64]:
        return chosen_by_scores(self.scores)


def voted_pages(data: Path) -> tuple[list[str], NDArray[np.float64]]:
    """The pages that were shown two at a time, and how often each was preferred to each other (N, N)."""
    rows = read_tsv(data / VOTED / "pairs.tsv", PAIR_COLUMNS)
    files = sorted({row[column] for row in rows for column in PAIR_COLUMNS[:2]})
    places = {file: place for place, file in enumerate(files)}
    pairs = np.array([[places[row[column]] for column in PAIR_COLUMNS[:2]] for row in rows], np.int64)
    wins = np.array([[float(row[column]) for column in PAIR_COLUMNS[2:]] for row in rows])
    return files, chosen_by_votes(pairs, wins, len(files))


def fold_of(sha256s: Sequence[str], folds: int) -> NDArray[np.int64]:
    """(N,) fold of each page, by the order of their sha256: nothing else decides it."""
    found = np.empty(len(sha256s), np.int64)
    found[np.argsort(sha256s)] = np.arange(len(sha256s)) % folds
    return found


def write_lists(
    folder: Path, places: Places, pages: Pages, folds: int, out: int | None, length: int, seed: int
) -> tuple[str, str]:
    """Tables of preferences: to train on, without the pages of fold `out`, and of those pages for dev ("" for None)."""
    sha256s = places.sha256s(SCORED, pages.files)
    held = fold_of(sha256s, folds) == (-1 if out is None else out)
    scores = dict(zip(sha256s, pages.scores.tolist(), strict=True))
    known = {name: scores[name] for name, mine in zip(sha256s, held, strict=True) if not mine}
    folder.mkdir(parents=True, exist_ok=True)
    train, dev = folder / "train.parquet", folder / "dev.parquet"
    origin = {"made": "from people's mean scores", "set": SCORED}
    write_preferences(train, lists_of_scores(known, TRAINED, length=length, lists=LISTS, seed=seed), origin)
    if out is None:
        return str(train), ""
    rest = {name: scores[name] for name, mine in zip(sha256s, held, strict=True) if mine}
    write_preferences(dev, lists_of_scores(rest, DEV, length=len(rest), lists=len(DEV), seed=seed), origin)
    return str(train), str(dev)
