"""`bench speed search`: queries/s of our flat index against FAISS's IndexFlatIP as it comes, in turns in
one process. With an INDEX of pictures and texts: the latency of whole searches, by stage (stages.py).

Both search the same vectors: what the shards hold (float16), which the peer gets as float32. The peer runs
with the threads and the BLAS threshold that FAISS had when it was imported; ours sets its own.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.measures.metrics import knn_recall
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.errors import BeholderError
from indexes.records.manifest import record_file, sha256_file
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, EncoderRecord, write_shard

CENTRES = 1000  # of the generator: encoders' vectors come in clumps, uniform ones would flatter no one
SPREAD = 0.8  # length of the noise against the centre's 1
TURN_S = 1.0  # seconds of calls per repeat and side: enough to be above the timer and the scheduler
SHARD = 65536


@dataclass(frozen=True)
class SpeedSearchConfig:
    """Options of `bench speed search`."""

    count: int = 100_000
    width: int = 256
    batch: tuple[int, ...] = ()  # queries in a call; none: 1 and 64, or 1 through an INDEX
    k: int = 10
    repeats: int = 5
    index: Path | None = None  # an INDEX of pictures: whole searches by stage, instead of vectors
    texts: Path | None = None  # text queries for it, one a line
    model: str | None = None  # encoder of the texts; None = the index's own
    seed: int = 0
    name: str = "speed-search"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {getattr(self, name)}" for name in ("count", "width", "k", "repeats") if getattr(self, name) < 1
        ]
        wrong += [f"batch {size}" for size in self.batch if size < 1]
        if (self.index is None) != (self.texts is None) or (self.model is not None and self.index is None):
            wrong.append("index, texts and model go together")
        if wrong:
            raise BeholderError(", ".join(wrong), "numbers from 1", "Correct the options.")

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.batch or ((1, 64) if self.index is None else (1,))


def clustered(count: int, width: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """(count, width) float32 unit rows around CENTRES random directions; the same generator gives the same
    rows.
    """
    centres = generator.standard_normal((CENTRES, width), dtype=np.float32) / np.sqrt(width)
    rows = centres[generator.integers(0, CENTRES, count)]
    rows = rows + SPREAD * generator.standard_normal((count, width), dtype=np.float32) / np.sqrt(width)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def measure(config: SpeedSearchConfig) -> Run:
    """The run record: median queries/s of both sides per batch size, and the ratio within each repeat; through an
    INDEX, ms a query by stage."""
    if config.index is not None and config.texts is not None:
        return _stages(config, config.index, config.texts)
    import faiss

    default_threads = faiss.omp_get_max_threads()  # before anything of ours has run in this process
    default_threshold = faiss.cvar.distance_compute_blas_threshold
    generator = np.random.default_rng(config.seed)
    centres_and_rows = clustered(config.count + 64 * max(config.sizes), config.width, generator)
    vectors, queries = centres_and_rows[: config.count].astype(np.float16), centres_and_rows[config.count :]
    peer = faiss.IndexFlatIP(config.width)
    peer.add(vectors.astype(np.float32))
    numbers: dict[str, Number] = {}
    agreement: list[float] = []
    with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place:
        index = flat_index(vectors, Path(place))

        def as_faiss_comes(batch: npt.NDArray[np.float32]) -> Any:
            faiss.omp_set_num_threads(default_threads)
            faiss.cvar.distance_compute_blas_threshold = default_threshold
            return peer.search(batch, config.k)[1]

        def ours(batch: npt.NDArray[np.float32]) -> Any:
            return index.search(batch, config.k).ids

        for size in config.sizes:
            agreement.append(float(knn_recall(ours(queries[:size]), as_faiss_comes(queries[:size]), config.k).mean()))
            rates = [
                (rate(ours, queries, size, TURN_S), rate(as_faiss_comes, queries, size, TURN_S))
                for _ in range(config.repeats)
            ]
            for name, values in (
                ("ours", [mine for mine, _ in rates]),
                ("FAISS default", [theirs for _, theirs in rates]),
            ):
                numbers[f"batch {size}, {name}"] = Number.of_repeats(values, "queries/s")
            numbers[f"batch {size}, ours / FAISS"] = Number.of_repeats([mine / theirs for mine, theirs in rates], "")
    numbers["same ids as FAISS"] = Number(float(np.mean(agreement)))
    return Run(
        name=config.name,
        command=command_of("bench speed search", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "vectors": config.count,
            "width": config.width,
            "generator": f"{CENTRES} clusters, spread {SPREAD}",
        },
        numbers=numbers,
        notes=(
            f"Flat search, {config.count:,} x {config.width}, k = {config.k}; FAISS's IndexFlatIP by default "
            f"({default_threads} threads, BLAS threshold {default_threshold:,}), in turns in one process.",
        ),
    )


def _stages(config: SpeedSearchConfig, index: Path, texts: Path) -> Run:
    from retrieval.search.query_file import read_queries
    from retrieval.search.searcher import open_searcher

    from .stages import CALLS, cold_numbers, warm_numbers

    asked = read_queries(texts)
    searcher = open_searcher(index, config.model)
    numbers: dict[str, Number] = {}
    for size in config.sizes:
        numbers |= warm_numbers(searcher, asked, size, config.k, config.repeats)
    numbers |= cold_numbers(index, asked, config.k, config.repeats, config.model)
    return Run(
        name=config.name,
        command=command_of("bench speed search", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "pictures": len(searcher.index),
            "factory": searcher.index.manifest.factory,
            "texts": len(asked),
            "texts_sha256": sha256_file(texts),
            "encoder": Path(searcher.encoder.text_encoder().record.name).name,
        },
        numbers=numbers,
        notes=(
            f"{len(searcher.index):,} pictures, {searcher.index.manifest.factory}, k = {config.k}; milliseconds a "
            f"query. Batches: in an open process, the median of {CALLS} calls ({CALLS // 10} of batches from 10) in "
            "each repeat; encode is tokenising and the text tower, format the lines of --json. command: a process of "
            "its own, its stages as --explain tells them; start is Python and the command line, open the index, the "
            "rest what comes before and after.",
        ),
    )


def rate(
    search: Callable[[npt.NDArray[np.float32]], Any],
    queries: npt.NDArray[np.float32],
    size: int,
    seconds: float,
) -> float:
    """Queries/s of calls with `size` queries each, over at least `seconds` and two calls; one call warms
    up.
    """
    starts = range(0, len(queries) - size + 1, size)
    search(queries[:size])
    calls, started = 0, time.perf_counter()
    while True:
        start = starts[calls % len(starts)]
        search(queries[start : start + size])
        calls += 1
        elapsed = time.perf_counter() - started
        if calls >= 2 and elapsed >= seconds:
            return calls * size / elapsed


def flat_index(vectors: npt.NDArray[np.float16], place: Path) -> Any:
    """An open INDEX with the factory Flat over the vectors, built under `place` as any other is."""
    from indexes.building.build import IndexConfig, build_index
    from indexes.searching.search import load_index

    embeddings = place / "embeddings"
    embeddings.mkdir()
    shards = []
    for number, start in enumerate(range(0, len(vectors), SHARD)):
        rows = vectors[start : start + SHARD]
        ids = np.arange(start, start + len(rows), dtype=np.int64)
        shards.append(write_shard(embeddings, number, ids, rows, made_up_items(ids)))
    (embeddings / "rejected.jsonl").write_bytes(b"")
    EmbeddingsManifest(
        encoder=EncoderRecord("generated", "0" * 64, "0" * 64, vectors.shape[1], {}),
        source=".",
        count=len(vectors),
        rejected=record_file(embeddings, "rejected.jsonl"),
        shards=tuple(shards),
        next_id=len(vectors),
        settings={},
    ).write(embeddings)
    build_index(embeddings, place / "index", IndexConfig(factory="Flat"))
    return load_index(place / "index")


def made_up_items(ids: npt.NDArray[np.int64]) -> Any:
    """Items of pictures that do not exist, one per id."""
    columns = {
        "id": ids,
        "uri": [f"{number}.jpg" for number in ids.tolist()],
        "sha256": ["0" * 64] * len(ids),
        "width": np.ones(len(ids), np.int32),
        "height": np.ones(len(ids), np.int32),
        "bytes": np.zeros(len(ids), np.int64),
        "caption": pa.nulls(len(ids), pa.string()),
    }
    return pa.table(columns, schema=ITEM_COLUMNS)
