"""`index update`: brings an index up to its source in one step: embeds what is new, adds it, removes what is gone.

The vectors of the source are kept in an EMBEDDINGS folder, by default `INDEX/embeddings`, so that a run that is killed
goes on and a later one embeds only what is new. An index that has no such folder yet gets one out of its own vectors.
New pictures are scored by the index's scorers, where these are to be had, and added before old ones are removed:
whenever it is killed, no picture of the source is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from indexes import load_index
from indexes.building.build import build_index
from indexes.building.growth import add, compact, gone_from, remove
from indexes.building.growth_scores import drifts
from indexes.building.tune import remeasure, tune_index
from indexes.errors import BeholderError
from indexes.records.manifest import record_file, write_bytes_atomic
from indexes.records.shards import EmbeddingsManifest, write_shard
from indexes.searching.search import Index, IndexManifest
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.pipeline import EmbedConfig, EmbedReport, embed
from retrieval.sources.plan import manifest_digest, relative
from retrieval.sources.sources import find_source

from .update_scores import score_new, seed_scores

EMBEDDINGS = "embeddings"  # within an INDEX folder
SEED_ROWS = 65_536  # rows per shard that is written from an index
MOST_SEGMENTS = 8  # each is searched on its own: beyond, they become one
MOST_REMOVED = 0.25  # of the rows: beyond, they are left out of the files

Progress = Callable[[int, int], None]
Sources = str | Path | Sequence[str | Path]


@dataclass
class UpdateReport:
    """What an update did."""

    created: bool
    count: int = 0  # pictures in the index now
    added: int = 0
    removed: int = 0
    segments: int = 0
    compacted: bool = False
    unscored: dict[str, int] = field(default_factory=dict)  # added pictures without a score, by scorer
    drift: dict[str, float] = field(default_factory=dict)  # percentile points, by scorer, where worth saying
    measured: dict[str, Any] | None = None  # knn_recall, interval, kind and target, where the index keeps a target
    embedded: EmbedReport = field(default_factory=EmbedReport)


def update_index(
    index: Path,
    source: Sources,
    config: EmbedConfig | None = None,
    *,
    build: Callable[[Path, Path], object] | None = None,
    embeddings: Path | None = None,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
) -> UpdateReport:
    """Brings the INDEX up to the pictures of `source`, or makes it; searches go on meanwhile.

    config: of `embed`; its model counts where the index is new, else the index's own encoder. build(embeddings, index)
    makes a new index, by default `build_index`. embeddings: the folder to keep vectors in. Raises BeholderError for
    another source than the index's (all its pictures would leave), and whatever `embed` and `build` raise. Recall is
    measured again where it was measured before; an index that became of another kind is tuned.
    """
    index.mkdir(parents=True, exist_ok=True)
    there = bool(manifest_digest(index))
    folder = embeddings or index / EMBEDDINGS
    config = config or EmbedConfig()
    if there:
        manifest = IndexManifest.read(index)
        _check_source(index, manifest, source)
        if encoder is None:
            config = replace(config, model=manifest.encoder.name)
        if not manifest_digest(folder):
            seed_embeddings(load_index(index, mmap=True), folder)
    report = UpdateReport(created=not there)
    report.embedded = embed(source, folder, config, encoder=encoder, progress=progress)
    if not there:
        (build or build_index)(folder, index)
        report.added = report.embedded.count
    else:
        opened = load_index(index, mmap=True)
        seed_scores(opened, folder)
        score_new(opened, folder, config.workers)
        del opened
        growth = add(index, folder)
        report.added, report.unscored = growth.added, growth.unscored
        gone = gone_from(index, folder)
        report.removed = remove(index, gone).removed if len(gone) else 0
        report.compacted = _needs_compaction(IndexManifest.read(index))
        if report.compacted:
            compact(index)
    after = IndexManifest.read(index)
    # Chosen again by compact: its parameters are first guesses.
    if there and after.factory != manifest.factory and after.parameters:
        after = tune_index(index)
    elif after.measured is not None and after.measured.get("stale") and after.count > 1:
        after = remeasure(index)
    if after.measured is not None:
        report.measured = {name: after.measured.get(name) for name in ("knn_recall", "interval", "kind", "target")}
    report.drift = drifts(after.scores)
    report.count, report.segments = after.count, len(after.segments)
    return report


def _check_source(index: Path, manifest: IndexManifest, source: Sources) -> None:
    """An index is updated from where its pictures are: from elsewhere everything it holds would be removed."""
    root = (index / manifest.source).resolve()
    found = find_source(source, root).root.resolve()
    if found != root:
        remedy = "Use `index add` for more pictures, or give a new INDEX."
        raise BeholderError(f"{index} holds the pictures of {root}, not of {found}", "its own source", remedy)


def _needs_compaction(manifest: IndexManifest) -> bool:
    held = sum(segment.count for segment in manifest.segments)
    return len(manifest.segments) > MOST_SEGMENTS or held - manifest.count > MOST_REMOVED * held


def seed_embeddings(index: Index, folder: Path) -> None:
    """Writes the live pictures of an index as an EMBEDDINGS folder: nothing of them is embedded again."""
    ids = index.live_ids()
    items = index.items(ids)
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, start in enumerate(range(0, len(ids), SEED_ROWS)):
        part = ids[start : start + SEED_ROWS]
        shards.append(write_shard(folder, number, part, index.vectors(part), items.slice(start, len(part))))
    write_bytes_atomic(folder / "rejected.jsonl", b"")
    EmbeddingsManifest(
        encoder=index.manifest.encoder,
        source=relative(index.folder / index.manifest.source, folder),
        count=len(ids),
        rejected=record_file(folder, "rejected.jsonl"),
        shards=tuple(shards),
        next_id=index.manifest.next_id,
        settings={},
    ).write(folder)
