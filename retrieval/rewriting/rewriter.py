"""What a rewriter is: one query to the text that the encoder sees, what became of it, and the settings of a run."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.language.asking import AskSettings

Progress = Callable[[int, int], None]


ARMS = "detail", "k-list", "kw-dict", "reorg", "pattern"


@dataclass(frozen=True)
class Rewrite:
    """What became of one query. `fallback`: why `text` is the original after all; None where nothing went wrong.
    `truncated`: the rewrite was longer than the text tower reads and was cut at a phrase, or fell back for it."""

    original: str
    text: str
    rewriter: str
    fallback: str | None = None
    truncated: bool = False
    cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class Rewriter(Protocol):
    """Never raises for what a model says or a server does: such a query keeps its own words, and says why."""

    @property
    def name(self) -> str:
        """The spec, with the version of its prompt or list."""
        ...

    @property
    def provenance(self) -> dict[str, Any]:
        """What would be needed to do it again: model, prompt and its sha256, settings; no times, no keys."""
        ...

    @property
    def hopeless(self) -> str | None:
        """Why no query can be rewritten, once that is known: no such model, a wrong key, nobody at the address."""
        ...

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        """A Rewrite for each text, in their order."""
        ...


@dataclass(frozen=True)
class RewriteSettings(AskSettings):
    """How a rewriter that asks a model does so."""

    timeout_s: float = 30.0  # for one query, all attempts together
    topic_floor: float | None = None  # least cosine of query and rewrite; None: measured on the encoder

    def problems(self) -> list[str]:
        floor = self.topic_floor
        outside = floor is not None and not -1 <= floor <= 1
        return [*super().problems(), *([f"topic_floor is {floor}, which no cosine is"] if outside else [])]


@dataclass(frozen=True)
class RewriteCounts:
    """What became of many queries: fallbacks by their reason, and how many rewrites were over-long or kept answers."""

    queries: int
    rewritten: int
    fallbacks: dict[str, int]
    truncated: int
    cached: int

    def line(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.fallbacks.items())
        fell = sum(self.fallbacks.values())
        return (
            f"{self.rewritten} of {self.queries} queries rewritten, {fell} kept their own words"
            f"{f' ({reasons})' if reasons else ''}; {self.truncated} over-long, {self.cached} from the cache"
        )


def count_rewrites(rewrites: Iterable[Rewrite]) -> RewriteCounts:
    """Reasons are counted by what stands before their colon, the most frequent first."""
    rewrites = list(rewrites)
    reasons = Counter(one.fallback.partition(":")[0] for one in rewrites if one.fallback)
    return RewriteCounts(
        queries=len(rewrites),
        rewritten=sum(one.fallback is None and one.text != one.original for one in rewrites),
        fallbacks=dict(reasons.most_common()),
        truncated=sum(one.truncated for one in rewrites),
        cached=sum(one.cached for one in rewrites),
    )
