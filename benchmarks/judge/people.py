"""How far a judge agrees with people: the rows of an HPIR set judged, against the votes on them.

Three labels: A, similar, B. Kappa of the judge and the majority stands beside the kappa of two voters, which says what
there is to reach.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.hpir.pictures import SetPictures
from benchmarks.hpir.systems import query_of
from benchmarks.measures.correlation import bootstrap_pictures
from benchmarks.measures.stats import Interval, bootstrap_mean
from benchmarks.runs import Number
from benchmarks.tables.hpir_set import pictures_of, read_set
from indexes.errors import BeholderError
from indexes.searching.search import Index
from retrieval.hpir import HpirItem
from retrieval.language.judge import ASPECTS, Verdict
from retrieval.search.searcher import picture_folder
from retrieval.sources.images import Picture, shrink

from .rates import cohen_kappa, people_choice, people_kappa
from .rows import SIDE, Pair, Row, stored_row

LABELS = {"a": 1, "same": 0, "b": -1}


def voted_items(sets: Sequence[Path], most: int, seed: int) -> tuple[list[HpirItem], int]:
    """At most `most` items, drawn by seed, of words only and with a vote; and how many were left out for want of
    either. Raises BeholderError where none is left."""
    items = [item for path in sets for item in read_set(path).items]
    fit = [item for item in items if query_of(item) is not None and any(_votes(item, one) for one in ASPECTS)]
    if not fit:
        names = ", ".join(path.name for path in sets)
        raise BeholderError(f"no item of {names} has words and votes", "at least one", "Collect votes.")
    if len(fit) > most:
        drawn = np.sort(np.random.default_rng(seed).choice(len(fit), most, replace=False))
        return [fit[place] for place in drawn], len(items) - len(fit)
    return fit, len(items) - len(fit)


def voted_pairs(items: Sequence[HpirItem], indexes: Sequence[Index], folders: Sequence[Path]) -> list[Pair]:
    """The items' groups as pairs of rows; pictures are found by sha256 in the indexes, then in folders.

    Raises BeholderError where some are nowhere.
    """
    places: dict[str, tuple[Path, str]] = {}
    for index in indexes:
        table, root = index.items_table(), picture_folder(index)
        columns = (table.column(name).to_pylist() for name in ("sha256", "uri"))
        for sha256, uri in zip(*columns, strict=True):
            places.setdefault(sha256, (root, uri))
    missing = [sha256 for sha256 in pictures_of(items) if sha256 not in places]
    beside = SetPictures(missing, folders, ())
    if missing:
        beside.picture(0)  # says what is missing, before anything is asked

    def row(sha256s: Sequence[str]) -> Row:
        def read() -> list[Picture]:
            return [one(sha256) for sha256 in sha256s]

        return Row(tuple(sha256s), read)

    def one(sha256: str) -> Picture:
        if sha256 in places:
            root, uri = places[sha256]
            return stored_row(root, [(sha256, uri)]).read()[0]
        return shrink(beside.picture(beside.rows[sha256]), SIDE)

    return [Pair(item.query, row(item.group_a), row(item.group_b)) for item in items]


def people_numbers(items: Sequence[HpirItem], verdicts: Sequence[Verdict], seed: int) -> dict[str, Number]:
    """By aspect with votes: agreement where people have a majority (similar is half right), kappa of judge and people,
    kappa of two voters."""
    numbers: dict[str, Number] = {}
    for aspect in ASPECTS:
        votes = [_votes(item, aspect) for item in items]
        said = [
            (choice, people)
            for verdict, one in zip(verdicts, votes, strict=True)
            if (choice := verdict.choices[aspect]) is not None and (people := people_choice(one)) is not None
        ]
        clear = [(choice * people + 1) / 2 for choice, people in said if people]
        if clear:
            number = Number.of(bootstrap_mean(clear, seed=seed), 0.5)
            numbers[f"agreement with people's majority, {aspect}"] = number
        labels = np.array(said, np.int64).reshape(-1, 2)
        several = [one for one in votes if len(one) > 1]
        for name, statistic, count in (
            (f"kappa of judge and people, {aspect}", partial(_kappa, labels), len(labels)),
            (f"kappa of two people, {aspect}", partial(_people_kappa, several), len(several)),
        ):
            found = _with_interval(statistic, count, seed)
            if found is not None:
                numbers[name] = Number(found.mean, "", found.low, found.high, found.n)
    return numbers


def _votes(item: HpirItem, aspect: str) -> list[int]:
    return [LABELS[vote] for vote in item.votes[aspect] if vote is not None]


def _with_interval(statistic: Callable[[npt.NDArray[np.int64]], float], count: int, seed: int) -> Interval | None:
    """None where the statistic of all says nothing."""
    if not count or np.isnan(statistic(np.arange(count))):
        return None
    return bootstrap_pictures(statistic, count, seed=seed)


def _kappa(labels: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> float:
    value = cohen_kappa(labels[rows, 0].tolist(), labels[rows, 1].tolist())
    return float("nan") if value is None else value


def _people_kappa(votes: Sequence[Sequence[int]], rows: npt.NDArray[np.int64]) -> float:
    value = people_kappa([votes[row] for row in rows.tolist()])
    return float("nan") if value is None else value
