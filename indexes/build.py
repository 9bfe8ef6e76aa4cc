"""Builds an INDEX folder from an EMBEDDINGS folder, shard by shard, in one new segment.

The segment grows under a temporary name and is renamed when whole; the manifest comes last. So a build that
is killed leaves an index that is not there yet, or the one that was there before, and the next call clears
what was left and ends with the same bytes. Memory: the FAISS index, one shard, and the sample that IVF is
trained on.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import BeholderError, FormatError
from .exact import exact_search
from .manifest import MANIFEST, publish, record_file, sha256_file
from .segments import INDEX_FORMAT, IndexManifest, SegmentRecord
from .shards import ITEM_COLUMNS, Embeddings, check_size
from .threads import faiss_threads
from .vectors import Block, write_vectors

Progress = Callable[[int, int], None]
# Owner: docs/decisions/0002-flat-search-threads.md, "Flat or IVF": up to here exact costs under a millisecond more.
FLAT_UP_TO = 20_000
KMEANS_ROUNDS = 10  # FAISS's own default for IVF; more rounds moved knn_recall by less than its interval
ROWS_PER_LIST = 64  # of the training sample: FAISS asks for 39 at least, and stops gaining at some 256
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
    parameters = _build_segment(folder, segment_id, source, factory, config, progress or (lambda done, total: None))
    names = "vectors.arrow", "items.parquet", "index.faiss"
    vectors, items, faiss = (record_file(folder, f"segments/{segment_id}/{name}") for name in names)
    manifest = IndexManifest(
        encoder=source.manifest.encoder,
        embeddings=digest,
        source=_source(source, folder),
        factory=factory,
        parameters=parameters,
        settings=settings,
        segments=(SegmentRecord(segment_id, len(source), vectors, items, faiss),),
        count=len(source),
        next_id=len(source),
    )
    manifest.write(folder)
    _clear(folder, keep=segment_id)
    return manifest


def _existing(folder: Path, digest: str, overwrite: bool) -> IndexManifest | None:
    """The manifest of an index that may be replaced, or None where there is none. Raises for anything
    else."""
    if not folder.exists():
        return None
    ours = {MANIFEST, f".{MANIFEST}.tmp", "segments"}
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


def _build_segment(
    folder: Path, segment_id: str, source: Embeddings, factory: str, config: IndexConfig, progress: Progress
) -> dict[str, Any]:
    """Writes the three files of a segment and renames its folder; returns the search parameters."""
    import faiss

    final = folder / "segments" / segment_id
    temporary = final.with_name(f".{segment_id}.tmp")
    if final.exists():  # whole, but damaged or never named by a manifest
        shutil.rmtree(final)
    temporary.mkdir(parents=True)
    dimension = source.manifest.dimension
    write_vectors(temporary / "vectors.arrow", dimension, _numbered(source))
    _write_items(temporary / "items.parquet", source)
    with faiss_threads(config.threads, dimension):
        index = _trained(factory, source, config)
        _add(index, source, progress)
        parameters: dict[str, Any] = {}
        if isinstance(index, faiss.IndexIVF):
            parameters = _choose_nprobe(index, source, config)
        faiss.write_index(index, str(temporary / "index.faiss"))
    with (temporary / "index.faiss").open("rb") as stream:
        os.fsync(stream.fileno())
    publish(temporary, final)
    return parameters


def _numbered(source: Embeddings) -> Iterator[Block]:
    """The blocks with the INDEX's own ids: row numbers."""
    start = 0
    for ids, vectors in source.blocks():
        yield np.arange(start, start + len(ids)), vectors
        start += len(ids)


def _write_items(path: Path, source: Embeddings) -> None:
    """One table of all items with the INDEX's ids, a row group per shard; a column that a shard lacks is
    null."""
    shards = source.manifest.shards
    schemas = [pq.read_schema(str(source.folder / shard.items.path)) for shard in shards]
    schema = pa.unify_schemas([ITEM_COLUMNS, *(schema.remove_metadata() for schema in schemas)])
    start, temporary = 0, path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(str(temporary), schema, compression="zstd") as writer:
        for shard in shards:
            items = source.items_of(shard)
            ids = pa.array(np.arange(start, start + items.num_rows))
            columns = {name: items.column(name) for name in items.column_names} | {"id": ids}
            missing = {field.name: pa.nulls(items.num_rows, field.type) for field in schema}
            writer.write_table(pa.table(missing | columns, schema=schema))
            start += items.num_rows
    publish(temporary, path)


def _rows(source: Embeddings, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors (n, D) of rows (n,) in rising order, gathered block by block."""
    found = np.empty((len(positions), source.manifest.dimension), np.float32)
    start = 0
    for ids, vectors in source.blocks():
        first, last = np.searchsorted(positions, [start, start + len(ids)])
        found[first:last] = vectors[positions[first:last] - start]
        start += len(ids)
    return found


def _trained(factory: str, source: Embeddings, config: IndexConfig) -> Any:
    """An empty index, its lists' centres found by k-means over a random sample of rows."""
    import faiss

    dimension = source.manifest.dimension
    if factory == "Flat":
        return faiss.IndexFlatIP(dimension)
    index: Any = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    settings = {"seed": config.seed, "niter": KMEANS_ROUNDS, "spherical": True, "min_points_per_centroid": 1}
    for name, value in settings.items():
        setattr(index.cp, name, value)
    count = min(len(source), ROWS_PER_LIST * int(index.nlist), max(config.train_rows, int(index.nlist)))
    sample = np.sort(np.random.default_rng(config.seed).permutation(len(source))[:count])
    index.train(_rows(source, sample))
    return index


def _add(index: Any, source: Embeddings, progress: Progress) -> None:
    """Adds all rows block by block, into memory that is reserved first: vectors that grow by doubling would
    hold the index twice over."""
    import faiss

    total, done = len(source), 0
    if not isinstance(index, faiss.IndexIVF):
        index.codes.resize(total * index.code_size)
        index.codes.resize(0)  # keeps the memory
        for _, vectors in source.blocks():
            index.add(vectors.astype(np.float32))
            done += len(vectors)
            progress(done, total)
        return
    lists = np.empty(total, np.int64)
    for _, vectors in source.blocks():
        _, found = index.quantizer.search(vectors.astype(np.float32), 1)
        lists[done : done + len(vectors)] = found[:, 0]
        done += len(vectors)
        progress(done // 2, total)
    inverted: Any = index.invlists
    for number, size in enumerate(np.bincount(lists, minlength=index.nlist)):
        inverted.resize(number, int(size))
        inverted.resize(number, 0)
    done = 0
    for _, vectors in source.blocks():
        rows, ids = vectors.astype(np.float32), np.arange(done, done + len(vectors))
        own = np.ascontiguousarray(lists[done : done + len(vectors)])
        index.add_core(len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(ids), faiss.swig_ptr(own))
        done += len(vectors)
        progress((total + done) // 2, total)


def _choose_nprobe(index: Any, source: Embeddings, config: IndexConfig) -> dict[str, Any]:
    """The least nprobe (by doubling, then halving the step) whose knn_recall over corpus vectors meets the
    target.

    The queries are rows of the corpus, each without itself. Text queries lie farther off and may find less:
    knn_recall in the manifest stays null until it was measured with real ones.
    """
    count = min(HELD_OUT, len(source))
    k = min(HELD_OUT_K, len(source) - 1)
    chosen = np.sort(np.random.default_rng(config.seed + 1).permutation(len(source))[:count])
    queries = _rows(source, chosen)
    truth = exact_search(queries, _numbered(source), k + 1).ids
    wanted = [set(row[row != own][:k].tolist()) for row, own in zip(truth, chosen, strict=True)]

    def knn_recall(nprobe: int) -> float:
        import faiss

        params = faiss.SearchParametersIVF()
        params.nprobe = nprobe
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
