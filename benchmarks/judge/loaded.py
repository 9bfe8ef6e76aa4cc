"""A judge that is ready to be asked, and how it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.language.judge import Comparison, Verdict


class Compares(Protocol):
    """Gives verdicts: `retrieval.language.judge.Judge`, `judge_offline.OfflineJudge`."""

    def compare(self, comparisons: Sequence[Comparison]) -> list[Verdict]: ...


@dataclass(frozen=True)
class LoadedJudge:
    """name: as a document may hold it. decides: all that its answers depend on, but for what is shown. calls: of a
    model, for one comparison; 0 where none is asked. scorers: names of what an offline judge scores with."""

    compares: Compares
    name: str
    decides: Mapping[str, Any]
    calls: int = 2
    scorers: tuple[str, ...] = ()
