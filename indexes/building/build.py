"""Builds an INDEX folder from an EMBEDDINGS folder: plans which kind, builds it in one new segment, and
chooses its search parameters on real queries.

The new index grows whole under `.new` in its folder, is tuned there, and its segment is moved into place; the
manifest comes last. So a build that is killed leaves an index that is not there yet, or the one that was
there before, and the next call clears what was left and ends with the same bytes (a plan that was made, by
timing, is kept for it).
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.engine.factories import build_bytes, check_fits, parse, rescaled
from indexes.engine.faiss_build import Progress
from indexes.engine.list_tasks import Tasks
from indexes.engine.memory import PeakMemory, give_back, shown
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.beauty import padded_width
from indexes.records.critiques import FILE as CRITIQUES
from indexes.records.locks import LOCK, locked
from indexes.records.manifest import MANIFEST, publish, sha256_file, write_json_atomic
from indexes.records.query_file import PATTERNS, other_queries, unit_queries, write_queries
from indexes.records.score_columns import ScoreRecord
from indexes.records.scores import FOLDER as SCORES
from indexes.records.segments import INDEX_FORMAT, IndexManifest, SegmentRecord
from indexes.records.shards import Embeddings, check_size
from indexes.searching.safety import remember
from indexes.searching.search import Index

from .beauty_tune import beauty_records, measured_spread
from .build_scores import score_digests, score_files, scored_rows, write_scored
from .fit import Fit
from .index_config import FLAT_UP_TO, IndexConfig
from .planner import Plan, plan
from .segment_writer import Rows, rows_of, write_segment
from .tune import missed, queries_for, tuned

__all__ = ["FLAT_UP_TO", "IndexConfig", "build_index", "config_like"]

NEW = ".new"  # within the folder: what is being built
OURS = {MANIFEST, f".{MANIFEST}.tmp", "segments", SCORES, LOCK, NEW, "embeddings", CRITIQUES, f".{CRITIQUES}.tmp"}


def config_like(other: str | Path, config: IndexConfig, count: int) -> IndexConfig:
    """The configuration of another index, for `count` vectors: its kind of index, target, seed and training;
    memory, device, threads and measure stay those of `config`."""
    manifest = IndexManifest.read(Path(other))
    factory = manifest.factory
    if parse(factory).lists > count:
        factory = rescaled(factory, count)
    names = "seed", "train_rows", "knn_recall"
    known = {name: manifest.settings[name] for name in names if name in manifest.settings}
    return replace(config, factory=factory, **known)


@dataclass(frozen=True)
class _Work:
    """What is to be built, and from what."""

    folder: Path
    source: Embeddings
    digest: str  # sha256 of the embeddings' manifest
    rows: Rows
    config: IndexConfig
    settings: dict[str, Any]  # as the manifest will keep them
    queries: tuple[NDArray[np.float32], str] | None
    texts: tuple[NDArray[np.float32], str] | None  # vectors of text queries, and "text" or "generic"
    scores: dict[str, Path]  # files of scores by scorer, those that become dimensions first
    tasks: Tasks | None  # who finds each row's list

    @property
    def new(self) -> Path:
        return self.folder / NEW

    def recipe(self, factory: str) -> str:
        content = json.dumps([INDEX_FORMAT, self.digest, factory, self.settings], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def measures(self) -> bool:
        planned = self.config.factory == "auto" and (self.rows.count > FLAT_UP_TO or bool(self.config.memory))
        return self.rows.count > 1 and (self.config.measure or planned or self.queries is not None)


def build_index(
    embeddings: str | Path,
    index: str | Path,
    config: IndexConfig | None = None,
    *,
    query_vectors: NDArray[Any] | None = None,
    query_kind: str = "vectors",
    text_vectors: NDArray[Any] | None = None,
    like: str | Path | None = None,
    overwrite: bool = False,
    tasks: Tasks | None = None,
    progress: Progress | None = None,
) -> IndexManifest:
    """Builds the INDEX folder and returns its manifest; at once where the same index is there already.

    Ids are 0 to N - 1 in row order. query_vectors (Q, D): real queries, of `query_kind` ("text", "vectors"),
    that the search parameters are chosen on, and that the index keeps; without them rows of the corpus stand
    in. text_vectors (T, D): generic text queries, that the spread of relevance is measured with where query_vectors
    are no texts; without either, beauty weights are refused. All scores in `embeddings` become columns, those of
    config.scorers dimensions too. like: an index whose kind is built again. tasks: who finds out
    which list each row goes to (list_tasks.py); changes no byte. progress(done, total) counts vectors.

    Raises BeholderError where `index` holds an index of other embeddings (unless overwrite, which replaces it
    when the new one is whole) or files of another kind; ConditionFailed where memory and target cannot both be
    met, and then the folder is as it was. A factory that was given is built even if it misses the target:
    `measured` says so.
    """
    folder, config = Path(index), config or IndexConfig()
    source = Embeddings(embeddings)
    if like is not None:
        config = config_like(like, config, len(source))
    rows, digest = rows_of(source), sha256_file(source.folder / MANIFEST)
    scores = score_files(source.folder, config)
    settings, queries, texts = {**config.settings(), "scores": score_digests(scores)}, None, None
    if text_vectors is not None:
        texts = unit_queries(text_vectors, rows.dimension), "generic"
    if query_vectors is not None:
        queries = unit_queries(query_vectors, rows.dimension), query_kind
        texts = queries if query_kind == "text" else texts
        with tempfile.TemporaryDirectory() as place:
            settings["queries"] = write_queries(Path(place), *queries)
    if config.factory != "auto":
        _check_memory(config, rows)
    work = _Work(folder, source, digest, rows, config, settings, queries, texts, scores, tasks)
    before = _existing(folder, digest, overwrite)
    if before and _finished(work, before):
        if _left(folder, before):
            with locked(folder):
                _clear(folder, before)
        return before
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        kept_plan = _kept_plan(work)
        _clear(folder, before)
        try:
            manifest = _built(work, kept_plan, progress)
        except ConditionFailed:
            _clear(folder, before)
            raise
        _publish(work, manifest, before)
    return manifest


def _check_memory(config: IndexConfig, rows: Rows) -> None:
    width = padded_width(rows.dimension, len(config.scorers))
    check_fits(config.factory, rows.count, width)
    needed = build_bytes(config.factory, rows.count, width, config.train_rows, config.memory)
    if config.memory and needed > config.memory:
        found = f"{config.factory} over {rows.count} vectors needs {shown(needed)} to build"
        raise ConditionFailed(found, f"at most {shown(config.memory)}", "Give it more memory, or use factory auto.")


def _built(work: _Work, kept_plan: Plan | None, progress: Progress | None) -> IndexManifest:
    """The manifest of the index that now lies under `.new`, tuned."""
    config, started = work.config, time.perf_counter()
    planned: Plan | None = None
    with PeakMemory() as peak:
        rows, scored = scored_rows(work.rows, work.scores, config)
        work = replace(work, rows=rows)
        held = _Held(write_scored(_made(work.new), scored, config), _spread(work))
        del scored
        factories: tuple[str, ...] = (config.factory,)
        if config.factory == "auto":
            vectors, kind = work.queries or (None, "held-out")
            planned = kept_plan or plan(work.rows, config, vectors, kind, work.new / "trial")
            write_json_atomic(_made(work.new) / "plan.json", {"recipe": work.recipe("auto"), **planned.to_dict()})
            factories = planned.factories
        for factory in factories:
            manifest, found, kept, kind = _attempt(work, held, factory, progress)
            reached = found is None or found.chosen is not None
            if reached or config.factory != "auto":
                break
        if config.factory == "auto" and found is not None and not reached:
            raise missed(f"{factory}, built over all vectors,", found, config.knn_recall, kind)
    if kept is None:
        return manifest
    extra: dict[str, Any] = {"build_s": round(time.perf_counter() - started, 2), "peak_bytes": peak.bytes}
    if planned is not None:
        extra |= {name: value for name, value in planned.to_dict().items() if name != "factories"}
    return replace(manifest, measured={**kept, **extra})


@dataclass(frozen=True)
class _Held:
    """What the manifest of any attempt holds of scores."""

    scores: tuple[ScoreRecord, ...]
    spread: dict[str, Any] | None


def _spread(work: _Work) -> dict[str, Any] | None:
    if work.texts is None:
        return None
    vectors, kind = work.texts
    return measured_spread(vectors, kind, work.rows.blocks(), work.rows.count)


def _attempt(
    work: _Work, held: _Held, factory: str, progress: Progress | None
) -> tuple[IndexManifest, Fit | None, dict[str, Any] | None, str]:
    """Builds one factory under `.new` and tunes it: manifest, fit (None where there is nothing to tune),
    what was measured, kind of queries."""
    config, kind = work.config, parse(factory)
    training = replace(config.training, tasks=work.tasks)
    segment = write_segment(_made(work.new), work.recipe(factory)[:16], work.rows, factory, training, progress)
    give_back()
    manifest = _manifest(work, held, factory, segment, {})
    tunable = kind.parameter is not None or kind.lossy
    if work.rows.count < 2 or not (tunable or work.measures()):
        return manifest, None, None, ""
    manifest.write(work.new)
    index = Index(work.new, config.device, False)
    queries = queries_for(index, work.queries, config.seed)
    found, kept = tuned(
        index, queries, config.knn_recall, seed=config.seed, threads=config.threads, measure=work.measures()
    )
    best = found.best()
    parameters: dict[str, Any] = dict(best.parameters)
    if kept is None:  # nothing timed enters the manifest
        held_out = {"queries": len(queries.vectors), "k": queries.answers.shape[1]}
        parameters["held_out"] = {**held_out, "knn_recall": round(best.knn_recall, 4)}
    if work.texts is not None:
        texts, said = work.texts
        scores = beauty_records(index, texts, said, config.knn_recall, threads=config.threads)
        manifest = replace(manifest, scores=scores)
    return replace(manifest, parameters=parameters), found, kept, queries.kind


def _manifest(
    work: _Work, held: _Held, factory: str, segment: SegmentRecord, parameters: dict[str, Any]
) -> IndexManifest:
    return IndexManifest(
        encoder=work.source.manifest.encoder,
        embeddings=work.digest,
        source=_source(work.source, work.folder),
        factory=factory,
        parameters=parameters,
        settings=work.settings,
        segments=(segment,),
        count=work.rows.count,
        next_id=work.rows.count,
        scores=held.scores,
        spread=held.spread,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _publish(work: _Work, manifest: IndexManifest, before: IndexManifest | None) -> None:
    """Moves the new segment to its place, and then the manifest makes it the index."""
    folder, segment = work.folder, manifest.segments[0]
    final = _made(folder / "segments") / segment.id
    if before and segment in before.segments and _whole(folder, before):
        shutil.rmtree(work.new / "segments")  # the same bytes: only what was measured or asked for differs
    else:
        if final.exists():  # damaged
            shutil.rmtree(final)
        publish(work.new / "segments" / segment.id, final)
    for record in manifest.scores:
        publish(work.new / record.file.path, _made(folder / SCORES) / Path(record.file.path).name)
    if work.queries is not None:
        write_queries(folder, *work.queries)
    manifest.write(folder)
    remember(folder)
    (folder / CRITIQUES).unlink(missing_ok=True)  # of the index that was here; the command line says so
    _clear(folder, manifest)


def _kept_plan(work: _Work) -> Plan | None:
    """The plan that a killed build of the same thing had made."""
    path = work.new / "plan.json"
    if work.config.factory != "auto" or not path.is_file():
        return None
    content = json.loads(path.read_bytes())
    return Plan.from_dict(content) if content.pop("recipe") == work.recipe("auto") else None


def _existing(folder: Path, digest: str, overwrite: bool) -> IndexManifest | None:
    """The manifest of an index that may be replaced, or None where there is none. Raises for anything
    else."""
    if not folder.exists():
        return None
    queries = {path.name for pattern in PATTERNS for path in folder.glob(pattern)}
    strange = sorted(set(os.listdir(folder)) - OURS - queries) if folder.is_dir() else [folder.name]
    if strange:
        raise BeholderError(f"{folder} holds {strange[0]}", "a new folder, or an index", "Choose another folder.")
    if not (folder / MANIFEST).exists():
        return None
    before = IndexManifest.read(folder)
    if before.embeddings != digest and not overwrite:
        found = f"{folder} is an index of other embeddings, or of these before they changed"
        raise BeholderError(found, "", "Choose another folder, or say that it may be overwritten.")
    return before


def _finished(work: _Work, before: IndexManifest) -> bool:
    """Whether the index is there already as it would be built. A plan is not made again to see."""
    if (before.embeddings, before.settings) != (work.digest, work.settings) or len(before.segments) != 1:
        return False
    measured = before.measured is not None and not before.measured.get("stale")
    names_it = before.segments[0].id == work.recipe(before.factory)[:16] and before.segments[0].tombstones is None
    spread = before.spread is not None or work.texts is None
    return names_it and spread and (measured or not work.measures()) and _whole(work.folder, before)


def _whole(folder: Path, manifest: IndexManifest) -> bool:
    try:
        for file in manifest.files:
            check_size(folder, file)
    except FormatError:
        return False
    return True


def _left(folder: Path, manifest: IndexManifest | None) -> list[Path]:
    """What a killed build left: anything that the manifest does not name."""
    named = {segment.id for segment in manifest.segments} if manifest else set()
    segments = folder / "segments"
    left = [path for path in segments.iterdir() if path.name not in named] if segments.is_dir() else []
    columns = {record.file.path for record in manifest.scores} if manifest else set()
    left += [path for path in folder.glob(f"{SCORES}/*") if path.relative_to(folder).as_posix() not in columns]
    names = f".{MANIFEST}.tmp", f".{CRITIQUES}.tmp", NEW
    return left + other_queries(folder, manifest) + [folder / name for name in names if (folder / name).exists()]


def _clear(folder: Path, manifest: IndexManifest | None) -> None:
    for path in _left(folder, manifest):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _source(source: Embeddings, folder: Path) -> str:
    """The folder of pictures as seen from the index; an absolute path stays one."""
    if Path(source.manifest.source).is_absolute():
        return source.manifest.source
    pictures = (source.folder / source.manifest.source).resolve()
    return Path(os.path.relpath(pictures, folder.resolve())).as_posix()
