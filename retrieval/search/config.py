"""How a search is done: one frozen configuration, the same thing in CLI, Python and the service's JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from indexes.errors import BeholderError

CANDIDATES = 100  # for re-rankers, where the caller names no number
MOST_K = 100_000  # results of one query: past it the items alone are hundreds of megabytes


@dataclass(frozen=True)
class SearchConfig:
    """Everything about a search but its queries. Raises BeholderError that names every problem at once."""

    k: int = 10  # results per query
    where: str | None = (
        None  # only pictures for which this condition over the items holds, as indexes.searching.where has it
    )
    near: float | None = None  # of pictures with at least this cosine to each other only the best placed; None: all
    beauty: tuple[tuple[str, float], ...] = ()  # (scorer, b) of the sum s + b * spread * z; "": the index's default
    rewrite: str = "none"  # as rewrite.load_rewriter reads it
    rerank: tuple[str, ...] = ()  # in this order, over the candidates
    candidates: int = 0  # that re-rankers and `sort` see; 0: max(k, 100) for re-rankers, k for `sort`
    sort: str | None = None  # column of the items that orders the results, lowest first; "column:desc": highest first
    min_relevance: float | Literal["auto"] | None = None  # least cosine; auto: by the index's calibration

    def __post_init__(self) -> None:
        wrong = []
        if not _whole(self.k) or not 1 <= self.k <= MOST_K:
            wrong.append(f"k is {self.k} (1 to {MOST_K:,})")
        if self.near is not None and not (_number(self.near) and 0 < self.near <= 1):
            wrong.append(f"near is {self.near} (a cosine above 0, at most 1)")
        wrong += [
            f"beauty {name or 'weight'} is {weight} (a finite number)"
            for name, weight in self.beauty
            if not _number(weight)
        ]
        names = [name for name, _ in self.beauty]
        wrong += [f"beauty {name} is given twice" for name in sorted(set(names)) if names.count(name) > 1]
        if not _whole(self.candidates) or self.candidates < 0:
            wrong.append(f"candidates is {self.candidates} (0 or more)")
        elif 0 < self.candidates < self.k:
            wrong.append(f"candidates is {self.candidates} (at least k, {self.k})")
        if self.candidates and not self.rerank and self.sort is None:
            wrong.append("candidates without rerank or sort, which would see them")
        least: Any = self.min_relevance
        if least not in (None, "auto") and not (_number(least) and -1 <= least <= 1):
            wrong.append(f"min_relevance is {least!r} (a cosine, -1 to 1, or auto)")
        if self.sort is not None and not self.sort.removesuffix(":desc"):
            wrong.append("sort names no column")
        if wrong:
            raise BeholderError(f"search settings: {'; '.join(wrong)}")

    @property
    def rewrites(self) -> bool:
        """Whether queries are rewritten at all."""
        return self.rewrite not in ("", "none")

    @property
    def depth(self) -> int:
        """How many results the index is asked for per query."""
        if self.rerank:
            return self.candidates or max(self.k, CANDIDATES)
        return self.candidates or self.k

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: tuples as lists, `beauty` as {scorer: weight}."""
        return {**asdict(self), "beauty": dict(self.beauty), "rerank": list(self.rerank)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "SearchConfig":
        """From JSON; what is missing is the default. `beauty` may be a weight, {scorer: weight} or [[scorer, weight]].
        Raises BeholderError for unknown names and for values of another type."""
        unknown = sorted(set(content) - {field.name for field in fields(cls)})
        if unknown:
            expected = ", ".join(field.name for field in fields(cls))
            raise BeholderError(f"search settings: {', '.join(unknown)} is not known", f"of {expected}")
        given = {name: value for name, value in content.items() if value is not None or name != "beauty"}
        try:
            if "beauty" in given:
                given["beauty"] = _beauty(given["beauty"])
            if "rerank" in given:
                chain = given["rerank"]
                given["rerank"] = tuple(str(name) for name in ([chain] if isinstance(chain, str) else chain or ()))
            texts = [name for name in ("where", "rewrite", "sort") if not isinstance(given.get(name, ""), str | None)]
            if texts:
                raise TypeError(f"{texts[0]} is not text")
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise BeholderError(f"search settings cannot be read ({error})", "the types of SearchConfig") from error


def parse_beauty(given: str) -> tuple[str, float]:
    """(scorer, b) of --beauty [SCORER:]b, "" for the index's default. Raises BeholderError where b is no number."""
    name, _, weight = given.rpartition(":")
    try:
        return name, float(weight)
    except ValueError as error:
        remedy = "Example: --beauty 1 or --beauty colourfulness:-0.5"
        raise BeholderError(f"--beauty {given}", "a weight, or SCORER:WEIGHT", remedy) from error


def parse_min_relevance(given: str | None) -> float | Literal["auto"] | None:
    """The value of --min-relevance auto|X. Raises BeholderError for anything else."""
    if given is None or given == "auto":
        return "auto" if given else None
    try:
        return float(given)
    except ValueError as error:
        raise BeholderError(f"--min-relevance {given}", "auto, or a cosine such as 0.2") from error


def _beauty(given: Any) -> tuple[tuple[str, float], ...]:
    if isinstance(given, Mapping):
        given = given.items()
    elif not isinstance(given, list | tuple):
        given = [("", given)]
    return tuple((str(name), weight) for name, weight in given)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
