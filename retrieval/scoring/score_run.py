"""Pictures on their way through scorers: which of them have no score yet, each read once for all scorers of pixels.

A run that is killed goes on from what it saved every SAVE_S seconds. Memory: 100 bytes a picture and scorer for the
scores by sha256, and a few tasks of pixels ahead.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import FormatError
from indexes.records.scores import FOLDER, ScoreColumn, file_name, read_scores, write_scores
from indexes.records.shards import EncoderRecord
from retrieval.sources.sources import pictures, stays_inside

from .card import PictureScorer, Scorer, ScorerCard, VectorScorer, check_encoder, of_pixels, of_vectors
from .score_pool import Looked, Wanted, looking, workers_for
from .scorers import LOOK

SAVE_S = 60.0
BATCH = 32  # pictures at a time through a scorer that is given pixels
Progress = Callable[[int, int], None]
Known = dict[str, float]  # sha256 -> score


@dataclass
class ScoreReport:
    """What a run did for one scorer. low, mean and high are of the scores of all pictures that have one."""

    scorer: str
    count: int = 0  # pictures with a score
    new: int = 0
    low: float = 0.0
    mean: float = 0.0
    high: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)  # uri -> reason
    seconds: float = 0.0

    def line(self) -> str:
        """One line for people."""
        missing = f", {len(self.missing)} without" if self.missing else ""
        spread = f"; {self.low:.4g} to {self.high:.4g}, mean {self.mean:.4g}" if self.count else ""
        return f"{self.scorer}: {self.count} pictures ({self.new} new{missing}){spread}; {self.seconds:.1f} s"


@dataclass(frozen=True)
class Corpus:
    """The pictures of a folder, row by row: sha256 and uri under root; blocks of vectors in the same order."""

    folder: Path
    root: Path
    record: EncoderRecord
    sha256s: list[str]
    uris: list[str]
    blocks: Callable[[], Iterator[NDArray[Any]]]


def score_corpus(
    corpus: Corpus,
    scorers: Sequence[Scorer],
    columns: Mapping[str, Known],
    workers: int,
    max_pixels: int,
    progress: Progress | None,
) -> tuple[dict[str, Known], dict[str, ScoreReport]]:
    """The scores by scorer, old and new, and what was done. Encoders are checked before anything is computed."""
    for reader in of_vectors(scorers):
        check_encoder(reader.card, corpus.record)
    found = {name: dict(known) for name, known in columns.items()}
    reports = {scorer.card.name: ScoreReport(scorer.card.name) for scorer in scorers}
    for reader in of_vectors(scorers):
        with _timed(reports[reader.card.name]):
            _score_vectors(corpus, reader, found[reader.card.name])
    if of_pixels(scorers):
        _score_pixels(corpus, of_pixels(scorers), found, reports, workers, max_pixels, progress)
    for name, report in reports.items():
        report.new = len(found[name]) - len(columns[name])
        present = np.array([found[name][sha256] for sha256 in dict.fromkeys(corpus.sha256s) if sha256 in found[name]])
        report.count = len(present)
        if len(present):
            report.low, report.mean, report.high = (float(value) for value in _spread(present))
    return found, reports


def _score_vectors(corpus: Corpus, scorer: VectorScorer, known: Known) -> None:
    """All rows of a block where one is new: a head costs less than picking rows."""
    row = 0
    for vectors in corpus.blocks():
        sha256s = corpus.sha256s[row : row + len(vectors)]
        row += len(vectors)
        if not all(sha256 in known for sha256 in sha256s):
            values = scorer.score_vectors(vectors)
            for sha256, value in zip(sha256s, values, strict=True):
                known.setdefault(sha256, float(value))


def _score_pixels(
    corpus: Corpus,
    scorers: Sequence[PictureScorer],
    found: Mapping[str, Known],
    reports: Mapping[str, ScoreReport],
    workers: int,
    max_pixels: int,
    progress: Progress | None,
) -> None:
    for scorer in scorers:
        for sha256, value in kept_scores(partial_path(corpus.folder, scorer.card), scorer.card).items():
            found[scorer.card.name].setdefault(sha256, value)
    wanting = _first_rows(corpus.sha256s, [found[scorer.card.name] for scorer in scorers])
    rows = [row for row in wanting if stays_inside(corpus.uris[row])]
    for row in set(wanting).difference(rows):
        for scorer in scorers:
            reports[scorer.card.name].missing[corpus.uris[row]] = "lies outside of the source"
    if not rows:
        return
    formulas = tuple(scorer.card.name for scorer in scorers if scorer.card.name in LOOK)
    given = [scorer for scorer in scorers if scorer.card.name not in LOOK]
    sides = [scorer.card.max_side_px for scorer in given]
    wanted = Wanted(formulas, max(sides, default=0), max_pixels)
    run = _Pixels(corpus, scorers, given, found, reports)
    saved = started = time.perf_counter()
    uris = [corpus.uris[row] for row in rows]
    with looking(pictures(corpus.root, uris), wanted, workers_for(workers, len(rows))) as looked:
        for done, (row, one) in enumerate(zip(rows, looked, strict=True), start=1):
            run.take(corpus.sha256s[row], one)
            if time.perf_counter() - saved > SAVE_S:
                run.save()
                saved = time.perf_counter()
            if progress:
                progress(done, len(rows))
    run.flush()
    for scorer in scorers:
        reports[scorer.card.name].seconds += time.perf_counter() - started


class _Pixels:
    """Pictures on their way through the scorers of pixels, by batches for those that are given the pixels."""

    def __init__(
        self,
        corpus: Corpus,
        scorers: Sequence[PictureScorer],
        given: Sequence[PictureScorer],
        found: Mapping[str, Known],
        reports: Mapping[str, ScoreReport],
    ) -> None:
        self.corpus, self.scorers, self.given, self.found, self.reports = corpus, scorers, given, found, reports
        self.batch: list[tuple[str, Looked]] = []

    def take(self, sha256: str, looked: Looked) -> None:
        reason = looked.reason or ("" if looked.sha256 == sha256 else "changed since it was embedded")
        if reason:
            for scorer in self.scorers:
                if sha256 not in self.found[scorer.card.name]:
                    self.reports[scorer.card.name].missing[looked.uri] = reason
            return
        for name, value in looked.scores.items():
            self.found[name].setdefault(sha256, value)
        if self.given:
            self.batch.append((sha256, looked))
            if len(self.batch) == BATCH:
                self.flush()

    def flush(self) -> None:
        for scorer in self.given:
            known = self.found[scorer.card.name]
            waiting = [(sha256, one) for sha256, one in self.batch if sha256 not in known]
            if not waiting:
                continue
            values = scorer.score_pictures([one.pixels for _, one in waiting if one.pixels is not None])
            for (sha256, one), value in zip(waiting, values, strict=True):
                if np.isnan(value):
                    self.reports[scorer.card.name].missing[one.uri] = "the scorer gives it no score"
                else:
                    known[sha256] = float(value)
        self.batch.clear()

    def save(self) -> None:
        self.flush()
        for scorer in self.scorers:
            write_scores(
                partial_path(self.corpus.folder, scorer.card), column_of(scorer.card, self.found[scorer.card.name])
            )


def _first_rows(sha256s: Sequence[str], known: Sequence[Known]) -> list[int]:
    """The first row of each picture that some scorer lacks."""
    first: dict[str, int] = {}
    for row, sha256 in enumerate(sha256s):
        first.setdefault(sha256, row)
    return [row for sha256, row in first.items() if not all(sha256 in one for one in known)]


def kept_scores(path: Path, card: ScorerCard) -> Known:
    """The scores of a file where this very scorer made them; those of another version are made anew."""
    if not path.is_file():
        return {}
    column = read_scores(path)
    if column.name != card.name:
        raise FormatError(f"{path} holds scores of {column.name}", card.name, "Remove the file.")
    if column.fingerprint != card.fingerprint:
        return {}
    return dict(zip(column.sha256s, column.values.tolist(), strict=True))


def column_of(card: ScorerCard, known: Known) -> ScoreColumn:
    values = np.fromiter(known.values(), np.float32, len(known))
    return ScoreColumn(card.name, card.fingerprint, card.to_dict(), list(known), values)


def partial_path(folder: Path, card: ScorerCard) -> Path:
    """Scores of an unfinished run: a hidden name, that no reader of scores takes."""
    return folder / FOLDER / f".{file_name(card.name)}.partial"


def _spread(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return values.min(), values.mean(), values.max()


@contextmanager
def _timed(report: ScoreReport) -> Iterator[None]:
    started = time.perf_counter()
    yield
    report.seconds += time.perf_counter() - started
