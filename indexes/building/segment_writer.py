"""Writes one immutable segment: its vectors, its items, and a FAISS index of them.

A segment grows under a temporary name and is renamed when whole. The same rows, factory and training give
the same bytes. Memory: factories.build_bytes, of which one table of items is a part.
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

from indexes.engine.factories import BLOCK_ROWS
from indexes.engine.faiss_build import Progress, Training, faiss_index
from indexes.engine.memory import give_back
from indexes.errors import BeholderError
from indexes.records.beauty import augmented, padded_width
from indexes.records.beauty_file import write_normal_scores
from indexes.records.manifest import publish, record_file
from indexes.records.segments import SegmentRecord
from indexes.records.shards import ITEM_COLUMNS, Embeddings
from indexes.records.vectors import Block, write_vectors

__all__ = ["Beauty", "FaissRows", "Progress", "Rows", "Training", "rows_of", "write_segment"]


@dataclass(frozen=True)
class Beauty:
    """Normal scores z (n, S) float32 of a segment's rows, in their order, by each of S scorers."""

    z: NDArray[np.float32]
    scorers: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """What goes into a segment, with the INDEX's own ids. Both functions may be called several times, and
    give the same rows in the same order each time."""

    count: int
    dimension: int
    blocks: Callable[[], Iterator[Block]]  # (ids (n,) int64, unit vectors (n, D)), `count` rows in all
    schema: Any  # of the tables: ITEM_COLUMNS first; a column that a table lacks is null there
    tables: Callable[[], Iterator[Any]]  # pyarrow tables of items; each becomes a row group
    beauty: Beauty | None = None  # where scorers are among the index's dimensions


class FaissRows:
    """The rows as FAISS holds them: with beauty, [x ; z / sqrt(D) ; 0] float32; else as they are."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.count = rows, rows.count
        self.dimension = padded_width(rows.dimension, len(rows.beauty.scorers) if rows.beauty else 0)

    def blocks(self) -> Iterator[Block]:
        beauty, done = self._rows.beauty, 0
        for ids, vectors in self._rows.blocks():
            if beauty is None:
                yield ids, vectors
                continue
            for start in range(0, len(ids), BLOCK_ROWS):
                part = slice(start, start + BLOCK_ROWS)
                yield ids[part], augmented(vectors[part], beauty.z[done + start : done + start + len(ids[part])])
            done += len(ids)


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
    """Writes the files of `folder`/segments/`segment_id`, which no manifest names yet, and returns their record.
    What was there under that name is replaced. progress(done, total) counts vectors.
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
    give_back()  # some 50 MB of tables, before an index is trained
    if rows.beauty is not None:
        write_normal_scores(temporary / "beauty.arrow", rows.beauty.z, rows.beauty.scorers)
    index = faiss_index(factory, FaissRows(rows), training, progress or (lambda done, total: None))
    faiss.write_index(index, str(temporary / "index.faiss"))
    with (temporary / "index.faiss").open("rb") as stream:
        os.fsync(stream.fileno())
    publish(temporary, final)
    names = "vectors.arrow", "items.parquet", "index.faiss"
    vectors, items, index_file = (record_file(folder, f"segments/{segment_id}/{name}") for name in names)
    beauty = None if rows.beauty is None else record_file(folder, f"segments/{segment_id}/beauty.arrow")
    return SegmentRecord(segment_id, rows.count, vectors, items, index_file, beauty=beauty)


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
