"""What a search returns: a picture with its place, its relevance and what the index knows of it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One hit. `relevance` is the cosine of query and picture, in [-1, 1], higher is better; `rank` starts at 1."""

    id: int
    rank: int
    uri: str  # under the index's picture folder
    relevance: float
    sha256: str
    width: int  # pixels, upright
    height: int
    caption: str | None
    copies: tuple[int, ...] = ()  # ids of pictures that it stands for, where repetitions were collapsed

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
