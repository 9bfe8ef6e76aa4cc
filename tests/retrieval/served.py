"""An index to be served in tests: pictures of noise, made-up vectors, and the encoder record of beholder-mini, whose
light text tower needs no torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexes.building.build import IndexConfig, build_index
from indexes.records.manifest import record_file
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, write_shard
from retrieval.encoding.encoders import MODELS
from retrieval.encoding.light_text import LightTextEncoder

RECORD = LightTextEncoder("beholder-mini", MODELS / "beholder-mini").record


def unit_rows(count: int, width: int = RECORD.width, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def items_of(pictures: Path, uris: Sequence[str]) -> Any:
    contents = [(pictures / uri).read_bytes() if (pictures / uri).is_file() else b"" for uri in uris]
    columns = {
        "id": np.arange(len(uris)),
        "uri": list(uris),
        "sha256": [hashlib.sha256(content).hexdigest() for content in contents],
        "width": np.full(len(uris), 48),
        "height": np.full(len(uris), 48),
        "bytes": [len(content) for content in contents],
        "caption": [None if number % 2 else f"picture {number}" for number in range(len(uris))],
    }
    return pa.table(columns).cast(ITEM_COLUMNS)


def make_index(folder: Path, pictures: Path, uris: Sequence[str], *, items: Any = None) -> Path:
    """An INDEX folder, Flat, of one made-up vector per picture."""
    embeddings = folder.with_suffix(".emb")
    embeddings.mkdir(parents=True)
    rows, table = unit_rows(len(uris)).astype(np.float16), items if items is not None else items_of(pictures, uris)
    shard = write_shard(embeddings, 0, np.arange(len(uris)), rows, table)
    (embeddings / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(embeddings, "rejected.jsonl")
    source = str(pictures)
    EmbeddingsManifest(RECORD, source, len(uris), rejected, (shard,), len(uris), {}).write(embeddings)
    build_index(embeddings, folder, IndexConfig(factory="Flat"))
    return folder
