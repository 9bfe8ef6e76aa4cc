"""What a search returns: for each query an answer, in it pictures with their place, relevance and scores."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .query import Query

if TYPE_CHECKING:
    from retrieval.rewriting.rewriter import Rewrite


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
    scores: Mapping[str, float] = field(default_factory=dict)  # percentile in the index, [0, 1], of each scorer

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CutOff:
    """What --min-relevance auto looked at: the mean relevance of the best ten pictures, and what it had to reach
    (indexes/records/calibration.py)."""

    statistic: float
    threshold: float

    @property
    def good(self) -> bool:
        return self.statistic >= self.threshold


@dataclass(frozen=True)
class Answer:
    """The results of one query, best first. `good_match` is False where a least relevance was asked for and nothing
    reached it: then there are no results. notes: what a stage has to say. seconds: per stage, of all the queries that
    were asked together."""

    query: Query
    results: list[Result]
    rewrites: tuple["Rewrite", ...] = ()  # of the query's texts, in their order; none where it was not rewritten
    good_match: bool = True
    cut_off: CutOff | None = None
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def rewritten(self) -> "Rewrite | None":
        """What became of the query's first text."""
        return self.rewrites[0] if self.rewrites else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: what does not apply is left out, and so are the seconds."""
        content: dict[str, Any] = {
            "query": self.query.label,
            "good_match": self.good_match,
            "results": [result.to_dict() for result in self.results],
        }
        if self.rewrites:
            content["rewrites"] = [rewrite.to_dict() for rewrite in self.rewrites]
        if self.cut_off is not None:
            content["cut_off"] = asdict(self.cut_off)
        if self.notes:
            content["notes"] = list(self.notes)
        return content
