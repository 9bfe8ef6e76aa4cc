"""Builds an INDEX folder from an EMBEDDINGS folder, shard by shard, in one new segment.

The segment grows under a temporary name and is renamed when whole; the manifest comes last. So a build that
is killed leaves an index that is not there yet, or the one that was there before, and the next call clears
what was left and ends with the same bytes.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BeholderError, FormatError
from .exact import exact_search
from .faiss_build import Progress, gather
from .manifest import MANIFEST, sha256_file
from .segment_writer import Rows, Training, rows_of, write_segment
from .safety import remember
from .segments import INDEX_FORMAT, IndexManifest
from .shards import Embeddings, check_size
from .threads import faiss_threads

# Owner: docs/decisions/0002-flat-search-threads.md, "Flat or IVF": up to here exact costs under a millisecond more.
FLAT_UP_TO = 20_000
HELD_OUT = 256  # corpus vectors searched to choose nprobe
HELD_OUT_K = 10
_FACTORY = re.compile(r"auto|Flat|IVF([1-9][0-9]*),Flat")


@dataclass(frozen=True)
class IndexConfig:
    """How to build. The same configuration over the same embeddings gives the same bytes."""

    factory: str = "auto"  # "Flat", "IVF<lists>,Flat"; auto: Flat up to FLAT_UP_TO vectors, else 4 * sqrt(N) lists
    threads: int = 0  # 0: all cores
    seed: int = 0  # of k-means and of the samples
    train_rows: int = 262_144  # most rows that IVF is trained on: the bound of its memory, 4 * D bytes each
    knn_recall: float = 0.98  # that nprobe is chosen for: share of the exact top 10 found, over held-out vectors

    def __post_init__(self) -> None:
        wrong = []
        if not _FACTORY.fullmatch(self.factory):
            wrong.append(f"factory {self.factory!r} (auto, Flat or IVF<lists>,Flat)")
        if self.threads < 0:
            wrong.append(f"threads {self.threads} (0 or more)")
        if self.seed < 0:
            wrong.append(f"seed {self.seed} (0 or more)")
        if self.train_rows < 1:
            wrong.append(f"train_rows {self.train_rows} (1 or more)")
        if not 0 < self.knn_recall <= 1:
            wrong.append(f"knn_recall {self.knn_recall} (above 0, at most 1)")
        if wrong:
            raise BeholderError(f"index settings: {', '.join(wrong)}")

    @property
    def training(self) -> Training:
        return Training(self.seed, self.train_rows, self.threads)


def choose_factory(config: IndexConfig, count: int) -> str:
    """FAISS's name for the index of `count` vectors. Raises BeholderError for more lists than vectors."""
    factory = config.factory
    if factory == "auto":
        factory = "Flat" if count <= FLAT_UP_TO else f"IVF{round(4 * count**0.5)},Flat"
    lists = _FACTORY.fullmatch(factory)
    if lists and lists[1] and int(lists[1]) > count:
        raise BeholderError(f"{factory} over {count} vectors", "fewer lists than vectors", "Use factory auto.")
    return factory


def build_index(
    embeddings: str | Path,
    index: str | Path,
    config: IndexConfig | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> IndexManifest:
    """Builds the INDEX folder and returns its manifest; at once where the same index is there already.

    Ids are 0 to N - 1 in row order. progress(done, total) counts vectors. Raises BeholderError where `index`
    holds an index of other embeddings (unless overwrite, which replaces it when the new one is whole) or
    files of another kind.
    """
    folder, config = Path(index), config or IndexConfig()
    source = Embeddings(embeddings)
    digest = sha256_file(source.folder / MANIFEST)
    factory = choose_factory(config, len(source))
    settings = {name: value for name, value in asdict(config).items() if name != "threads"}
    recipe = json.dumps([INDEX_FORMAT, digest, factory, settings], sort_keys=True)
    segment_id = hashlib.sha256(recipe.encode()).hexdigest()[:16]

    before = _existing(folder, digest, overwrite)
    if before and [segment.id for segment in before.segments] == [segment_id] and _whole(folder, before):
        _clear(folder, keep=segment_id)
        return before
    _clear(folder, keep=before.segments[0].id if before else "")
    rows = rows_of(source)
    segment = write_segment(folder, segment_id, rows, factory, config.training, progress)
    parameters = _choose_nprobe(folder / segment.faiss.path, rows, config) if factory != "Flat" else {}
    manifest = IndexManifest(
        encoder=source.manifest.encoder,
        embeddings=digest,
        source=_source(source, folder),
        factory=factory,
        parameters=parameters,
        settings=settings,
        segments=(segment,),
        count=len(source),
        next_id=len(source),
    )
    manifest.write(folder)
    remember(folder)
    _clear(folder, keep=segment_id)
    return manifest


def _existing(folder: Path, digest: str, overwrite: bool) -> IndexManifest | None:
    """The manifest of an index that may be replaced, or None where there is none. Raises for anything
    else."""
    if not folder.exists():
        return None
    ours = {MANIFEST, f".{MANIFEST}.tmp", "segments", ".lock", "queries.arrow", "embeddings"}  # the last: `index update`
    strange = sorted(set(os.listdir(folder)) - ours) if folder.is_dir() else [folder.name]
    if strange:
        raise BeholderError(f"{folder} holds {strange[0]}", "a new folder, or an index", "Choose another folder.")
    if not (folder / MANIFEST).exists():
        return None
    before = IndexManifest.read(folder)
    if before.embeddings != digest and not overwrite:
        found = f"{folder} is an index of other embeddings, or of these before they changed"
        raise BeholderError(found, "", "Choose another folder, or say that it may be overwritten.")
    return before


def _whole(folder: Path, manifest: IndexManifest) -> bool:
    try:
        for segment in manifest.segments:
            for file in segment.files:
                check_size(folder, file)
    except FormatError:
        return False
    return True


def _clear(folder: Path, keep: str) -> None:
    """Removes every segment but one, and what a killed build left."""
    (folder / f".{MANIFEST}.tmp").unlink(missing_ok=True)
    segments = folder / "segments"
    for path in segments.iterdir() if segments.is_dir() else ():
        if path.name != keep:
            shutil.rmtree(path)


def _source(source: Embeddings, folder: Path) -> str:
    """The folder of pictures as seen from the index; an absolute path stays one."""
    if Path(source.manifest.source).is_absolute():
        return source.manifest.source
    pictures = (source.folder / source.manifest.source).resolve()
    return Path(os.path.relpath(pictures, folder.resolve())).as_posix()


def _choose_nprobe(path: Path, rows: Rows, config: IndexConfig) -> dict[str, Any]:
    """The least nprobe (by doubling, then halving the step) whose knn_recall over corpus vectors meets the
    target.

    The queries are rows of the corpus, each without itself. Text queries lie farther off and may find less:
    knn_recall in the manifest stays null until it was measured with real ones.
    """
    import faiss

    index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    count = min(HELD_OUT, rows.count)
    k = min(HELD_OUT_K, rows.count - 1)
    chosen = np.sort(np.random.default_rng(config.seed + 1).permutation(rows.count)[:count])
    queries = gather(rows, chosen)
    truth = exact_search(queries, rows.blocks(), k + 1).ids
    wanted = [set(row[row != own][:k].tolist()) for row, own in zip(truth, chosen, strict=True)]

    def knn_recall(nprobe: int) -> float:
        params = faiss.SearchParametersIVF()
        params.nprobe = nprobe
        with faiss_threads(config.threads, rows.dimension):
            _, found = index.search(queries, k + 1, params=params)
        return float(np.mean([len(w & set(f.tolist())) / max(k, 1) for w, f in zip(wanted, found, strict=True)]))

    low, high = 0, 1  # low misses the target, high meets it
    while high < index.nlist and knn_recall(high) < config.knn_recall:
        low, high = high, min(2 * high, int(index.nlist))
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if knn_recall(middle) >= config.knn_recall else (middle, high)
    measured = {"queries": count, "k": k, "knn_recall": round(knn_recall(high), 4)}
    return {"nprobe": high, "held_out": measured}
