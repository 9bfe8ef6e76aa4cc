"""`bench scale`: what a corpus too large to try would take, worked out from rates that were measured.

Pure arithmetic over two committed runs: `bench speed embed` (pictures per second of a machine's cores) and
`bench speed index` (core-seconds of a build, bytes per vector, queries per second, at one size). Nothing here
was run at the size asked for; the run says so.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.runs import Number, Run, command_of, describe_machine, read_run
from indexes.engine.memory import parse_size
from indexes.errors import BeholderError

VECTOR_BYTES = 2  # float16, on disk
ID_BYTES = 8
DAY_S = 86_400


@dataclass(frozen=True)
class ScaleConfig:
    """Options of `bench scale`. Prices and item sizes are the caller's: they are no measurement."""

    embed: Path  # a run of `bench speed embed`
    index: Path  # a run of `bench speed index`
    pictures: int = 1_000_000_000
    memory: str = "64GiB"  # of one machine, for the index
    cores: int = 16  # of one machine
    item_bytes: int = 100  # of a row of items on disk: path, sha256, caption, compressed
    core_hour: float = 0.04  # price of a core for an hour, in any currency
    gigabyte_month: float = 0.02  # price of storing 10^9 bytes for a month
    name: str = "scale"

    def __post_init__(self) -> None:
        least = {"pictures": 1, "cores": 1, "item_bytes": 0, "core_hour": 0, "gigabyte_month": 0}
        wrong = [f"{name} {getattr(self, name)}" for name, most in least.items() if getattr(self, name) < most]
        if wrong:
            raise BeholderError(", ".join(wrong), "numbers that can be", "Correct the options.")
        parse_size(self.memory)


@dataclass(frozen=True)
class Rates:
    """What was measured, per core, on the machine of the runs."""

    width: int
    pictures_per_core_s: float  # embedded
    build_core_s: float  # of an index of `measured` vectors
    index_bytes: float  # per vector, in memory
    measured: int  # vectors of the index run
    query_core_s: float  # of one query over `measured` vectors


@dataclass(frozen=True)
class Needs:
    """What `pictures` take by those rates."""

    vectors_bytes: float
    items_bytes: float
    index_bytes: float
    embed_core_hours: float
    build_core_hours: float
    machines: int  # each holds one part of the index in memory
    embed_days: float  # on those machines
    build_hours: float  # on those machines, a part each
    query_ms: float  # of one query: all parts at once, a core each
    queries_per_s: float  # of all machines together
    price_once: float  # embedding and building
    price_month: float  # the machines, all day, and the storage


def needs(rates: Rates, config: ScaleConfig) -> Needs:
    """Pure. Embedding grows with N. A part of n vectors has 4 sqrt(n) lists, so building it grows with
    n sqrt(n) (each vector looks for its list), and a query with sqrt(n); a graph's grow less. Each query asks
    every part.
    """
    count = config.pictures
    index_bytes = rates.index_bytes * count
    machines = math.ceil(index_bytes / parse_size(config.memory))
    part = count / machines
    times = max(part / rates.measured, 1.0)
    embed_s = count / rates.pictures_per_core_s
    build_s = rates.build_core_s * times**1.5 * machines
    query_s = rates.query_core_s * times**0.5
    vectors_bytes, items_bytes = count * (VECTOR_BYTES * rates.width + ID_BYTES), float(count * config.item_bytes)
    stored = vectors_bytes + items_bytes + index_bytes
    cores = machines * config.cores
    return Needs(
        vectors_bytes=vectors_bytes,
        items_bytes=items_bytes,
        index_bytes=index_bytes,
        embed_core_hours=embed_s / 3600,
        build_core_hours=build_s / 3600,
        machines=machines,
        embed_days=embed_s / cores / DAY_S,
        build_hours=build_s / cores / 3600,
        query_ms=1000 * query_s,
        queries_per_s=config.cores / query_s,
        price_once=(embed_s + build_s) / 3600 * config.core_hour,
        price_month=30 * 24 * cores * config.core_hour + stored / 1e9 * config.gigabyte_month,
    )


def rates_of(embed: Run, index: Run) -> Rates:
    """The rates of two runs. Raises BeholderError for a run that lacks one of them."""
    measured = min(index.data.get("vectors", [0]))

    def of(run: Run, name: str) -> float:
        if name not in run.numbers:
            raise BeholderError(f"the run {run.name} has no {name!r}", "a run of bench speed embed, and of speed index")
        return run.numbers[name].value

    cores = int(embed.machine["cores"])
    group = f"{measured:,}: "
    return Rates(
        width=int(index.data["width"]),
        pictures_per_core_s=of(embed, "embed, pipeline") / cores,
        build_core_s=of(index, f"{group}build, ours, of one core"),
        index_bytes=of(index, f"{group}index, ours"),
        measured=measured,
        query_core_s=1 / of(index, f"{group}batch 1, swept, ours"),
    )


def measure(config: ScaleConfig) -> Run:
    """The run record: what the pictures would take, and what that was worked out from."""
    embed, index = read_run(config.embed), read_run(config.index)
    rates = rates_of(embed, index)
    found = needs(rates, config)
    gigabytes = 1e-9
    numbers = {
        "vectors on disk": Number(found.vectors_bytes * gigabytes, "GB"),
        "items on disk": Number(found.items_bytes * gigabytes, "GB"),
        "index in memory": Number(found.index_bytes * gigabytes, "GB"),
        f"machines of {config.cores} cores and {config.memory} for the index": Number(found.machines, ""),
        "embedding": Number(found.embed_core_hours, "core hours"),
        "embedding, on those machines": Number(found.embed_days, "days"),
        "building": Number(found.build_core_hours, "core hours"),
        "building, on those machines": Number(found.build_hours, "h"),
        "one query, all parts at once": Number(found.query_ms, "ms"),
        "queries of all machines together": Number(found.queries_per_s, "queries/s"),
        f"embedding and building at {config.core_hour:g} a core hour": Number(found.price_once, ""),
        "machines and storage, a month": Number(found.price_month, ""),
    }
    return Run(
        name=config.name,
        command=command_of("bench scale", config),
        machine=describe_machine(),
        seed=0,
        data={"pictures": config.pictures, "from": [embed.name, index.name], "rates": asdict(rates)},
        numbers=numbers,
        notes=(
            f"Worked out for {config.pictures:,} pictures, not run, from {embed.name} "
            f"({rates.pictures_per_core_s:.1f} pictures/s a core) and {index.name} "
            f"({rates.measured:,} x {rates.width}); a build grows with n sqrt(n) and a "
            "query with sqrt(n), as with inverted lists (a graph grows less); "
            f"storing 10^9 bytes costs {config.gigabyte_month:g} a month.",
        ),
    )
