"""`bench speed embed`: pictures/s of the pipeline beside what its parts can do, measured in turns in one
process.

forward-only: the image tower on random pixels that are already floats in memory. decode-only: reading,
decoding and fitting the same files on all cores, pixels dropped where they were made. A pipeline that
shares the cores between both cannot beat 1 / (1/forward + 1/decode). Models are loaded and worker
processes started before any clock runs.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runs import Number, Run, command_of, describe_machine
from benchmarks.tables.pictures import link_pictures
from indexes.errors import BeholderError
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.encoding.pipeline import EmbedConfig, EmbedReport, embed
from retrieval.sources.images import BadPicture, Preprocessing, decode, fit, list_pictures

CHUNK = 16  # pictures per task of the decode-only pool
FORWARD_S = 8.0  # seconds of forward passes per repeat, unless the pictures need fewer


@dataclass(frozen=True)
class SpeedEmbedConfig:
    """Options of `bench speed embed`; workers = 0 is one per core, threads = 0 is torch's choice."""

    source: Path
    model: str = "beholder-mini"
    batch_size: int = 64
    threads: int = 0
    workers: int = 0
    limit: int | None = None
    repeats: int = 3
    seed: int = 0
    device: str = "cpu"
    name: str = "speed-embed"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {getattr(self, name)}"
            for name, least in {"batch_size": 1, "threads": 0, "workers": 0, "repeats": 1}.items()
            if getattr(self, name) < least
        ]
        if self.limit is not None and self.limit < 1:
            wrong.append(f"limit {self.limit}")
        if wrong:
            raise BeholderError(", ".join(wrong), "positive numbers", "Correct the options.")


@dataclass(frozen=True)
class Repeat:
    """Pictures/s of one turn; `pipeline` counts from the first picture read to the last shard written,
    `call` all of `embed` with starting workers and the manifest, `encode` only the time inside the
    encoder.
    """

    pipeline: float
    call: float
    encode: float
    forward: float
    decode: float

    @property
    def expected(self) -> float:
        return 1 / (1 / self.forward + 1 / self.decode)


def measure(config: SpeedEmbedConfig, *, encoder: Encoder | None = None) -> Run:
    """The run record: medians over interleaved repeats, their lowest and highest, ratios taken within each
    repeat.
    """
    names, _ = list_pictures(config.source)
    if config.limit is not None and config.limit < len(names):
        drawn = np.random.default_rng(config.seed).permutation(len(names))[: config.limit]
        names = sorted(names[place] for place in drawn)
    if not names:
        raise BeholderError(f"{config.source} holds no pictures", "at least one", "Check the folder.")
    encoder = encoder or load_encoder(config.model, config.device)
    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
    encoder.record  # noqa: B018  hashed once per process, and no part of a rate
    forward_rate(encoder, config.batch_size, config.batch_size)  # the first pass allocates
    repeats: list[Repeat] = []
    peak = 0.0
    cores = config.workers or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place, decode_pool(cores) as pool:
        source = Path(place) / "pictures"
        link_pictures(config.source, names, source)
        for turn in range(config.repeats):
            report, call_s = _embed_once(config, encoder, source, Path(place) / f"embeddings-{turn}")
            peak = peak or peak_memory_mib()  # of the pipeline: before the peers have run
            repeats.append(
                Repeat(
                    pipeline=report.embedded / report.wall_s,
                    call=report.embedded / call_s,
                    encode=report.embedded / report.seconds["encode"],
                    forward=forward_rate(encoder, config.batch_size, len(names)),
                    decode=decode_rate(pool, source, names, encoder.preprocessing),
                )
            )
    return Run(
        name=config.name,
        command=command_of("bench speed embed", config),
        machine=describe_machine(config.device),
        seed=config.seed,
        data={
            "pictures": len(names),
            "bytes": sum((config.source / name).stat().st_size for name in names),
            "encoder": Path(encoder.name).name,
            "image_size": encoder.image_size,
            "width": encoder.width,
        },
        numbers=summarize(repeats) | {"peak memory": Number(peak, "MiB")},
        notes=(
            f"{len(names):,} pictures, batches of {config.batch_size}, {_threads()} encoder threads, "
            f"{cores} decode processes; loading the model excluded. Peak memory: the main process "
            "after the first repeat, weights included, decode processes not.",
        ),
    )


def summarize(repeats: Sequence[Repeat]) -> dict[str, Number]:
    """Medians with lowest and highest; ratios are taken within each repeat, where noise is shared."""

    rate = "pictures/s"
    return {
        "embed, pipeline": Number.of_repeats([turn.pipeline for turn in repeats], rate),
        "embed, whole call": Number.of_repeats([turn.call for turn in repeats], rate),
        "embed, time in the encoder": Number.of_repeats([turn.encode for turn in repeats], rate),
        "forward only": Number.of_repeats([turn.forward for turn in repeats], rate),
        "decode only": Number.of_repeats([turn.decode for turn in repeats], rate),
        "expected of both, 1 / (1/f + 1/d)": Number.of_repeats([turn.expected for turn in repeats], rate),
        "pipeline / forward only": Number.of_repeats([turn.pipeline / turn.forward for turn in repeats], ""),
        "pipeline / expected": Number.of_repeats([turn.pipeline / turn.expected for turn in repeats], ""),
    }


def forward_rate(encoder: Encoder, batch_size: int, pictures: int) -> float:
    """Pictures/s of the image tower alone, over whole batches until `pictures` are done or FORWARD_S are
    over.
    """
    import torch

    side = encoder.image_size
    batch = torch.rand((batch_size, 3, side, side), generator=torch.Generator().manual_seed(0)).to(encoder.device)
    done, started = 0, time.perf_counter()
    with torch.inference_mode():
        while True:
            vectors = encoder.model.encode_image(batch)
            done += batch_size
            float(vectors[0, 0])  # waits for the device
            elapsed = time.perf_counter() - started
            if done >= pictures or elapsed > FORWARD_S:
                return done / elapsed


def decode_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are already running: not the pipeline's own pool, so that its overhead is not hidden."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    list(pool.map(abs, range(4 * workers)))
    return pool


def decode_rate(pool: ProcessPoolExecutor, source: Path, names: Sequence[str], preprocessing: Preprocessing) -> float:
    """Pictures/s of reading, decoding and fitting, on all processes of the pool."""
    chunks = [(os.fspath(source), names[at : at + CHUNK], preprocessing) for at in range(0, len(names), CHUNK)]
    started = time.perf_counter()
    done = sum(pool.map(decode_chunk, chunks))
    return done / (time.perf_counter() - started)


def decode_chunk(chunk: tuple[str, Sequence[str], Preprocessing]) -> int:
    """How many pictures of a chunk were decoded; bad ones are skipped here as the pipeline skips them."""
    root, names, preprocessing = chunk
    done = 0
    for name in names:
        try:
            fit(decode(Path(root, name).read_bytes()), preprocessing)
            done += 1
        except BadPicture:
            continue
    return done


def peak_memory_mib() -> float:
    """The most memory this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def _embed_once(
    config: SpeedEmbedConfig, encoder: Encoder, source: Path, embeddings: Path
) -> tuple[EmbedReport, float]:
    embedding = EmbedConfig(
        model=config.model,
        batch_size=config.batch_size,
        workers=config.workers,
        threads=config.threads,
        device=config.device,
    )
    started = time.perf_counter()
    report = embed(source, embeddings, embedding, encoder=encoder)
    return report, time.perf_counter() - started


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())
