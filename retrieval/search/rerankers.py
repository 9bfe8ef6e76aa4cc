"""Re-rankers by name: each takes the candidates of a query and puts them in another order. They chain.

    rank-mix[:SHARE][@SCORER]   percentiles of relevance and beauty within the candidates, SHARE of beauty (0.5)
    mmr[:SHARE]                 diversity: what is like a better result moves down, SHARE of diversity (0.3)
    lmm:MODEL[@URL][#N]         a model that sees pictures compares the first N (6) in pairs, in both orders
    lmm@CRITIC[#N]              so does a critic: one in the box, FOLDER, hf:MODEL or llm:MODEL[@URL]

What a re-ranker could not do is a note on the candidates; their order is then what it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.errors import BeholderError
from retrieval.language.asking import AskSettings

from .candidates import Candidates, Reranker
from .rerank import mmr, order_by, rank_mix

SPECS = "rank-mix[:SHARE][@SCORER]", "mmr[:SHARE]", "lmm:MODEL[@URL][#N]", "lmm@CRITIC[#N]"


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


def load_reranker(spec: str, settings: AskSettings | None = None) -> Reranker:
    """The re-ranker of a spec. Raises BeholderError for one that is none or a share outside [0, 1]."""
    if spec.startswith(("lmm:", "lmm@")):
        from .rerank_lmm import load_lmm

        return load_lmm(spec, settings or AskSettings(timeout_s=30.0))
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
