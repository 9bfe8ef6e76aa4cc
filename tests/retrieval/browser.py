"""A service process and a headless Chromium for the tests of the page."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from indexes import Embeddings, build_index
from indexes.building.index_config import IndexConfig
from indexes.records.manifest import record_file
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, write_shard
from retrieval.encoding.encoders import MODELS
from retrieval.encoding.light_text import LightTextEncoder
from retrieval.encoding.pipeline import EmbedConfig, embed
from tests.conftest import ROOT, write_pictures

SAMPLES = ROOT / "retrieval" / "samples"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><b>bold</b> & 'quoted'"


def chromium() -> str | None:
    """The system's Chromium, if it has one."""
    given = os.environ.get("BEHOLDER_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return given or next((path for name in names if (path := shutil.which(name))), None)


def make_collection(folder: Path) -> Path:
    """An INDEX of 16 sample pictures, as beholder-mini sees them, and 84 of noise with made-up vectors; two scorers."""
    pictures = folder / "pictures"
    names = sorted(path.name for path in SAMPLES.glob("*.jpg"))[::8][:16]
    pictures.mkdir(parents=True)
    for name in names:
        shutil.copy(SAMPLES / name, pictures / name)
    embed([str(pictures)], folder / "samples.emb", EmbedConfig("beholder-mini", workers=1))
    write_pictures(pictures, 84)
    small = Embeddings(folder / "samples.emb")
    vectors = np.concatenate([np.asarray(block[1], np.float32) for block in small.blocks()])
    noise = np.random.default_rng(0).standard_normal((84, vectors.shape[1]), dtype=np.float32)
    rows = np.concatenate([vectors, noise / np.linalg.norm(noise, axis=1, keepdims=True)]).astype(np.float16)
    uris = [*small.items()["uri"].to_pylist(), *(f"p{number:03d}.jpg" for number in range(84))]
    items = _items(pictures, uris)
    embeddings = folder / "all.emb"
    embeddings.mkdir()
    shard = write_shard(embeddings, 0, np.arange(len(uris)), rows, items)
    (embeddings / "rejected.jsonl").write_bytes(b"")
    record = LightTextEncoder("beholder-mini", MODELS / "beholder-mini").record
    rejected = record_file(embeddings, "rejected.jsonl")
    EmbeddingsManifest(record, str(pictures), len(uris), rejected, (shard,), len(uris), {}).write(embeddings)
    for name, values in _scores(pictures, uris).items():
        card = {"name": name, "kind": "pixels", "low": 0, "high": 1, "unit": "", "source": "a test"}
        column = ScoreColumn(name, "0" * 64, card, items["sha256"].to_pylist(), values)
        write_scores(scores_path(embeddings, name), column)
    config = IndexConfig(factory="Flat", scorers=("brightness", "redness"), default_scorer="brightness")
    build_index(embeddings, folder / "pictures.index", config, text_vectors=vectors)
    return folder / "pictures.index"


def _items(pictures: Path, uris: list[str]) -> Any:
    import hashlib

    contents = [(pictures / uri).read_bytes() for uri in uris]
    sizes = [Image.open(pictures / uri).size for uri in uris]
    words = [Path(uri).stem.replace("_", " ") for uri in uris]
    columns = {
        "id": np.arange(len(uris)),
        "uri": uris,
        "sha256": [hashlib.sha256(content).hexdigest() for content in contents],
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
        "bytes": [len(content) for content in contents],
        "caption": [HOSTILE, *words[1:]],
    }
    return pa.table(columns).cast(ITEM_COLUMNS)


def _scores(pictures: Path, uris: list[str]) -> dict[str, NDArray[np.float32]]:
    means = [np.asarray(Image.open(pictures / uri).convert("RGB"), np.float32).mean((0, 1)) / 255 for uri in uris]
    means_array = np.array(means)
    return {
        "brightness": means_array.mean(1).astype(np.float32),
        "redness": (means_array[:, 0] - means_array[:, 2]).astype(np.float32),
    }


@contextmanager
def serving(*arguments: object) -> Iterator[str]:
    """The address of a `beholder serve` with these arguments, in a process of its own."""
    command = [sys.executable, "-m", "retrieval", "serve", *map(str, arguments), "--port", "0", "--timeout", "120"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if " at http" not in line:
            raise AssertionError(f"{' '.join(command)} said {line!r}")
        yield line.rpartition(" at ")[2].strip().rstrip("/")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
