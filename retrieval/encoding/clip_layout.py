"""clip-retrieval's folder: `img_emb/*.npy` (n, D) and `metadata/*.parquet` of as many rows, in one order.

Reading makes an EMBEDDINGS folder of it; the layout does not say which encoder made it, so the caller does. Writing
gives the live pictures of an index. Memory: PIECE rows, and when writing the items.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import publish, record_file, sha256_bytes, sha256_file, write_bytes_atomic
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, EncoderRecord, ShardRecord, write_shard
from indexes.searching.search import Index
from retrieval.sources.archives import Misfit, caption_of, column_name, fitted
from retrieval.sources.picture_rows import carried_columns
from retrieval.sources.plan import manifest_digest, relative

PIECE = 65_536  # rows read, and written to a shard, at a time
FILE_ROWS = 1_000_000  # rows of a file that is written, as clip-retrieval's own default
OFF_UNIT = 0.05  # a row whose length differs more from 1 was no unit vector to begin with


def is_clip_layout(folder: Path) -> bool:
    return (folder / "img_emb").is_dir()


@contextmanager
def as_embeddings(folder: Path, index: Path, model: str | None, device: str = "cpu") -> Iterator[Path]:
    """The EMBEDDINGS folder to build from: `folder` itself, or what is made of a clip-retrieval folder for the time.

    It lies in the INDEX folder, so that a build that is killed finds it again, and goes when the build is done. Raises
    BeholderError without the name of the encoder, which that layout does not hold.
    """
    if not is_clip_layout(folder):
        yield folder
        return
    if model is None:
        found = f"{folder} is a clip-retrieval folder, which does not say what made its vectors"
        raise BeholderError(found, "the encoder's name", "Example: --model ViT-B-32:openai")
    from .encoders import load_encoder

    made = index / "embeddings"
    read_layout(folder, made, load_encoder(model, device).record)
    yield made
    shutil.rmtree(made)


def read_layout(folder: Path, embeddings: Path, encoder: EncoderRecord) -> EmbeddingsManifest:
    """Makes the EMBEDDINGS folder of a clip-retrieval folder, or returns it at once where it is there.

    Rows are divided by their length. Where the metadata lack it, `sha256` is that of the vector as it is kept (equal
    pictures have equal ones), and sizes are 0. Raises FormatError
    for files that do not belong together, BeholderError for vectors of another width than the encoder's.
    """
    pairs = _pairs(folder)
    digest = [[path.name, path.stat().st_size, sha256_file(path)] for pair in pairs for path in pair]
    settings = {"clip_retrieval": digest}
    if manifest_digest(embeddings):
        old = EmbeddingsManifest.read(embeddings)
        if old.settings == settings and old.encoder == encoder:
            return old
        raise BeholderError(f"{embeddings} holds other embeddings", "a new folder", "Remove it.")
    embeddings.mkdir(parents=True, exist_ok=True)
    columns: dict[str, str] = {}
    for _, metadata in pairs:
        columns = _columns(pq.read_schema(str(metadata))) | columns
    shards: list[ShardRecord] = []
    next_id, root = 0, _root(pairs)
    for vectors_path, metadata in pairs:
        vectors = _open(vectors_path, encoder)
        for start, table in _pieces(metadata, len(vectors)):
            ids = np.arange(next_id, next_id + table.num_rows, dtype=np.int64)
            rows = _unit(vectors[start : start + len(ids)], f"{vectors_path}, from row {start}")
            halves = rows.astype(np.float16)
            shards.append(
                write_shard(embeddings, len(shards), ids, halves, _items(ids, halves, table, columns, start, root))
            )
            next_id += len(ids)
    write_bytes_atomic(embeddings / "rejected.jsonl", b"")
    manifest = EmbeddingsManifest(
        encoder=encoder,
        source=relative(root or folder, embeddings),
        count=next_id,
        rejected=record_file(embeddings, "rejected.jsonl"),
        shards=tuple(shards),
        next_id=next_id,
        settings=settings,
    )
    manifest.write(embeddings)
    return manifest


def _root(pairs: list[tuple[Path, Path]]) -> Path | None:
    """The folder that all pictures lie under, where `image_path` is absolute as for a folder of files; else None."""
    ends: list[str] = []
    for _, metadata in pairs:
        if "image_path" not in pq.read_schema(str(metadata)).names:
            return None
        found = pc.min_max(pq.read_table(str(metadata), columns=["image_path"]).column(0)).as_py()
        ends += [str(value) for value in found.values() if value is not None]
    # All paths share what the first and the last in order share.
    if not ends or not min(ends).startswith("/") or not max(ends).startswith("/"):
        return None
    return Path(os.path.commonpath([os.path.dirname(min(ends)), os.path.dirname(max(ends))]))


def _uri(row: dict[str, Any], number: int, root: Path | None) -> str:
    name = str(row.get("image_path") or row.get("url") or number)
    return os.path.relpath(name, root) if root is not None and name.startswith("/") else name


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(vectors, metadata) files in the order of their numbers. Raises FormatError unless there are as many of each."""
    vectors = sorted((folder / "img_emb").glob("*.npy"), key=_number)
    metadata = sorted((folder / "metadata").glob("*.parquet"), key=_number)
    if not vectors or list(map(_number, vectors)) != list(map(_number, metadata)):
        found = f"{folder} has {len(vectors)} img_emb/*.npy and {len(metadata)} metadata/*.parquet"
        raise FormatError(found, "one of each per number", "Run clip-retrieval inference with metadata again.")
    return list(zip(vectors, metadata, strict=True))


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def _open(path: Path, encoder: EncoderRecord) -> NDArray[Any]:
    try:
        vectors: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path} cannot be read ({error})", "an array of vectors", "Make it again.") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise FormatError(f"{path} holds {vectors.dtype} of shape {vectors.shape}", "floats (n, D)", "Make it again.")
    if vectors.shape[1] != encoder.width:
        found = f"{path} holds vectors of width {vectors.shape[1]}, {encoder.name} makes {encoder.width}"
        raise BeholderError(found, "the encoder that made them", "Give its name with --model.")
    return vectors


def _pieces(metadata: Path, rows: int) -> Iterator[tuple[int, Any]]:
    """(first row, table of at most PIECE rows). Raises FormatError unless the file has `rows` rows."""
    file = pq.ParquetFile(str(metadata))
    if file.metadata.num_rows != rows:
        found = f"{metadata} has {file.metadata.num_rows} rows for {rows} vectors"
        raise FormatError(found, "as many", "Run clip-retrieval inference again.")
    start = 0
    for batch in file.iter_batches(PIECE):
        yield start, pa.Table.from_batches([batch])
        start += len(batch)


def _unit(vectors: NDArray[Any], where: str) -> NDArray[np.float32]:
    rows = vectors.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    off = ~(np.abs(lengths[:, 0] - 1) <= OFF_UNIT)
    if off.any():
        row = int(np.argmax(off))
        found = f"{where}: {int(off.sum())} vectors are not of length 1 (row {row}: {lengths[row, 0]:.4g})"
        raise FormatError(found, "unit rows, as clip-retrieval writes them", "Divide each row by its length.")
    unit: NDArray[np.float32] = rows / lengths
    return unit


def _columns(schema: Any) -> dict[str, str]:
    found = carried_columns(schema, "", {})
    return {name: kind for name, kind in found.items() if name != "image_path"}


def _items(
    ids: NDArray[np.int64],
    vectors: NDArray[np.float16],
    table: Any,
    columns: dict[str, str],
    start: int,
    root: Path | None,
) -> Any:
    rows = table.to_pylist()
    items = {
        "id": ids,
        "uri": [_uri(row, start + at, root) for at, row in enumerate(rows)],
        "sha256": [
            row.get("sha256") or sha256_bytes(vector.tobytes()) for row, vector in zip(rows, vectors, strict=True)
        ],
        "width": [row.get("width") or 0 for row in rows],
        "height": [row.get("height") or 0 for row in rows],
        "bytes": [0] * len(rows),
        "caption": [caption_of(row) for row in rows],
    }
    found = pa.table(items, schema=ITEM_COLUMNS)
    for name, kind in columns.items():
        source = next((own for own in table.column_names if column_name(own) == name), name)
        values = [_fitted(row.get(source), kind) for row in rows]
        found = found.append_column(name, pa.array(values, pa.type_for_alias(kind)))
    return found


def _fitted(value: Any, kind: str) -> Any:
    try:
        return fitted(value, kind)
    except Misfit as error:
        raise FormatError(f"the value {value!r} in a column of {kind}", "one type per column", "Cast it.") from error


def write_layout(index: Index, folder: Path) -> int:
    """Writes the live pictures of an index as a clip-retrieval folder; the number of pictures.

    Vectors are float16, metadata hold `image_path` (whole paths), `caption` and every other column. The folder appears
    when it is complete. Raises BeholderError where it is there already.
    """
    if folder.exists():
        raise BeholderError(f"{folder} is there already", "a new folder", "Choose another name.")
    ids, items = index.live_ids(), index.items_table()
    root = (index.folder / index.manifest.source).resolve()
    paths = pa.array([os.fspath(root / uri) for uri in items.column("uri").to_pylist()], pa.string())
    items = items.set_column(items.column_names.index("uri"), "uri", paths)
    items = items.rename_columns(["image_path" if name == "uri" else name for name in items.column_names])
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for part in ("img_emb", "metadata"):
        (temporary / part).mkdir(parents=True)
    starts = range(0, len(ids), FILE_ROWS)
    digits = len(str(max(len(starts) - 1, 0)))
    for number, start in enumerate(starts):
        part_ids = ids[start : start + FILE_ROWS]
        name = f"{number:0{digits}d}"
        vectors = np.lib.format.open_memmap(
            temporary / "img_emb" / f"img_emb_{name}.npy",
            mode="w+",
            dtype=np.float16,
            shape=(len(part_ids), index.manifest.dimension),
        )
        for at in range(0, len(part_ids), PIECE):
            vectors[at : at + PIECE] = index.vectors(part_ids[at : at + PIECE])
        vectors.flush()
        table = items.slice(start, len(part_ids))
        pq.write_table(table, str(temporary / "metadata" / f"metadata_{name}.parquet"), compression="zstd")
    os.makedirs(folder.parent, exist_ok=True)
    publish(temporary, folder)
    return len(ids)
