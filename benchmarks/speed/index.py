"""`bench speed index`: what the planner builds for a target and a bound of memory, beside what autofaiss builds
from the same vectors under the same bound, in one run.

Both are tuned by themselves first (ours with text-like queries, autofaiss as it does it) and timed as they
are; then each one's effort is swept and they are timed at the least effort that reaches the target over
queries that neither has seen. Timings take turns. Vectors and queries come from clusters.py.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures.metrics import knn_recall
from benchmarks.measures.stats import bootstrap_mean
from benchmarks.plots import Curve
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.engine.memory import parse_size, shown
from indexes.errors import BeholderError
from indexes.records.exact import exact_search
from indexes.records.manifest import record_file
from indexes.records.shards import Embeddings, EmbeddingsManifest, EncoderRecord, write_shard

from .clusters import Clusters
from .index_sides import LADDER, Ids, K, Side, Vectors, build_autofaiss, build_ours, least_effort
from .search import made_up_items, rate

TUNING = 1000  # text-like queries that ours is tuned with
ASKED = 1000  # others, that recall and speed are measured with
TURN_S = 1.0  # of calls per repeat and side
TRADE_S = 0.2  # of calls for a point of the curve of recall and speed
NEARLY_ALL = 0.995  # where that curve ends
Trade = tuple[int, float, float]  # effort, knn_recall@K, queries/s


@dataclass(frozen=True)
class SpeedIndexConfig:
    """Options of `bench speed index`."""

    count: tuple[int, ...] = (100_000,)
    width: int = 256
    knn_recall: float = 0.95
    memory: str = "4GiB"
    batch: tuple[int, ...] = (1, 64)
    repeats: int = 5
    autofaiss: Path | None = None  # the Python of an environment that has it
    seed: int = 0
    name: str = "speed-index"

    def __post_init__(self) -> None:
        wrong = [f"{name} {getattr(self, name)}" for name in ("width", "repeats") if getattr(self, name) < 1]
        wrong += [f"count {count} (at least {K})" for count in self.count if count < K]
        wrong += [f"batch {size} (1 to {ASKED})" for size in self.batch if not 1 <= size <= ASKED]
        if not 0 < self.knn_recall <= 1:
            wrong.append(f"knn_recall {self.knn_recall} (above 0, at most 1)")
        if self.autofaiss is not None and not self.autofaiss.is_file():
            wrong.append(f"autofaiss {self.autofaiss} (the python of its environment)")
        if wrong:
            raise BeholderError(", ".join(wrong), "", "Correct the options.")
        parse_size(self.memory)


def measure(config: SpeedIndexConfig) -> Run:
    """The run record: a group of numbers for each count of vectors."""
    numbers: dict[str, Number] = {}
    notes = []
    traded: dict[str, list[Trade]] = {}
    for count in config.count:
        with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place:
            found, trades, note = _at(count, config, Path(place))
        numbers |= {f"{count:,}: {name}": number for name, number in found.items()}
        traded |= {f"{count:,}, {name}": points for name, points in trades.items()}
        notes.append(note)
    return Run(
        name=config.name,
        command=command_of("bench speed index", config),
        machine=describe_machine(),
        seed=config.seed,
        data={"vectors": list(config.count), "width": config.width, "queries": ASKED, "generator": "clusters.py"}
        | ({"recall and queries/s by effort": traded} if traded else {}),
        numbers=numbers,
        notes=(*notes, _protocol(config)),
    )


def _at(count: int, config: SpeedIndexConfig, place: Path) -> tuple[dict[str, Number], dict[str, list[Trade]], str]:
    clusters = Clusters(config.width, seed=config.seed)
    texts = clusters.texts(TUNING + ASKED)
    tuning, asked = texts[:TUNING], texts[TUNING:]
    memory = parse_size(config.memory)
    embeddings = write_embeddings(clusters, count, place / "embeddings")
    exact = exact_search(asked, embeddings.blocks(), K).ids
    sides = [build_ours(embeddings.folder, place, tuning, config.knn_recall, memory)]
    if config.autofaiss is not None:
        halves = [vectors for _, vectors in embeddings.blocks()]
        sides.append(build_autofaiss(config.autofaiss, halves, place, memory))
    numbers, told = compare(sides, asked, exact, count, config)
    trades = {side.name: trade_off(side, asked, exact) for side in sides}
    return numbers, trades, f"{count:,} x {config.width} in {shown(memory)}: {'; '.join(told)}."


def trade_off(side: Side, queries: Vectors, exact: Ids) -> list[Trade]:
    """Of rising efforts, from 1 to where nearly all is found: (effort, knn_recall@K, queries/s, one at a time). One
    point with effort 0 where the side has nothing to turn."""
    efforts: Sequence[int | None] = [effort for effort in LADDER if effort <= side.most]
    found = []
    for effort in efforts if side.parameter else [None]:
        recall = float(knn_recall(side.search(queries, effort, None), exact, K).mean())
        found.append((effort or 0, recall, rate(lambda batch: side.search(batch, effort, 1), queries, 1, TRADE_S)))  # noqa: B023
        if recall >= NEARLY_ALL:
            break
    return found


def curves(run: Run) -> list[Curve]:
    """Queries/s by recall, a curve for each side and count; each point says its effort."""
    traded: dict[str, list[Trade]] = run.data.get("recall and queries/s by effort", {})
    return [
        Curve(name, tuple((recall, speed, str(int(effort) or "")) for effort, recall, speed in points))
        for name, points in traded.items()
    ]


def write_embeddings(clusters: Clusters, count: int, folder: Path) -> Embeddings:
    """An EMBEDDINGS folder of the first `count` rows, a shard for each block."""
    folder.mkdir(parents=True)
    shards = []
    for number, (ids, rows) in enumerate(_numbered(clusters, count)):
        shards.append(write_shard(folder, number, ids, rows, made_up_items(ids)))
    (folder / "rejected.jsonl").write_bytes(b"")
    EmbeddingsManifest(
        encoder=EncoderRecord("generated", "0" * 64, "0" * 64, clusters.width, {}),
        source=".",
        count=count,
        rejected=record_file(folder, "rejected.jsonl"),
        shards=tuple(shards),
        next_id=count,
        settings={},
    ).write(folder)
    return Embeddings(folder)


def _numbered(clusters: Clusters, count: int) -> Iterator[tuple[Ids, npt.NDArray[np.float16]]]:
    start = 0
    for rows in clusters.blocks(count):
        yield np.arange(start, start + len(rows), dtype=np.int64), rows.astype(np.float16)
        start += len(rows)


def compare(
    sides: list[Side], queries: Vectors, exact: Ids, count: int, config: SpeedIndexConfig
) -> tuple[dict[str, Number], list[str]]:
    """The numbers of each side and their ratios, and a phrase about each side."""
    numbers: dict[str, Number] = {}
    told = []
    swept: dict[str, tuple[int | None, float]] = {}
    for side in sides:
        recall = knn_recall(side.search(queries, None, None), exact, K)
        swept[side.name] = least_effort(side, queries, exact, config.knn_recall)
        numbers[f"build, {side.name}"] = Number(side.built["seconds"], "s")
        numbers[f"build, {side.name}, of one core"] = Number(side.built["core_seconds"], "s")
        numbers[f"build's peak memory, {side.name}"] = Number(side.built["peak_bytes"] / (1 << 20), "MiB")
        numbers[f"index, {side.name}"] = Number(side.index_bytes / count, "bytes/vector")
        numbers[f"knn_recall@{K} by itself, {side.name}"] = Number.of(bootstrap_mean(recall, seed=config.seed))
        numbers[f"knn_recall@{K} swept, {side.name}"] = Number(swept[side.name][1], "share", n=len(queries))
        told.append(_chosen(side, swept[side.name][0]))
    for size in config.batch:
        for setting in ("by itself", "swept"):
            efforts = {side.name: None if setting == "by itself" else swept[side.name][0] for side in sides}
            rates = _rates(sides, efforts, queries, size, config.repeats)
            for side in sides:
                numbers[f"batch {size}, {setting}, {side.name}"] = Number.of_repeats(rates[side.name], "queries/s")
            met = setting == "by itself" or all(recall >= config.knn_recall for _, recall in swept.values())
            if len(sides) == 2 and met:
                ratios = [mine / theirs for mine, theirs in zip(*rates.values(), strict=True)]
                numbers[f"batch {size}, {setting}, ours / autofaiss"] = Number.of_repeats(ratios, "")
    return numbers, told


def _rates(
    sides: list[Side], efforts: dict[str, int | None], queries: Vectors, size: int, repeats: int
) -> dict[str, list[float]]:
    """Queries/s of each side per repeat, in turns. The peer gets the better of one thread and all: FAISS's own
    choice of threads is often the slower one for single queries.
    """

    def of(side: Side, threads: int | None) -> float:
        return rate(lambda batch: side.search(batch, efforts[side.name], threads), queries, size, TURN_S)

    threads: dict[str, int | None] = {}
    for side in sides:
        threads[side.name] = None if side.name == "ours" else max((None, 1), key=lambda number: of(side, number))
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            rates[side.name].append(of(side, threads[side.name]))
    return rates


def _chosen(side: Side, effort: int | None) -> str:
    if side.parameter is None:
        return f"{side.name} chose {side.factory}"
    return f"{side.name} chose {side.factory} with {side.parameter} {side.default}, swept {effort}"


def _protocol(config: SpeedIndexConfig) -> str:
    asked = f"{ASKED:,} text-like queries that neither side was tuned with, k = {K}"
    swept = f"swept: the least effort whose knn_recall@{K} over them reaches {config.knn_recall:g}"
    peak = "peak memory: anonymous, above what the process held before the build"
    return f"{asked}; by itself: as each tool sets itself; {swept}; {peak}."
