"""Which pictures an index holds already: a picture is known by its uri and its sha256 together.

Uris count from the folder of pictures. Where embeddings or another index count from another folder, their
uris get the way from ours to theirs in front.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.segments import IndexManifest, SegmentRecord, read_tombstones
from indexes.records.shards import ITEM_COLUMNS, Embeddings, ShardRecord, read_items
from indexes.records.vectors import Block, VectorFile

from .segment_writer import Rows

compute: Any = pc  # pyarrow makes its functions when it is imported: no type checker sees them


def relative_source(other_folder: Path, other_source: str, folder: Path, source: str) -> str:
    """What to put before the uris of another folder's pictures, "" or a path that ends with /."""
    theirs, ours = (other_folder / other_source).resolve(), (folder / source).resolve()
    return "" if theirs == ours else Path(os.path.relpath(theirs, ours)).as_posix() + "/"


def keys(items: Any, prefix: str = "") -> Any:
    """One string per item, "uri, NUL, sha256", as an array."""
    uris = items.column("uri")
    if prefix:
        uris = compute.binary_join_element_wise(prefix, uris, "")
    joined = compute.binary_join_element_wise(uris, items.column("sha256"), "\0")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def known_keys(folder: Path, manifest: IndexManifest) -> Any:
    """Table of `id` and `key` of all live pictures of an index: two columns are read, not whole items."""
    parts = [pa.table({"id": pa.array([], pa.int64()), "key": pa.array([], pa.string())})]
    for segment in manifest.segments:
        items = pq.read_table(str(folder / segment.items.path), columns=["id", "uri", "sha256"])
        gone = read_tombstones(folder, segment.tombstones)
        live = ~np.isin(items.column("id").to_numpy(), gone)
        items = items.filter(pa.array(live))
        parts.append(pa.table({"id": items.column("id"), "key": keys(items)}))
    return pa.concat_tables(parts)


def keys_of(source: Embeddings, prefix: str) -> Any:
    """The keys of all pictures of an EMBEDDINGS folder, as one array."""
    empty = pa.array([], pa.string())
    return pa.concat_arrays([empty, *(keys(source.items_of(shard), prefix) for shard in source.manifest.shards)])


def with_ids(items: Any, ids: NDArray[np.int64], prefix: str) -> Any:
    """The items under other ids, their uris with the prefix."""
    items = items.set_column(items.column_names.index("id"), "id", pa.array(ids, pa.int64()))
    if prefix:
        uris = compute.binary_join_element_wise(prefix, items.column("uri"), "")
        items = items.set_column(items.column_names.index("uri"), "uri", uris)
    return items


def new_rows(source: Embeddings, known: Any, prefix: str, first_id: int) -> tuple[Rows, int]:
    """The rows of an EMBEDDINGS folder whose keys are not among `known` (table of known_keys), numbered from
    first_id on, and how many are known. A key that the folder has twice goes in once."""
    chosen: list[tuple[ShardRecord, NDArray[np.int64], int]] = []
    schemas, seen, start, total = [ITEM_COLUMNS], known.column("key").combine_chunks(), first_id, 0
    for shard in source.manifest.shards:
        items = source.items_of(shard)
        own = keys(items, prefix)
        fresh = ~compute.is_in(own, value_set=seen).to_numpy(zero_copy_only=False)
        first = np.unique(own.to_numpy(zero_copy_only=False), return_index=True)[1]
        positions = np.intersect1d(np.flatnonzero(fresh), first)
        total += items.num_rows
        if len(positions):
            chosen.append((shard, positions, start))
            start += len(positions)
            schemas.append(items.schema.remove_metadata())
            seen = pa.concat_arrays([seen, own.take(pa.array(positions))])

    def blocks() -> Iterator[Block]:
        for shard, positions, begin in chosen:
            vectors = VectorFile(source.folder / shard.vectors.path, source.manifest.dimension)
            yield np.arange(begin, begin + len(positions)), vectors.rows_at(positions)

    def tables() -> Iterator[Any]:
        for shard, positions, begin in chosen:
            items = source.items_of(shard).take(pa.array(positions))
            yield with_ids(items, np.arange(begin, begin + len(positions)), prefix)

    count = start - first_id
    return Rows(count, source.manifest.dimension, blocks, pa.unify_schemas(schemas), tables), total - count


def live_rows(folder: Path, manifest: IndexManifest) -> Rows:
    """The live rows of all segments of an index, under their own ids, in rising order."""
    segments = sorted(manifest.segments, key=lambda segment: _first_id(folder, manifest, segment))
    schemas = [pq.read_schema(str(folder / segment.items.path)).remove_metadata() for segment in segments]
    schema = pa.unify_schemas([ITEM_COLUMNS, *schemas], promote_options="permissive")

    def live(segment: SegmentRecord, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return ~np.isin(ids, read_tombstones(folder, segment.tombstones))

    def blocks() -> Iterator[Block]:
        for segment in segments:
            opened = VectorFile(folder / segment.vectors.path, manifest.dimension)
            for ids, vectors in opened.blocks(65536):
                kept = live(segment, ids)
                yield ids[kept], vectors[kept]

    def tables() -> Iterator[Any]:
        for segment in segments:
            items = read_items(folder / segment.items.path)
            kept = items.filter(pa.array(live(segment, items.column("id").to_numpy())))
            missing = {field.name: pa.nulls(kept.num_rows, field.type) for field in schema}
            columns = {name: kept.column(name) for name in kept.column_names}
            whole = pa.table(missing | columns).select(schema.names).cast(schema)
            for start in range(0, whole.num_rows, 65536):
                yield whole.slice(start, 65536)

    return Rows(manifest.count, manifest.dimension, blocks, schema, tables)


def _first_id(folder: Path, manifest: IndexManifest, segment: SegmentRecord) -> int:
    """Ranges of ids of segments do not meet: each was numbered from next_id on."""
    ids, _ = next(VectorFile(folder / segment.vectors.path, manifest.dimension).blocks(1), (np.zeros(1, np.int64), 0))
    return int(ids[0])


def missing_ids(index: str | Path) -> NDArray[np.int64]:
    """The ids of pictures whose files are gone: of `archive#member` the archive's file counts.

    Raises BeholderError where the whole folder of pictures is not there (a disk that is not mounted).
    """
    folder = Path(index)
    manifest = IndexManifest.read(folder)
    root = (folder / manifest.source).resolve()
    if not root.is_dir():
        remedy = "Mount or restore it; then files that are missing in it can be told."
        raise BeholderError(f"the folder of pictures {root} is not there", "a folder", remedy)
    held = known_keys(folder, manifest)
    there: dict[str, bool] = {}
    gone = []
    for picture, key in zip(held.column("id").to_pylist(), held.column("key").to_pylist(), strict=True):
        uri = key.partition("\0")[0]
        archive = uri.partition("#")[0]
        if archive not in there:
            # A dataset on disk is a folder with this file.
            there[archive] = (root / archive).is_file() or (root / archive / "state.json").is_file()
        if not there[archive] and not (root / uri).is_file():
            gone.append(picture)
    return np.sort(np.array(gone, np.int64))


def gone_from(index: str | Path, embeddings: str | Path) -> NDArray[np.int64]:
    """The ids of pictures that an EMBEDDINGS folder no longer has, by uri and sha256: removed or changed."""
    folder, source = Path(index), Embeddings(embeddings)
    manifest = IndexManifest.read(folder)
    prefix = relative_source(source.folder, source.manifest.source, folder, manifest.source)
    held = known_keys(folder, manifest)
    absent = compute.invert(compute.is_in(held.column("key"), value_set=keys_of(source, prefix)))
    return np.sort(held.filter(absent).column("id").to_numpy())
