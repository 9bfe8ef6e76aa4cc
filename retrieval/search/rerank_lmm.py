"""Re-ranking by a model that looks: the first N candidates compared in pairs, both orders, merged into a ranking.

All pairs of N pictures are N (N - 1) calls; N = 6 makes 30. Verdicts are merged by Copeland's rule, so that a model
that contradicts itself (a better than b, b than c, c than a) still gives an order; ties keep the candidates' own.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.language.asking import AskSettings, open_chat
from retrieval.language.judge import Comparison, Judge, Verdict

from .candidates import Candidates
from .rerank import order_by, pairwise_scores

LMM = "lmm:MODEL[@URL][#N]", "lmm@CRITIC[#N]"
COUNT, MOST = 6, 20
ASPECT = "better"


class Compares(Protocol):
    """Gives verdicts on ASPECT: `language.judge.Judge`, `critic.verdicts.CriticJudge`."""

    def compare(self, comparisons: Sequence[Comparison]) -> list[Verdict]: ...


class LmmReranker:
    """Puts the first `count` candidates in the order that a model's verdicts give."""

    def __init__(self, name: str, judge: Compares, count: int = COUNT) -> None:
        self.name, self._judge, self._count = name, judge, count

    def rerank(self, candidates: Candidates, k: int) -> Candidates:
        """A picture that cannot be read and a pair without a verdict count for nothing; a note says how many."""
        if candidates.picture is None:
            raise BeholderError("lmm without pictures", "candidates whose pictures can be read", "Give `picture`.")
        count = min(self._count, len(candidates.ids))
        pictures: list[NDArray[np.uint8] | None] = []
        unread = 0
        for identity in candidates.ids[:count]:
            try:
                pictures.append(candidates.picture(int(identity)))
            except (BeholderError, OSError, ValueError):  # counted and said in the note
                pictures.append(None)
                unread += 1
        pairs = [
            (one, other, Comparison(candidates.query, [first], [second]))
            for one, other in combinations(range(count), 2)
            if (first := pictures[one]) is not None and (second := pictures[other]) is not None
        ]
        verdicts = self._judge.compare([comparison for _, _, comparison in pairs])
        read = [
            (one, other, (choice + 1) / 2)
            for (one, other, _), verdict in zip(pairs, verdicts, strict=True)
            if (choice := verdict.choices[ASPECT]) is not None
        ]
        scores = pairwise_scores(count, read)
        order = np.concatenate([order_by(scores), np.arange(count, len(candidates.ids))])
        # Behind the compared ones follow the others, below all of them and in their own order.
        places = np.concatenate([scores + 1, np.linspace(0.5, 0, max(0, len(candidates.ids) - count))])
        return candidates.ordered(order, places[order]).noted(self._note(len(pairs), len(read), unread, verdicts))

    def _note(self, pairs: int, read: int, unread: int, verdicts: Sequence[Verdict]) -> str:
        """What was compared, by what it was read, and why there is not more: reasons with their counts."""
        similar = sum(verdict.choices[ASPECT] == 0 for verdict in verdicts)
        means = Counter(means for verdict in verdicts for means in verdict.means)
        told = f" ({', '.join(f'{count} by {name}' for name, count in means.items())})" if means else ""
        note = f"{self.name}: {read} of {pairs} pairs have a verdict{told}, {similar} of them similar"
        if unread:
            note += f"; {unread} pictures could not be read"
        problems = Counter(problem.partition(":")[0] for verdict in verdicts for problem in verdict.problems)
        note += "".join(f"; {count} answers: {kind}" for kind, count in problems.most_common())
        first = next((problem for verdict in verdicts for problem in verdict.problems), "")
        return f"{note} (such as {first})" if ":" in first else note


def load_lmm(spec: str, settings: AskSettings) -> LmmReranker:
    """The re-ranker of `lmm:MODEL[@URL][#N]`, a server that answers in JSON, or `lmm@CRITIC[#N]`, any critic. Raises
    BeholderError."""
    kind = spec[len("lmm") : len("lmm") + 1]
    named, count = _counted(spec[len("lmm") + 1 :])
    if kind == "@" and named:
        from retrieval.critic.critic import load_critic
        from retrieval.critic.questions import RANKED
        from retrieval.critic.verdicts import CriticJudge

        critic = load_critic(named, settings)
        return LmmReranker(f"lmm@{critic.name}", CriticJudge(critic, {ASPECT: RANKED}), count)
    if kind != ":" or not named or named.startswith("hf:"):
        raise BeholderError(f"there is no re-ranker {spec!r}", " or ".join(LMM), "Example: --rerank lmm@hf:FOLDER")
    client = open_chat(named, settings)
    judge = Judge(client, "ranker", (ASPECT,), "rerank-pair-1")
    return LmmReranker(f"lmm:{client.config.model}", judge, count)


def _counted(given: str) -> tuple[str, int]:
    """What is behind the kind, and how many pictures are compared."""
    named, hash_mark, number = given.rpartition("#")
    if not hash_mark:
        return given, COUNT
    if not (number.isascii() and number.isdecimal() and 2 <= int(number) <= MOST):
        raise BeholderError(f"lmm compares {number!r} pictures", f"2 to {MOST}", "Example: --rerank lmm:MODEL#6")
    return named, int(number)
