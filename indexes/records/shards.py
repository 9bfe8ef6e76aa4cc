"""The EMBEDDINGS folder: shards of vectors, tables of what the vectors are of, and the manifest that names
them.

`shards/00000.arrow` (see vectors.py), `items/00000.parquet` (one row per vector, same order),
`rejected.jsonl` and `manifest.json`. Whoever embeds writes shards one by one and the manifest last; the same
rows give the same bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError

from .manifest import MANIFEST, FileRecord, check_file, publish, read_manifest, record_file, write_manifest
from .vectors import Block, VectorFile, check_unit_rows, write_vectors

EMBEDDINGS = "beholder-embeddings"
EMBEDDINGS_FORMAT = 1
ITEM_COLUMNS: Any = pa.schema(
    [
        ("id", pa.int64()),
        ("uri", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),  # pixels, as are heights
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("caption", pa.string()),  # null where the source has none
    ]
)


@dataclass(frozen=True)
class EncoderRecord:
    """Which encoder made the vectors: its name as given, a fingerprint per tower, the width D, the
    preprocessing."""

    name: str
    image_fingerprint: str
    text_fingerprint: str
    width: int
    preprocessing: dict[str, Any]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "EncoderRecord":
        record = cls(**content)
        if record.width < 1:
            raise ValueError(f"an encoder of width {record.width}")
        return record


def file_record(content: Mapping[str, Any]) -> FileRecord:
    """A FileRecord out of a manifest. Raises ValueError for a path that leaves the folder."""
    record = FileRecord(**content)
    path = PurePosixPath(record.path)
    if path.is_absolute() or ".." in path.parts or "\\" in record.path:
        raise ValueError(f"the path {record.path} leaves the folder")
    return record


@dataclass(frozen=True)
class ShardRecord:
    """A shard: `count` rows in two files."""

    number: int
    count: int
    vectors: FileRecord
    items: FileRecord

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ShardRecord":
        files = {name: file_record(content[name]) for name in ("vectors", "items")}
        return cls(**{**content, **files})


@dataclass(frozen=True)
class EmbeddingsManifest:
    """What an EMBEDDINGS folder holds. No times and no host names: the same work gives the same manifest."""

    encoder: EncoderRecord
    source: str  # the folder of pictures, relative to the EMBEDDINGS folder, or absolute
    count: int
    rejected: FileRecord
    shards: tuple[ShardRecord, ...]
    next_id: int  # above every id ever given out, so that ids of deleted pictures do not come back
    settings: dict[str, Any]

    @property
    def dimension(self) -> int:
        return self.encoder.width

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "EmbeddingsManifest":
        """Raises KeyError, TypeError or ValueError for content that is not such a manifest."""
        fields = {name: content[name] for name in ("source", "count", "next_id", "settings")}
        shards = tuple(ShardRecord.from_dict(shard) for shard in content["shards"])
        if sum(shard.count for shard in shards) != fields["count"]:
            raise ValueError(f"count {fields['count']}, but the shards hold {sum(s.count for s in shards)}")
        return cls(
            encoder=EncoderRecord.from_dict(content["encoder"]),
            rejected=file_record(content["rejected"]),
            shards=shards,
            **fields,
        )

    def write(self, folder: Path) -> None:
        """Makes the folder a finished one; call it when every file of it is in place."""
        write_manifest(folder, EMBEDDINGS, EMBEDDINGS_FORMAT, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> "EmbeddingsManifest":
        """Raises FormatError for another kind of folder, a newer format, or a manifest with something
        missing."""
        content = read_manifest(folder, EMBEDDINGS, EMBEDDINGS_FORMAT)
        try:
            return cls.from_dict(content)
        except (KeyError, TypeError, ValueError) as error:
            raise bad_manifest(folder, error) from error


def bad_manifest(folder: Path, error: Exception) -> FormatError:
    found = f"no {error}" if isinstance(error, KeyError) else str(error)
    return FormatError(f"{folder / MANIFEST}: {found}", "a whole manifest", "Make the folder again.")


def write_items(path: Path, items: Any) -> None:
    """Writes a table of items atomically; the same rows give the same bytes, whatever chunks they came in.

    Raises BeholderError unless the table starts with ITEM_COLUMNS.
    """
    known = pa.schema(list(items.schema)[: len(ITEM_COLUMNS)])
    if not known.equals(ITEM_COLUMNS):
        raise BeholderError(f"items with columns {known}", f"{ITEM_COLUMNS} first", "Cast the table.")
    temporary = path.with_name(f".{path.name}.tmp")
    # Metadata is dropped: pandas writes its version there.
    plain = items.replace_schema_metadata(None).combine_chunks()
    pq.write_table(plain, str(temporary), compression="zstd", row_group_size=65536)
    publish(temporary, path)


def read_items(path: Path) -> Any:
    """The table of a Parquet file of items. Raises FormatError for a file that is cut or lacks columns."""
    try:
        items = pq.read_table(str(path))
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} cannot be read ({error})", "a table of items", "Make the folder again.") from error
    if items.column_names[: len(ITEM_COLUMNS)] != ITEM_COLUMNS.names:
        raise FormatError(f"{path} has columns {items.column_names}", f"{ITEM_COLUMNS.names} first")
    return items


def write_shard(folder: Path, number: int, ids: NDArray[np.int64], vectors: NDArray[Any], items: Any) -> ShardRecord:
    """Writes one shard, ids (n,) int64, vectors (n, D) of any float type, items of n rows in the same order;
    n may be 0.

    Each file is atomic and its bytes depend on the rows alone. Raises BeholderError unless the rows are of
    length 1 (within vectors.UNIT_TOLERANCE, after rounding to float16) and the items carry the same ids.
    """
    if vectors.ndim != 2 or not len(ids) == len(vectors) == items.num_rows:
        found = f"{len(ids)} ids, vectors of shape {vectors.shape}, {items.num_rows} items"
        raise BeholderError(found, "as many of each")
    if not np.array_equal(items.column("id").to_numpy(), ids):
        raise BeholderError(f"shard {number}: the items have other ids than the vectors", "the same, in order")
    names = f"shards/{number:05d}.arrow", f"items/{number:05d}.parquet"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_items(folder / names[1], items)
    write_vectors(folder / names[0], vectors.shape[1], [(ids, vectors)])
    return ShardRecord(number, len(ids), record_file(folder, names[0]), record_file(folder, names[1]))


def check_size(folder: Path, record: FileRecord) -> None:
    """Raises FormatError unless the file has its recorded size: what opening can afford (`verify` reads it
    all)."""
    path = folder / record.path
    if not path.is_file() or path.stat().st_size != record.bytes:
        found = f"{path.stat().st_size} bytes" if path.is_file() else "not there"
        raise FormatError(f"{path} is {found}", f"{record.bytes} bytes", "Make the folder again.")


class Embeddings:
    """A finished EMBEDDINGS folder, open for reading. Sizes of files are checked here; `verify` checks the
    bytes."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = EmbeddingsManifest.read(self.folder)
        for shard in self.manifest.shards:
            check_size(self.folder, shard.vectors)
            check_size(self.folder, shard.items)

    def __len__(self) -> int:
        return self.manifest.count

    def blocks(self, rows: int = 65536) -> Iterator[Block]:
        """(ids (n,) int64, vectors (n, D) float16) in row order, at most `rows` at a time, none across two
        shards: views of memory-mapped files."""
        for shard in self.manifest.shards:
            yield from VectorFile(self.folder / shard.vectors.path, self.manifest.dimension).blocks(rows)

    def items(self) -> Any:
        """All items as one pyarrow table, in row order; a column that some shards lack is null there."""
        tables = [self.items_of(shard) for shard in self.manifest.shards]
        return pa.concat_tables(tables, promote_options="default") if tables else ITEM_COLUMNS.empty_table()

    def items_of(self, shard: ShardRecord) -> Any:
        return read_items(self.folder / shard.items.path)


def check_rows(where: str, vector_ids: list[NDArray[np.int64]], items: Any, count: int) -> None:
    """Raises FormatError unless vectors and items of a part of a folder are `count` rows with the same
    ids."""
    ids = np.concatenate(vector_ids) if vector_ids else np.empty(0, np.int64)
    if not len(ids) == items.num_rows == count:
        found = f"{where} has {len(ids)} vectors and {items.num_rows} items"
        raise FormatError(found, f"{count} of each", "Make the folder again.")
    if not np.array_equal(ids, items.column("id").to_numpy()):
        raise FormatError(f"{where} has items of other ids than its vectors", "the same", "Make the folder again.")


def check_ids(folder: Path, parts: list[NDArray[np.int64]], next_id: int) -> None:
    """Raises FormatError unless all ids differ and lie in [0, next_id)."""
    ids = np.concatenate(parts) if parts else np.empty(0, np.int64)
    if len(np.unique(ids)) != len(ids):
        raise FormatError(f"{folder} uses an id twice", "unique ids", "Make the folder again.")
    if len(ids) and (ids.min() < 0 or ids.max() >= next_id):
        raise FormatError(f"{folder} has ids {ids.min()} to {ids.max()}", f"ids from 0 below {next_id}")


def checked_blocks(where: str, blocks: Iterator[Block]) -> list[NDArray[np.int64]]:
    """The ids of the blocks, copied. Raises FormatError for rows that are not of length 1."""
    ids = []
    for block_ids, vectors in blocks:
        try:
            check_unit_rows(vectors, where)
        except BeholderError as error:
            raise FormatError(error.found, error.expected, "Make the folder again.") from error
        ids.append(block_ids.copy())
    return ids


def verify(folder: str | Path) -> int:
    """The number of files checked: sha256 of each, row counts, unique ids, unit rows, items of the same ids.

    Raises FormatError at the first thing that is wrong.
    """
    folder = Path(folder)
    manifest = EmbeddingsManifest.read(folder)
    for record in [manifest.rejected, *(file for s in manifest.shards for file in (s.vectors, s.items))]:
        check_file(folder, record)
    embeddings, seen = Embeddings(folder), []
    for shard in manifest.shards:
        path = folder / shard.vectors.path
        ids = checked_blocks(str(path), VectorFile(path, manifest.dimension).blocks(65536))
        check_rows(str(path), ids, embeddings.items_of(shard), shard.count)
        seen += ids
    check_ids(folder, seen, manifest.next_id)
    return 1 + 2 * len(manifest.shards)
