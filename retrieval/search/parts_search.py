"""Queries to an index of parts: encoded once, asked of all parts at once, merged by relevance.

Each part answers for itself, filter and all; cosines of one encoder are comparable, so the best of the parts are the
best of the whole. What needs the whole corpus at one place (percentiles of beauty, sorting, re-ranking, thresholds by
calibration) is refused. A part that is down ends the search, or, where `partial` says so, is told of in each answer.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from indexes import load_index
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.exact import Neighbors
from indexes.records.segments import IndexManifest
from indexes.records.shards import EncoderRecord
from indexes.searching.parts import (
    Down,
    PartDown,
    PartRecord,
    PartsManifest,
    asked,
    merged,
    resolved,
    split_id,
    whole_ids,
    write_parts,
)
from indexes.searching.search import Index
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.rewriting.rewriter import Rewrite

from .config import SearchConfig
from .query import Part, Query
from .query_encoder import QueryEncoder
from .remote_part import RemotePart
from .results import Answer, Result
from .rewritten import rewritten
from .searcher import Searcher, picture_folder

Results = list[list[Result]]


class AskedPart(Protocol):
    def described(self) -> tuple[EncoderRecord, int]: ...

    def search(self, vectors: NDArray[np.float32], config: SearchConfig) -> Results: ...


class LocalPart:
    """An INDEX folder on this machine, opened when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._searcher: Searcher | None = None

    def described(self) -> tuple[EncoderRecord, int]:
        """The encoder and the number of pictures. Raises PartDown."""
        try:
            manifest = IndexManifest.read(self.folder)
        except (FormatError, OSError) as error:
            raise PartDown(str(error)) from error
        return manifest.encoder, manifest.count

    @property
    def pictures(self) -> Path:
        """Where its pictures lie."""
        return picture_folder(self._open().index)

    def search(self, vectors: NDArray[np.float32], config: SearchConfig) -> Results:
        """The results of each query (Q, D); their uri is a whole path. Raises PartDown."""
        searcher = self._open()
        answers = searcher.search([Query((Part("vector", vector),)) for vector in vectors], config)
        root = picture_folder(searcher.index)
        return [[replace(result, uri=str(root / result.uri)) for result in answer.results] for answer in answers]

    def _open(self) -> Searcher:
        with self._lock:
            if self._searcher is None:
                try:
                    self._searcher = Searcher(load_index(self.folder))
                except (FormatError, OSError) as error:
                    raise PartDown(str(error)) from error
            return self._searcher


class PartsSearcher:
    """An index of parts, open for search. partial: answer without the parts that are down, and say so in `notes`."""

    def __init__(self, folder: Path, *, model: str | None = None, device: str = "cpu", partial: bool = False) -> None:
        self.folder, self.partial = folder, partial
        self.manifest = PartsManifest.read(folder)
        self.parts = [_part(folder, record) for record in self.manifest.parts]
        # The encoder's checks need a manifest and a name to show, which this has as an index has.
        self.encoder = QueryEncoder(cast(Index, self), model=model, device=device)

    def __len__(self) -> int:
        return self.manifest.count

    def search(self, queries: Sequence[Query | str], config: SearchConfig | None = None) -> list[Answer]:
        """An answer to each query: the k best pictures of all parts. Raises ConditionFailed where a part is down
        (unless `partial`, and one answers), BeholderError for what an index of parts cannot do."""
        config = config or SearchConfig()
        wanted = [Query.of(query) if isinstance(query, str) else query for query in queries]
        _check(config, wanted)
        started = time.perf_counter()
        said, rewrites = wanted, list[tuple[Rewrite, ...]]([()] * len(wanted))
        if config.rewrite not in ("", "none"):
            rewriter = load_rewriter(config.rewrite, encoder=self.encoder.text_encoder())
            said, rewrites = rewritten(wanted, rewriter)
            config = replace(config, rewrite="none")  # the parts get vectors
        rewrote = time.perf_counter()
        vectors = self.encoder.encode(said)
        encoded = time.perf_counter()
        places = [record.place for record in self.manifest.parts]
        found = asked(places, lambda number: self.parts[number].search(vectors, config))
        if found.down and (not self.partial or not found.said):
            raise ConditionFailed(
                f"{len(found.down)} of {len(places)} parts did not answer: {_shown(found.down[0])}",
                "all parts",
                "Bring it back, or search the others with --partial.",
            )
        notes = tuple(self._note(down) for down in found.down)
        if config.near is not None:
            notes += ("copies across parts were found by content alone",)
        searched = time.perf_counter()
        seconds = {"rewrite": rewrote - started, "encode": encoded - rewrote, "search": searched - encoded}
        answers, root = [], self.pictures
        for row, query in enumerate(wanted):
            results = _merged({number: said[row] for number, said in found.said.items()}, config)
            good = config.min_relevance is None or bool(results)
            shown = [_relative(one, root) for one in results]
            answers.append(Answer(query, shown, rewrites[row], good, notes=notes, seconds=seconds))
        return answers

    def down(self) -> tuple[Down, ...]:
        """The parts that cannot be asked now. Raises BeholderError where one has another encoder by now."""
        places = [record.place for record in self.manifest.parts]
        found = asked(places, lambda number: self.parts[number].described())
        for number, (encoder, _) in found.said.items():
            if encoder.image_fingerprint != self.manifest.encoder.image_fingerprint:
                name = f"{encoder.name} (pictures {encoder.image_fingerprint[:12]})"
                raise BeholderError(f"{places[number]} is of {name}", f"{self.manifest.encoder.name}", "Name it anew.")
        return found.down

    @property
    def pictures(self) -> Path:
        """The folder that the uris of results are under; those that are addresses apart."""
        return Path(os.path.commonpath([part.pictures for part in self._local_parts()] or [self.folder.resolve()]))

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """For the encoder, which asks for vectors of `like`: parts elsewhere do not give them."""
        raise BeholderError("--like over an index of parts", "words, pictures or vectors", "Ask the part itself.")

    def _local_parts(self) -> list[LocalPart]:
        found = []
        for part in self.parts:
            if isinstance(part, LocalPart):
                try:
                    part.described()
                except PartDown:
                    continue  # the search has told of it
                found.append(part)
        return found

    def _note(self, down: Down) -> str:
        return f"part {_shown(down)} did not answer: its {self.manifest.parts[down.number].count} pictures are missing"


def _part(folder: Path, record: PartRecord) -> AskedPart:
    return RemotePart(record.place) if record.is_remote else LocalPart(resolved(folder, record))


def _relative(result: Result, root: Path) -> Result:
    if "://" in result.uri:
        return result
    return replace(result, uri=Path(result.uri).relative_to(root).as_posix())


def _shown(down: Down) -> str:
    return f"{down.place} ({down.reason})"


def _check(config: SearchConfig, queries: Sequence[Query]) -> None:
    """Raises BeholderError for what needs the whole corpus at one place."""
    given: Mapping[str, Any] = {
        "beauty": config.beauty,
        "rerank": config.rerank,
        "sort": config.sort,
        "min-relevance auto": config.min_relevance == "auto",
        "like": any(query.likes for query in queries),
    }
    refused = [name for name, value in given.items() if value]
    if refused:
        found = f"{', '.join(refused)} over an index of parts"
        raise BeholderError(found, "words, pictures, vectors, where, dedup, a least relevance", "Ask the part itself.")


def _merged(results: Mapping[int, list[Result]], config: SearchConfig) -> list[Result]:
    """The best k of the parts' results of one query, ranks and ids over all of them. Where repetitions are to be
    collapsed, a file that several parts hold counts once."""
    rows = {
        number: Neighbors(
            np.array([[one.id for one in own]], np.int64).reshape(1, -1),
            np.array([[one.relevance for one in own]], np.float32).reshape(1, -1),
        )
        for number, own in results.items()
    }
    best = merged(rows, sum(len(own) for own in results.values()) or 1)
    held = {(number, one.id): one for number, own in results.items() for one in own}
    chosen: list[Result] = []
    seen: set[str] = set()
    for identity in best.ids[0].tolist():
        number, _ = place = split_id(identity)
        one = held[place]
        if config.near is not None and one.sha256 in seen:
            continue
        seen.add(one.sha256)
        copies = tuple(whole_ids(number, np.array(one.copies, np.int64)).tolist())
        chosen.append(replace(one, id=identity, rank=len(chosen) + 1, copies=copies))
        if len(chosen) == config.k:
            break
    return chosen


def name_parts(folder: Path, places: Sequence[str]) -> PartsManifest:
    """Makes an index of parts of INDEX folders and URLs of services. Each is asked now; paths are kept relative to
    `folder`. Raises ConditionFailed where one is down, BeholderError for different encoders."""
    kept = [_kept(folder, place) for place in places]
    parts = [_part(folder, PartRecord(place, 0)) for place in kept]
    found = asked(kept, lambda number: parts[number].described())
    if found.down:
        raise ConditionFailed(f"the part {_shown(found.down[0])} cannot be asked", "a part that answers")
    told = [found.said[number] for number in range(len(kept))]
    records = [PartRecord(place, count) for place, (_, count) in zip(kept, told, strict=True)]
    return write_parts(folder, [encoder for encoder, _ in told], records)


def _kept(folder: Path, place: str) -> str:
    if PartRecord(place, 0).is_remote:
        return place
    return Path(os.path.relpath(Path(place).resolve(), folder.resolve())).as_posix()
