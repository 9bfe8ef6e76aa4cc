"""Writes one immutable segment: its vectors, its items, and a FAISS index of them.

A segment grows under a temporary name and is renamed when whole. The same rows, factory and training give
the same bytes. Memory: the FAISS index, one block, one table of items, and the sample that IVF is trained on.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import BeholderError
from .manifest import publish, record_file
from .segments import SegmentRecord
from .shards import ITEM_COLUMNS, Embeddings
from .threads import faiss_threads
from .vectors import Block, write_vectors

Progress = Callable[[int, int], None]
KMEANS_ROUNDS = 10  # FAISS's own default for IVF; more rounds moved knn_recall by less than its interval
ROWS_PER_LIST = 64  # of the training sample: FAISS asks for 39 at least, and stops gaining at some 256


@dataclass(frozen=True)
class Training:
    """How FAISS is trained; the threads change no byte."""

    seed: int = 0  # of k-means and of its sample
    train_rows: int = 262_144  # most rows that IVF is trained on: the bound of its memory, 4 * D bytes each
    threads: int = 0  # 0: all cores


@dataclass(frozen=True)
class Rows:
    """What goes into a segment, with the INDEX's own ids. Both functions may be called several times, and
    give the same rows in the same order each time."""

    count: int
    dimension: int
    blocks: Callable[[], Iterator[Block]]  # (ids (n,) int64, unit vectors (n, D)), `count` rows in all
    schema: Any  # of the tables: ITEM_COLUMNS first; a column that a table lacks is null there
    tables: Callable[[], Iterator[Any]]  # pyarrow tables of items; each becomes a row group


def rows_of(source: Embeddings, first_id: int = 0) -> Rows:
    """The rows of an EMBEDDINGS folder, numbered in its order from first_id on."""
    shards = source.manifest.shards
    schemas = [pq.read_schema(str(source.folder / shard.items.path)) for shard in shards]
    schema = pa.unify_schemas([ITEM_COLUMNS, *(schema.remove_metadata() for schema in schemas)])

    def blocks() -> Iterator[Block]:
        start = first_id
        for ids, vectors in source.blocks():
            yield np.arange(start, start + len(ids)), vectors
            start += len(ids)

    def tables() -> Iterator[Any]:
        start = first_id
        for shard in shards:
            items = source.items_of(shard)
            ids = pa.array(np.arange(start, start + items.num_rows))
            yield items.set_column(items.column_names.index("id"), "id", ids)
            start += items.num_rows

    return Rows(len(source), source.manifest.dimension, blocks, schema, tables)


def write_segment(
    folder: Path, segment_id: str, rows: Rows, factory: str, training: Training, progress: Progress | None = None
) -> SegmentRecord:
    """Writes the three files of `folder`/segments/`segment_id`, which no manifest names yet, and returns
    their record. What was there under that name is replaced. progress(done, total) counts vectors.
    """
    import faiss

    final = folder / "segments" / segment_id
    temporary = final.with_name(f".{segment_id}.tmp")
    for left in (final, temporary):  # whole, but damaged or never named by a manifest; or cut
        if left.exists():
            shutil.rmtree(left)
    temporary.mkdir(parents=True)
    write_vectors(temporary / "vectors.arrow", rows.dimension, rows.blocks())
    _write_items(temporary / "items.parquet", rows)
    with faiss_threads(training.threads, rows.dimension):
        index = _trained(factory, rows, training)
        _add(index, rows, progress or (lambda done, total: None))
        faiss.write_index(index, str(temporary / "index.faiss"))
    with (temporary / "index.faiss").open("rb") as stream:
        os.fsync(stream.fileno())
    publish(temporary, final)
    names = "vectors.arrow", "items.parquet", "index.faiss"
    vectors, items, index_file = (record_file(folder, f"segments/{segment_id}/{name}") for name in names)
    return SegmentRecord(segment_id, rows.count, vectors, items, index_file)


def _write_items(path: Path, rows: Rows) -> None:
    """Raises BeholderError where the tables hold another number of rows than the blocks should."""
    written, temporary = 0, path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(str(temporary), rows.schema, compression="zstd") as writer:
        for items in rows.tables():
            columns = {name: items.column(name) for name in items.column_names}
            missing = {field.name: pa.nulls(items.num_rows, field.type) for field in rows.schema}
            writer.write_table(pa.table(missing | columns, schema=rows.schema))
            written += items.num_rows
    if written != rows.count:
        raise BeholderError(f"{written} items", f"{rows.count}, one for each vector")
    publish(temporary, path)


def gather(rows: Rows, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors (n, D) at positions (n,) in rising order, counted in the order of the blocks."""
    found = np.empty((len(positions), rows.dimension), np.float32)
    start = 0
    for ids, vectors in rows.blocks():
        first, last = np.searchsorted(positions, [start, start + len(ids)])
        found[first:last] = vectors[positions[first:last] - start]
        start += len(ids)
    return found


def _trained(factory: str, rows: Rows, training: Training) -> Any:
    """An empty index, its lists' centres found by k-means over a random sample of rows."""
    import faiss

    if factory == "Flat":
        return faiss.IndexFlatIP(rows.dimension)
    index: Any = faiss.index_factory(rows.dimension, factory, faiss.METRIC_INNER_PRODUCT)
    settings = {"seed": training.seed, "niter": KMEANS_ROUNDS, "spherical": True, "min_points_per_centroid": 1}
    for name, value in settings.items():
        setattr(index.cp, name, value)
    count = min(rows.count, ROWS_PER_LIST * int(index.nlist), max(training.train_rows, int(index.nlist)))
    sample = np.sort(np.random.default_rng(training.seed).permutation(rows.count)[:count])
    index.train(gather(rows, sample))
    return index


def _add(index: Any, rows: Rows, progress: Progress) -> None:
    """Adds all rows block by block, into memory that is reserved first: vectors that grow by doubling would
    hold the index twice over."""
    import faiss

    total, done = rows.count, 0
    if not isinstance(index, faiss.IndexIVF):
        index.codes.resize(total * index.code_size)
        index.codes.resize(0)  # keeps the memory
        for _, vectors in rows.blocks():
            index.add(vectors.astype(np.float32))
            done += len(vectors)
            progress(done, total)
        return
    lists = np.empty(total, np.int64)
    for _, vectors in rows.blocks():
        _, found = index.quantizer.search(vectors.astype(np.float32), 1)
        lists[done : done + len(vectors)] = found[:, 0]
        done += len(vectors)
        progress(done // 2, total)
    inverted: Any = index.invlists
    for number, size in enumerate(np.bincount(lists, minlength=index.nlist)):
        inverted.resize(number, int(size))
        inverted.resize(number, 0)
    done = 0
    for _, vectors in rows.blocks():
        block, ids = vectors.astype(np.float32), np.arange(done, done + len(vectors))
        own = np.ascontiguousarray(lists[done : done + len(vectors)])
        index.add_core(len(block), faiss.swig_ptr(block), faiss.swig_ptr(ids), faiss.swig_ptr(own))
        done += len(vectors)
        progress((total + done) // 2, total)
