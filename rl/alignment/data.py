"""What an alignment run learns from: preference lists with their queries, captioned pictures beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from rl.captions import read_source
from rl.preferences import PreferenceList, read_preferences, refuse_evaluation

from .config import OF_INDEX, AlignConfig
from .pictures import Folder, Gallery, Say, rows_of_examples

LISTS, CAPTIONS, WORDS, LABELS, PICTURES = 1, 2, 3, 4, 5  # streams of random numbers of a run


@dataclass(frozen=True)
class RankedList:
    """A preference list by numbers: its query and what the reference is given among the texts, its pictures among the
    gallery's rows (L,)."""

    query: int
    reference: int
    pictures: NDArray[np.int64]
    prefer: NDArray[np.bool_]
    chains: tuple[tuple[int, ...], ...]
    levels: NDArray[np.float32]


@dataclass(frozen=True)
class Captioned:
    """A picture of the gallery and what may be said of it; pictures with equal keys share their captions."""

    picture: int
    key: int
    captions: tuple[int, ...]


@dataclass(frozen=True)
class Kept:
    """What retention is measured on: pictures of the gallery, and texts with the place of each one's own picture."""

    pictures: NDArray[np.int64]
    texts: NDArray[np.int64]
    owners: NDArray[np.int64]


@dataclass(frozen=True)
class AlignData:
    """All of a run's data, by numbers, and what was left out of it and why."""

    texts: list[str]
    gallery: Gallery
    train: list[RankedList]
    dev: list[RankedList]
    captioned: list[Captioned]
    kept: Kept
    rejected: dict[str, int]


def read_data(
    config: AlignConfig, data: Path | None, cache: Path, say: Say, fingerprint: str | None = None
) -> AlignData:
    """Reads the tables of a run; `data` holds the sources of captions. Raises BeholderError where no list is left, and
    for lists that a cascade made over pictures of another encoder than the base's `fingerprint`."""
    gallery = Gallery([Folder.open(Path(folder)) for folder in config.pictures], cache)
    texts: dict[str, int] = {}
    rejected: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def ranked(lists: Sequence[PreferenceList]) -> list[RankedList]:
        found = []
        for one in lists:
            reason = _unusable(one, config, gallery)
            if reason:
                rejected[reason] = rejected.get(reason, 0) + 1
                continue
            rows = np.array([gallery.row(sha256) for sha256 in one.pictures])
            levels = np.array(one.levels or np.zeros(len(rows)), np.float32)
            query, reference = number(one.query), number(one.reference or one.query)
            found.append(RankedList(query, reference, rows, one.prefer(), one.chains, levels))
        return found

    from benchmarks.tables.evaluation import evaluation_pictures

    evaluation = set(evaluation_pictures())

    def lists_of(name: str) -> tuple[PreferenceList, ...]:
        table = read_preferences(Path(name))
        refuse_evaluation(table.lists, evaluation)
        if not config.any_teacher:
            _check_teacher(name, table.origin, fingerprint)
        return table.lists

    lists = lists_of(config.preferences)
    if config.dev_preferences:
        train, dev = lists, lists_of(config.dev_preferences)
    else:
        train = tuple(one for one in lists if not _in_dev(one.query, config.dev_share))
        dev = tuple(one for one in lists if _in_dev(one.query, config.dev_share))
    train_lists, dev_lists = ranked(train), ranked(dev)
    told = "".join(f"; {count:,} left out: {reason}" for reason, count in rejected.items())
    if not train_lists:
        found = f"none of {len(train):,} lists can be learnt from{told}"
        raise BeholderError(found, "lists over the pictures of --pictures", "Name the folders that hold them.")
    say(f"{len(train_lists):,} lists to learn from, {len(dev_lists):,} to choose by{told}")
    if config.labels != "teacher":
        train_lists = without_teacher(train_lists, config.labels, config.seed)

    captioned = _captioned(config, data, gallery, number, evaluation) if config.uses_captions else []
    kept = _kept(config, data, gallery, number)
    return AlignData(list(texts), gallery, train_lists, dev_lists, captioned, kept, rejected)


def _unusable(one: PreferenceList, config: AlignConfig, gallery: Gallery) -> str:
    if not one.better:
        return "no pairs"
    if not all(gallery.has(sha256) for sha256 in one.pictures):
        return "pictures that no folder holds"
    if config.loss in ("plackett-luce", "list-mle") and not any(len(chain) > 1 for chain in one.chains):
        return "no chain of pictures"
    if config.loss == "lipo-lambda" and not one.levels:
        return "no levels"
    return ""


def _check_teacher(name: str, origin: Mapping[str, Any], fingerprint: str | None) -> None:
    """What people said holds for any encoder; what a cascade found holds for its own candidates."""
    made_by = origin.get("image_fingerprint")
    if origin.get("made") == "cascade" and fingerprint and made_by and made_by != fingerprint:
        raise BeholderError(
            f"the lists of {name} were made over pictures of {origin.get('encoder', 'an encoder')} ({made_by[:12]})",
            f"{fingerprint[:12]}, the encoder that is tuned",
            "Make them over an index of this encoder, or take them as they are with --any-teacher.",
        )


def _in_dev(query: str, share: float) -> bool:
    """By the query's own words: all lists of a query fall on one side, whatever else the table holds."""
    return int.from_bytes(hashlib.sha256(query.strip().lower().encode()).digest()[:8]) < share * 2**64


def without_teacher(lists: Sequence[RankedList], labels: str, seed: int) -> list[RankedList]:
    """Controls with the same queries and pairs: "shuffled" puts each list's own pictures into a random order, "random"
    puts any pictures of the lists in their place."""
    pool = np.unique(np.concatenate([one.pictures for one in lists]))
    made = []
    for place, one in enumerate(lists):
        generator, size = np.random.default_rng((seed, LABELS, place)), len(one.pictures)
        drawn = (
            generator.choice(pool, size, replace=False) if labels == "random" else generator.permutation(one.pictures)
        )
        made.append(RankedList(one.query, one.reference, drawn, one.prefer, one.chains, one.levels))
    return made


def _captioned(
    config: AlignConfig, data: Path | None, gallery: Gallery, number: Any, evaluation: set[str]
) -> list[Captioned]:
    keys: dict[str, int] = {}
    found: list[Captioned] = []
    held = config.dev_share if config.dev_source == OF_INDEX else 0.0
    for source in config.captions:
        if source == OF_INDEX:
            said: dict[int, list[int]] = {}
            for row, caption in gallery.captions(lambda name: name not in evaluation and not _in_dev(name, held)):
                said.setdefault(row, []).append(number(caption))
            for row, captions in said.items():
                found.append(Captioned(row, keys.setdefault(f"row:{row}", len(keys)), tuple(captions)))
            continue
        examples = read_source(source, root_of(data, source), "train")
        for row, example in zip(rows_of_examples(gallery, examples), examples, strict=True):
            key = keys.setdefault(example.key, len(keys))
            found.append(Captioned(row, key, tuple(number(caption) for caption in example.captions)))
    if len(found) < 2:
        raise BeholderError(
            f"{len(found)} captioned pictures in {', '.join(config.captions)}",
            "a set to hold what the encoder knows",
            "Name a source with --captions, or set --contrastive-weight, --anchor-weight and --logit-anchor-weight 0.",
        )
    return found


def _kept(config: AlignConfig, data: Path | None, gallery: Gallery, number: Any) -> Kept:
    said: dict[int, list[str]] = {}  # row of a picture -> its captions
    if config.dev_source == OF_INDEX:
        for row, caption in gallery.captions(lambda name: _in_dev(name, config.dev_share)):
            said.setdefault(row, []).append(caption)
    else:
        examples = read_source(config.dev_source, root_of(data, config.dev_source), "dev")
        for row, example in zip(rows_of_examples(gallery, examples), examples, strict=True):
            said.setdefault(row, []).extend(example.captions)
    if len(said) < 2:
        raise BeholderError(
            f"{len(said)} captioned pictures to tell what is kept",
            "two at least",
            "Name another --dev-source, or raise --dev-share.",
        )
    pairs = [(number(caption), owner) for owner, row in enumerate(said) for caption in said[row]]
    texts, owners = np.array(pairs).T
    return Kept(np.array(list(said)), texts, owners)


def root_of(data: Path | None, source: str) -> Path:
    """The folder under which a source lies. Raises BeholderError where none is named."""
    if data is None and not (source.endswith(".tsv") and Path(source).is_absolute()):
        raise BeholderError(
            f"the source {source} is under no folder", "--data FOLDER or BEHOLDER_DATA", "Name the folder."
        )
    return data or Path("/")
