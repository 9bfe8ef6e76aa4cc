"""What the tests of `indexes` share: clustered unit vectors from a seed, and a small EMBEDDINGS folder of them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from indexes.records.manifest import record_file
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, EncoderRecord, write_shard

ENCODER = {"name": "a model", "image_fingerprint": "1f", "text_fingerprint": "2f", "preprocessing": {"size": 32}}


def _vectors(count: int, width: int, seed: int = 0, noise: float = 1.0) -> np.ndarray:
    """(count, width) float32 unit rows around 20 centres that are the same for every seed."""
    rng, centres = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(20, width))
    rows = centres[rng.integers(0, 20, count)] + noise * rng.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _items(ids: np.ndarray, **more: list) -> pa.Table:
    columns = {
        "id": ids,
        "uri": [f"{i}.jpg" for i in ids],
        "sha256": [f"{i:064x}" for i in ids],
        "width": np.full(len(ids), 40),
        "height": np.full(len(ids), 30),
        "bytes": ids * 10,
        "caption": [None if i % 2 else f"picture {i}" for i in ids],
    }
    table = pa.table(columns).cast(ITEM_COLUMNS)
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    return table


def _embeddings(folder: Path, rows: np.ndarray, shard: int = 500, first_id: int = 0, source: str = "../p") -> Path:
    """An EMBEDDINGS folder of the rows; ids count up from first_id and skip 7 between two shards."""
    folder.mkdir(parents=True)
    shards, next_id = [], first_id
    for number, start in enumerate(range(0, len(rows), shard)):
        part = rows[start : start + shard]
        ids = np.arange(next_id, next_id + len(part))
        shards.append(write_shard(folder, number, ids, part, _items(ids)))
        next_id += len(part) + 7
    (folder / "rejected.jsonl").write_bytes(b"")
    encoder = EncoderRecord(width=rows.shape[1], **ENCODER)
    rejected = record_file(folder, "rejected.jsonl")
    EmbeddingsManifest(encoder, source, len(rows), rejected, tuple(shards), next_id, {}).write(folder)
    return folder


def _bytes_of(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def vectors() -> Callable[..., np.ndarray]:
    return _vectors


@pytest.fixture(scope="session")
def items() -> Callable[..., pa.Table]:
    return _items


@pytest.fixture(scope="session")
def embeddings() -> Callable[..., Path]:
    return _embeddings


@pytest.fixture(scope="session")
def bytes_of() -> Callable[[Path], dict[str, str]]:
    """Function: folder -> {path of each file: sha256}."""
    return _bytes_of
