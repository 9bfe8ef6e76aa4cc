"""Settings of bench speed serve."""

from dataclasses import dataclass
from pathlib import Path

from indexes.errors import BeholderError

from .serve_sides import K


@dataclass(frozen=True)
class SpeedServeConfig:
    """Options of `bench speed serve`."""

    count: int = 100_000
    width: int = 256
    knn_recall: float = 0.98
    concurrency: tuple[int, ...] = (1, 32)
    seconds: float = 5.0  # of load per turn
    repeats: int = 3
    clip_retrieval: Path | None = None  # the Python of an environment that has it
    text_index: Path | None = None  # an INDEX for text queries
    texts: Path | None = None  # text queries, one a line
    architecture: str | None = None  # of open_clip: text queries by random weights of it, on both sides
    soak: float = 0.0  # seconds at 70 % of capacity
    seed: int = 0
    name: str = "speed-serve"

    def __post_init__(self) -> None:
        wrong = [f"{name} {getattr(self, name)}" for name in ("width", "repeats") if getattr(self, name) < 1]
        wrong += [f"count {self.count} (at least {K})"] * (self.count < K)
        wrong += [f"concurrency {one} (1 to 256)" for one in self.concurrency if not 1 <= one <= 256]
        wrong += [f"seconds {self.seconds} (at least 0.1)"] * (self.seconds < 0.1)
        if not 0 < self.knn_recall <= 1:
            wrong.append(f"knn_recall {self.knn_recall} (above 0, at most 1)")
        if self.clip_retrieval is not None and not self.clip_retrieval.is_file():
            wrong.append(f"clip_retrieval {self.clip_retrieval} (the python of its environment)")
        if self.texts is None and (self.text_index is not None or self.architecture is not None):
            wrong.append("text_index or architecture without texts")
        if wrong:
            raise BeholderError(", ".join(wrong), "", "Correct the options.")
