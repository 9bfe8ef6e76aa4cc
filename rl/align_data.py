"""What an alignment step learns from: preference lists with their queries, captioned pictures beside them.

Everything is drawn from (seed, place in the run) alone, so that resuming, micro-batches and processes change nothing
of what a step holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.encoders import Encoder

from .align_config import OF_INDEX, AlignConfig
from .align_pictures import Folder, Gallery, Say, rows_of_examples
from .captions import read_source
from .preferences import PreferenceList, read_preferences, refuse_evaluation

if TYPE_CHECKING:
    from torch import Tensor

    from .anchors import Anchors

LISTS, CAPTIONS, WORDS, LABELS = 1, 2, 3, 4  # streams of random numbers


@dataclass(frozen=True)
class RankedList:
    """A preference list by numbers: its query among the texts, its pictures among the gallery's rows (L,)."""

    query: int
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


def read_data(config: AlignConfig, data: Path | None, cache: Path, say: Say) -> AlignData:
    """Reads the tables of a run; `data` holds the sources of captions. Raises BeholderError where no list is left."""
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
            found.append(RankedList(number(one.query), rows, one.prefer(), one.chains, levels))
        return found

    from benchmarks.evaluation import evaluation_pictures

    evaluation = set(evaluation_pictures())
    lists = read_preferences(Path(config.preferences)).lists
    refuse_evaluation(lists, evaluation)
    if config.dev_preferences:
        train, dev = lists, read_preferences(Path(config.dev_preferences)).lists
        refuse_evaluation(dev, evaluation)
    else:
        train = tuple(one for one in lists if not _in_dev(one.query, config.dev_share))
        dev = tuple(one for one in lists if _in_dev(one.query, config.dev_share))
    train_lists, dev_lists = ranked(train), ranked(dev)
    told = "".join(f"; {count:,} left out: {reason}" for reason, count in rejected.items())
    if not train_lists:
        found = f"none of {len(train):,} lists can be learnt from{told}"
        raise BeholderError(found, "lists over the pictures of --pictures", "Name the folders that hold them.")
    say(f"{len(train_lists):,} lists to learn from, {len(dev_lists):,} to choose by{told}")
    if config.labels == "shuffled":
        train_lists = [_shuffled(one, config.seed, place) for place, one in enumerate(train_lists)]

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


def _in_dev(query: str, share: float) -> bool:
    """By the query's own words: all lists of a query fall on one side, whatever else the table holds."""
    return int.from_bytes(hashlib.sha256(query.strip().lower().encode()).digest()[:8]) < share * 2**64


def _shuffled(one: RankedList, seed: int, place: int) -> RankedList:
    order = np.random.default_rng((seed, LABELS, place)).permutation(len(one.pictures))
    return RankedList(one.query, one.pictures[order], one.prefer, one.chains, one.levels)


def _captioned(
    config: AlignConfig, data: Path | None, gallery: Gallery, number: Any, evaluation: set[str]
) -> list[Captioned]:
    keys: dict[str, int] = {}
    found: list[Captioned] = []
    for source in config.captions:
        if source == OF_INDEX:
            said: dict[int, list[int]] = {}
            for row, caption in gallery.captions(without=evaluation):
                said.setdefault(row, []).append(number(caption))
            for row, captions in said.items():
                found.append(Captioned(row, keys.setdefault(f"row:{row}", len(keys)), tuple(captions)))
            continue
        examples = read_source(source, _root(data, source), "train")
        for row, example in zip(rows_of_examples(gallery, examples), examples, strict=True):
            key = keys.setdefault(example.key, len(keys))
            found.append(Captioned(row, key, tuple(number(caption) for caption in example.captions)))
    if len(found) < 2:
        raise BeholderError(
            f"{len(found)} captioned pictures in {', '.join(config.captions)}",
            "a set to hold what the encoder knows",
            "Name a source with --captions, or set --contrastive-weight and --anchor-weight 0.",
        )
    return found


def _kept(config: AlignConfig, data: Path | None, gallery: Gallery, number: Any) -> Kept:
    examples = read_source(config.dev_source, _root(data, config.dev_source), "dev")
    rows = rows_of_examples(gallery, examples)
    pairs = [(number(caption), owner) for owner, example in enumerate(examples) for caption in example.captions]
    texts, owners = np.array(pairs).T
    return Kept(np.array(rows), texts, owners)


def _root(data: Path | None, source: str) -> Path:
    if data is None and not (source.endswith(".tsv") and Path(source).is_absolute()):
        raise BeholderError(
            f"the source {source} is under no folder", "--data FOLDER or BEHOLDER_DATA", "Name the folder."
        )
    return data or Path("/")


class Plan:
    """The examples of a run in order: place n belongs to step n // queries. A map-style dataset of steps * queries."""

    def __init__(self, config: AlignConfig, data: AlignData) -> None:
        self.config, self.lists, self.captioned = config, len(data.train), data.captioned
        self.beside = config.contrastive_batch // config.queries if config.uses_captions else 0
        if self.beside and len(self.captioned) < config.contrastive_batch:
            found = f"{len(self.captioned)} captioned pictures"
            raise BeholderError(found, f"at least --contrastive-batch {config.contrastive_batch}", "Lower it.")
        self._order = lru_cache(maxsize=4)(self._permutation)

    def __len__(self) -> int:
        return self.config.steps * self.config.queries

    def __getitem__(self, place: int) -> tuple[int, list[tuple[int, int]]]:
        """The number of a list; (captioned picture, text) pairs beside it."""
        epoch, row = divmod(place, self.lists)
        generator = np.random.default_rng((self.config.seed, WORDS, place))
        beside = []
        # Whole steps of an epoch only, so that no picture meets itself in a batch
        per_epoch = len(self.captioned) // max(1, self.config.contrastive_batch) * self.config.contrastive_batch
        for at in range(place * self.beside, (place + 1) * self.beside):
            turn, seat = divmod(at, per_epoch)
            example = int(self._order(CAPTIONS, turn, len(self.captioned))[seat])
            beside.append((example, int(generator.choice(self.captioned[example].captions))))
        return int(self._order(LISTS, epoch, self.lists)[row]), beside

    def _permutation(self, stream: int, epoch: int, size: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.config.seed, stream, epoch)).permutation(size)


class Collator:
    """Places of a plan to the tensors of a (micro-)batch.

    `texts` is LongTensor (T, context) of token ids, or float (T, F) of features where the text tower is frozen;
    `pictures` float (N, D) vectors, or uint8 (N, S, S, 3) pixels where the image tower trains. The batch holds
    texts (B + C, ...), queries first; pictures of the lists, of which list_pictures (B, L) are the places, then those
    of the C captions; prefer (B, L, L), levels (B, L), chains (B, c, n), reference (B, L) logits; keys (C,); labels
    (B,), which count queries for the trainer (-100: a query without pairs); with anchors, anchor_texts and
    anchor_pictures (C, D), each for a tower that trains.
    """

    def __init__(
        self,
        data: AlignData,
        texts: Tensor,
        pictures: NDArray[Any],
        reference: list[NDArray[np.float32]],
        anchors: Anchors | None = None,
        *,
        once: bool,
    ) -> None:
        self.data, self.texts, self.pictures, self.reference = data, texts, pictures, reference
        self.anchors = anchors
        self.once = once  # each picture of a batch once: pixels are dear, vectors are not

    def __call__(self, places: Sequence[tuple[int, list[tuple[int, int]]]]) -> dict[str, Tensor]:
        import torch

        lists = [self.data.train[number] for number, _ in places]
        beside = [pair for _, pairs in places for pair in pairs]
        captioned = [self.data.captioned[example] for example, _ in beside]
        batch = padded(lists)
        rows = np.concatenate([batch.pop("rows").ravel(), np.array([one.picture for one in captioned], np.int64)])
        if self.once:
            rows, seats = np.unique(rows, return_inverse=True)
        else:
            seats = np.arange(len(rows))
        size = batch["prefer"].shape[:2]
        length = size[1]
        reference = np.zeros(size, np.float32)
        for row, (number, _) in enumerate(places):
            reference[row, : len(self.reference[number])] = self.reference[number]
        texts = np.array([one.query for one in lists] + [text for _, text in beside], np.int64)
        split = len(lists) * length
        batch["list_pictures"] = seats[:split].reshape(size)
        batch["caption_pictures"] = seats[split:]
        batch["reference"] = reference
        batch["keys"] = np.array([one.key for one in captioned], np.int64)
        batch["labels"] = np.where(batch["prefer"].any((1, 2)), 1, -100)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in batch.items()}
        tensors["texts"] = self.texts[torch.from_numpy(texts)]
        tensors["pictures"] = torch.from_numpy(np.array(self.pictures[rows]))
        if self.anchors is not None:
            said = [text for _, text in beside]
            tensors |= self.anchors.of(said, [one.picture for one in captioned])
        return tensors


def padded(lists: Sequence[RankedList]) -> dict[str, NDArray[Any]]:
    """rows, levels (B, L), prefer (B, L, L), chains (B, c, n; -1 after the end) of lists; padding has no preference."""
    size, length = len(lists), max(len(one.pictures) for one in lists)
    chains = max(1, max(len(one.chains) for one in lists))
    longest = max([2, *(len(chain) for one in lists for chain in one.chains)])
    rows, levels = np.zeros((size, length), np.int64), np.zeros((size, length), np.float32)
    prefer = np.zeros((size, length, length), bool)
    places = np.full((size, chains, longest), -1, np.int64)
    for row, one in enumerate(lists):
        count = len(one.pictures)
        rows[row, :count], levels[row, :count], prefer[row, :count, :count] = one.pictures, one.levels, one.prefer
        for number, chain in enumerate(one.chains):
            places[row, number, : len(chain)] = chain
    return {"rows": rows, "levels": levels, "prefer": prefer, "chains": places}


def tokens_of(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """LongTensor (T, context)."""
    import torch

    return torch.cat([encoder.tokenize(texts[at : at + 1024]) for at in range(0, len(texts), 1024)])
