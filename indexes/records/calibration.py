"""When an answer is no good match: the relevance that queries without any meaning reach in this corpus, and that of
queries which have an answer, give the least relevance that a query must reach. Pure statistics.

A query's statistic is the mean relevance of its best DEPTH pictures. It is compared with one threshold per encoder and
corpus: what NULL_REFUSED of meaningless queries stay below, but never so much that more than a stated share of the
real queries would be refused. See docs/decisions/0010-relevance-cut-off.md for what was compared.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

DEPTH = 10  # best pictures that are averaged: one chance neighbour does not make a match
NULL_REFUSED = 0.99
# Most real queries that may be refused. Captions have their picture in the corpus; the generic queries that stand in
# for them name things of which any one corpus has only some.
REAL_REFUSED = {"captions": 0.05, "generic": 0.25}
LEAST_QUERIES = 100  # of either sort: fewer say nothing about a share of 5 %
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class Sample:
    """The statistic of one sort of queries: how many, their QUANTILES, and the share below the threshold."""

    kind: str  # "gibberish", "captions", "generic"
    queries: int
    quantiles: tuple[float, ...]
    refused: float


@dataclass(frozen=True)
class Calibration:
    """A query whose statistic is below `threshold` has no good match. pictures: of the corpus it was found on."""

    threshold: float
    depth: int
    pictures: int
    null: Sample
    real: Sample

    def to_dict(self) -> dict[str, Any]:
        content = asdict(self)
        for name in ("null", "real"):
            content[name]["quantiles"] = list(content[name]["quantiles"])
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calibration":
        """Raises BeholderError for content that is no calibration."""
        try:
            samples = {
                name: Sample(**{**content[name], "quantiles": tuple(map(float, content[name]["quantiles"]))})
                for name in ("null", "real")
            }
            found = cls(**{**content, **samples})
            if not (-1 <= found.threshold <= 1 and 1 <= found.depth <= 1000):
                raise ValueError(f"threshold {found.threshold}, depth {found.depth}")
        except (KeyError, TypeError, ValueError) as error:
            found_ = f"a calibration of relevance that cannot be read ({error})"
            raise BeholderError(found_, "the fields of Calibration", "Run `beholder index tune INDEX`.") from error
        return found


def statistic(relevance: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean (Q,) of each row (Q, K) of relevances, K at most DEPTH; -1 where there is none."""
    if not relevance.shape[1]:
        return np.full(len(relevance), -1.0)
    return np.asarray(relevance[:, :DEPTH].mean(axis=1, dtype=np.float64))


def calibrated(
    null: NDArray[np.float64],
    real: NDArray[np.float64],
    kind: str,
    pictures: int,
    *,
    null_refused: float = NULL_REFUSED,
) -> Calibration:
    """The calibration from the statistics of meaningless queries (n,) and of real ones (m,), which are of `kind`, a
    key of REAL_REFUSED. Raises BeholderError for fewer than LEAST_QUERIES of either."""
    for name, sample in (("meaningless", null), (kind, real)):
        if len(sample) < LEAST_QUERIES:
            raise BeholderError(f"{len(sample)} {name} queries to calibrate on", f"at least {LEAST_QUERIES}")
    threshold = min(float(np.quantile(null, null_refused)), float(np.quantile(real, REAL_REFUSED[kind])))
    threshold = round(threshold, 4)
    return Calibration(
        threshold, DEPTH, pictures, _sample("gibberish", null, threshold), _sample(kind, real, threshold)
    )


def _sample(kind: str, values: NDArray[np.float64], threshold: float) -> Sample:
    quantiles = tuple(round(float(value), 4) for value in np.quantile(values, QUANTILES))
    return Sample(kind, len(values), quantiles, round(float((values < threshold).mean()), 4))
