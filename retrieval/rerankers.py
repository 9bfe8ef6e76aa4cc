"""Re-rankers by name: each takes the candidates of a query and puts them in another order. They chain.

    rank-mix[:SHARE][@SCORER]   percentiles of relevance and beauty within the candidates, SHARE of beauty (0.5)
    mmr[:SHARE]                 diversity: what is like a better result moves down, SHARE of diversity (0.3)
    lmm:MODEL[@URL][#N]         a model that sees pictures compares the first N (6) in pairs, in both orders

What a re-ranker could not do is a note on the candidates; their order is then what it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .rerank import mmr, order_by, rank_mix
from .rewrite import RewriteSettings

SPECS = "rank-mix[:SHARE][@SCORER]", "mmr[:SHARE]", "lmm:MODEL[@URL][#N]"


@dataclass(frozen=True)
class Candidates:
    """The candidates of one query, best first.

    relevance: float32 (N,), cosines. scores: (N,), what they are ordered by now, higher is better; relevance at first.
    percentiles: by scorer, (N,) in [0, 1], NaN without a score. vectors: gives float32 (N, D), unit rows, of positions
    `origin`. picture: gives uint8 (H, W, 3) of an id, for re-rankers that look.
    """

    query: str  # as typed: what the person asked for, not its rewrite
    ids: NDArray[np.int64]
    relevance: NDArray[np.float32]
    scores: NDArray[Any]
    percentiles: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    default_scorer: str = ""
    vectors: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None  # of ids (n,) -> (n, D)
    picture: Callable[[int], NDArray[np.uint8]] | None = None  # of an id
    notes: tuple[str, ...] = ()

    def ordered(self, order: NDArray[np.int64], scores: NDArray[Any]) -> "Candidates":
        """The same in another order; `scores` (N,) are in that order already."""
        return replace(
            self,
            ids=self.ids[order],
            relevance=self.relevance[order],
            scores=scores,
            percentiles={name: values[order] for name, values in self.percentiles.items()},
        )

    def noted(self, note: str) -> "Candidates":
        return replace(self, notes=(*self.notes, note))


class Reranker(Protocol):
    @property
    def name(self) -> str: ...

    def rerank(self, candidates: Candidates, k: int) -> Candidates:
        """The candidates in a new order; only the first k will be shown."""
        ...


@dataclass(frozen=True)
class RankMix:
    """The paper's: relevance and beauty by their ranks within the candidates."""

    share: float = 0.5
    scorer: str = ""
    name: str = "rank-mix"

    def rerank(self, candidates: Candidates, k: int) -> Candidates:
        """Raises BeholderError for a scorer that the index lacks, or where none is named and there is no default."""
        scorer = self.scorer or candidates.default_scorer
        if scorer not in candidates.percentiles:
            there = ", ".join(candidates.percentiles) or "none"
            found = f"the index has no scores of {scorer}" if scorer else "rank-mix names no scorer"
            raise BeholderError(found, f"one of: {there}", "Example: --rerank rank-mix@SCORER; see `beholder score`.")
        mixed = rank_mix(candidates.scores, candidates.percentiles[scorer], self.share)
        order = order_by(mixed)
        return candidates.ordered(order, mixed[order])


@dataclass(frozen=True)
class Diverse:
    """Maximal marginal relevance over the candidates' vectors."""

    share: float = 0.3
    name: str = "mmr"

    def rerank(self, candidates: Candidates, k: int) -> Candidates:
        if candidates.vectors is None:
            raise BeholderError("mmr without vectors", "candidates of an index", "Give `vectors`.")
        order = mmr(candidates.scores, candidates.vectors(candidates.ids), self.share, k)
        return candidates.ordered(order, np.linspace(1, 0, len(order)))  # places are all that is left to compare


def load_reranker(spec: str, settings: RewriteSettings | None = None) -> Reranker:
    """The re-ranker of a spec. Raises BeholderError for one that is none or a share outside [0, 1]."""
    kind, colon, rest = spec.partition(":")
    if kind == "lmm" and rest:
        from .rerank_lmm import load_lmm

        return load_lmm(rest, settings or RewriteSettings())
    kind, _, scorer = spec.partition("@")
    kind, colon, share = kind.partition(":")
    if kind == "rank-mix":
        return RankMix(_share(spec, share) if colon else 0.5, scorer)
    if kind == "mmr" and not scorer:
        return Diverse(_share(spec, share) if colon else 0.3)
    raise BeholderError(f"there is no re-ranker {spec!r}", ", ".join(SPECS), "Example: --rerank mmr:0.3")


def rerank(rerankers: Sequence[Reranker], candidates: Candidates, k: int) -> Candidates:
    """The candidates after all re-rankers, one after the other."""
    for one in rerankers:
        candidates = one.rerank(candidates, k)
    return candidates


def _share(spec: str, given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise BeholderError(f"the re-ranker {spec!r}", "a share from 0 to 1 behind its colon", "Example: mmr:0.3")
    return share
