"""`bench speed scaling`: what an index costs as the corpus grows, at four sizes and more, with fitted exponents.

At each size: seconds to build it (all cores, and summed over cores), the build's peak memory, what a search holds of it
in memory, and queries/s at the least effort that reaches the target. Vectors and text-like queries are those of
`bench speed index`, the smaller corpus the first rows of the larger. The kind of index is the planner's own choice at
each size, unless --factory holds it: a change of kind is a change of law, and is told.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measures.power_law import fit_power_law
from benchmarks.plots import Curve
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.building.index_config import IndexConfig
from indexes.engine.memory import parse_size, shown
from indexes.errors import BeholderError
from indexes.records.exact import exact_search

from .clusters import Clusters
from .index import ASKED, TUNING, TURN_S, write_embeddings
from .index_sides import K, build_ours, least_effort
from .search import rate

LEAST_SIZES = 3  # with two any law fits
MEASURES = "build", "build, of one core", "build's peak memory", "index in memory", "one query"  # 1 / queries/s
EXPONENT = "exponent of "


@dataclass(frozen=True)
class SpeedScalingConfig:
    """Options of `bench speed scaling`."""

    count: tuple[int, ...] = (25_000, 50_000, 75_000, 100_000)  # all past where the planner takes Flat
    width: int = 256
    knn_recall: float = 0.95
    memory: str = "4GiB"
    factory: str = "auto"  # a kind for all sizes; auto: the planner's choice at each
    repeats: int = 5
    seed: int = 0
    name: str = "speed-scaling"

    def __post_init__(self) -> None:
        wrong = [f"{name} {getattr(self, name)}" for name in ("width", "repeats") if getattr(self, name) < 1]
        wrong += [f"count {count} (at least {K})" for count in self.count if count < K]
        if len(set(self.count)) < LEAST_SIZES:
            wrong.append(f"{len(set(self.count))} counts (at least {LEAST_SIZES})")
        if wrong:
            raise BeholderError(", ".join(wrong), "", "Correct the options.")
        parse_size(self.memory)
        IndexConfig(factory=self.factory, knn_recall=self.knn_recall)


@dataclass(frozen=True)
class Size:
    """What was measured at one size, by MEASURES; recall at the effort that was timed, and the kind of index."""

    count: int
    factory: str
    costs: Mapping[str, Number]
    recall: float


def measure(config: SpeedScalingConfig) -> Run:
    """The run record: costs at each size, rising, then an exponent of each."""
    sizes = []
    for count in sorted(set(config.count)):
        with tempfile.TemporaryDirectory(prefix="beholder-bench-") as place:
            sizes.append(_at(count, config, Path(place)))
    return Run(
        name=config.name,
        command=command_of("bench speed scaling", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "vectors": [size.count for size in sizes],
            "width": config.width,
            "queries": ASKED,
            "generator": "clusters.py",
            "factories": [size.factory for size in sizes],
        },
        numbers=numbers_of(sizes),
        notes=_notes(config, sizes),
    )


def _at(count: int, config: SpeedScalingConfig, place: Path) -> Size:
    clusters = Clusters(config.width, seed=config.seed)
    texts = clusters.texts(TUNING + ASKED)
    tuning, asked = texts[:TUNING], texts[TUNING:]
    embeddings = write_embeddings(clusters, count, place / "embeddings")
    exact = exact_search(asked, embeddings.blocks(), K).ids
    memory = parse_size(config.memory)
    side = build_ours(embeddings.folder, place, tuning, config.knn_recall, memory, config.factory)
    effort, recall = least_effort(side, asked, exact, config.knn_recall)
    rates = [rate(lambda batch: side.search(batch, effort, None), asked, 1, TURN_S) for _ in range(config.repeats)]
    costs = {
        "build": Number(side.built["seconds"], "s"),
        "build, of one core": Number(side.built["core_seconds"], "s"),
        "build's peak memory": Number(side.built["peak_bytes"] / (1 << 20), "MiB"),
        "index in memory": Number(side.index_bytes / (1 << 20), "MiB"),
        "one query": Number.of_repeats([1000 / one for one in rates], "ms"),
    }
    return Size(count, side.factory, costs, recall)


def numbers_of(sizes: list[Size]) -> dict[str, Number]:
    """Costs at each size with queries/s and recall beside, then the exponents."""
    numbers: dict[str, Number] = {}
    for size in sizes:
        head = f"{size.count:,}: "
        numbers |= {f"{head}{name}": number for name, number in size.costs.items()}
        numbers[f"{head}queries/s"] = Number(1000 / size.costs["one query"].value, "queries/s")
        numbers[f"{head}knn_recall@{K}"] = Number(size.recall, "share", n=ASKED)
    for name in MEASURES:
        fitted = fit_power_law([size.count for size in sizes], [size.costs[name].value for size in sizes])
        numbers[EXPONENT + name] = Number(fitted.exponent, "", fitted.low, fitted.high, fitted.n)
    return numbers


def curves(run: Run) -> list[Curve]:
    """Cost by size, each relative to its own at the smallest: straight lines of the fitted slope on two logarithmic
    axes."""
    counts = [int(count) for count in run.data["vectors"]]
    found = []
    for name in MEASURES:
        values = [run.numbers[f"{count:,}: {name}"].value for count in counts]
        points = tuple((float(count), value / values[0], "") for count, value in zip(counts, values, strict=True))
        found.append(Curve(name, points))
    return found


def _notes(config: SpeedScalingConfig, sizes: list[Size]) -> tuple[str, ...]:
    kinds = ", ".join(f"{size.count:,}: {size.factory}" for size in sizes)
    changed = len({size.factory for size in sizes}) > 1
    return (
        f"{config.width} wide, in {shown(parse_size(config.memory))}; kinds: {kinds}"
        + (
            "; the kind changes with the size, so the exponents are of the planner, not of one kind."
            if changed
            else "."
        )
        + f" Queries one at a time, at the least effort whose knn_recall@{K} over {ASKED:,} text-like queries reaches "
        f"{config.knn_recall:g}.",
        f"Exponents: least squares of log cost on log count over {len(sizes)} sizes, Student's 95 % interval; they say "
        "nothing about sizes far outside. 1: in proportion; 0: none. Each build ran once.",
    )
