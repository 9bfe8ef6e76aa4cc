"""How an index is built: one frozen configuration, the same thing in CLI, API and manifest."""

from dataclasses import asdict, dataclass
from typing import Any

from indexes.engine.factories import KNOWN, parse
from indexes.engine.faiss_build import Training
from indexes.errors import BeholderError

# Owner: docs/decisions/0002-flat-search-threads.md, "Flat or IVF": up to here exact costs under a millisecond more.
FLAT_UP_TO = 20_000


@dataclass(frozen=True)
class IndexConfig:
    """How to build. The same configuration over the same embeddings gives the same bytes, `measured` apart."""

    factory: str = "auto"  # FAISS's name, see factories.KNOWN; auto: planned, see planner.py
    threads: int = 0  # 0: all cores; changes no byte
    seed: int = 0  # of k-means, of the samples and of the bootstrap
    train_rows: int = 262_144  # most rows that IVF is trained on: 12 * D bytes each while it trains
    knn_recall: float = 0.95  # that search parameters are chosen for: share of the exact top 10 found
    memory: int = 0  # bytes that building and searching may hold beside mapped files, 0: any
    device: str = "cpu"  # where it will be searched: cuda narrows the choice, and is what is timed
    measure: bool = False  # keep recall and speed in the manifest, even where nothing had to be planned
    scorers: tuple[str, ...] = ()  # whose scores become dimensions of the index, for beauty weights
    default_scorer: str = ""  # the one that a beauty weight without a name means; "": none

    def __post_init__(self) -> None:
        wrong = []
        if self.factory != "auto":
            try:
                parse(self.factory)
            except BeholderError:
                wrong.append(f"factory {self.factory!r} ({KNOWN})")
        least = {"threads": 0, "seed": 0, "train_rows": 1, "memory": 0}
        wrong += [
            f"{name} {getattr(self, name)} ({most} or more)"
            for name, most in least.items()
            if getattr(self, name) < most
        ]
        if not 0 < self.knn_recall <= 1:
            wrong.append(f"knn_recall {self.knn_recall} (above 0, at most 1)")
        if self.device not in ("cpu", "cuda"):
            wrong.append(f"device {self.device!r} (cpu or cuda)")
        if len(set(self.scorers)) != len(self.scorers):
            wrong.append(f"scorers {', '.join(self.scorers)} (each once)")
        if self.default_scorer and self.default_scorer not in self.scorers:
            wrong.append(f"default_scorer {self.default_scorer!r} (one of the scorers of the index: --score NAME)")
        if wrong:
            raise BeholderError(f"index settings: {', '.join(wrong)}")

    @property
    def training(self) -> Training:
        return Training(self.seed, self.train_rows, self.threads, self.memory)

    def settings(self) -> dict[str, Any]:
        """What a manifest keeps: all that may change a byte."""
        plain = {name: value for name, value in asdict(self).items() if name != "threads"}
        return {**plain, "scorers": list(self.scorers)}  # as JSON has it
