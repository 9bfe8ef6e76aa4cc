"""Vectors like an encoder's, from a seed: clusters of uneven size in few strong directions, and queries that
lie outside them, as texts lie beside pictures.

Any block of rows can be made alone, so a million rows need no more memory than one block. What is modelled,
because indexes tuned on pictures lose recall on it (the modality gap): directions of falling strength,
clusters whose sizes follow a power law, a mean that all rows share, and queries with another mean and with
noise in all directions alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

BLOCK = 65536  # rows drawn together; part of the definition: another size gives other rows
ROWS, TEXTS, PICTURES, CENTRES = range(4)  # streams of random numbers


@dataclass(frozen=True)
class Clusters:
    """A distribution of unit rows of `width`, and one of queries. Lengths are relative to a centre's 1."""

    width: int = 256
    clusters: int = 2000
    decay: float = 0.4  # strength of direction i: (i + 1) ** -decay
    skew: float = 0.6  # size of cluster i: (i + 1) ** -skew
    spread: float = 0.7  # of a row about its centre
    shared: float = 0.6  # of the mean of all rows, and of the other mean of all queries
    stray: float = 1.0  # of a query about its centre, in all directions alike
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width < 2 or self.clusters < 1 or self.seed < 0:
            found = f"width {self.width}, clusters {self.clusters}, seed {self.seed}"
            raise BeholderError(found, "a width from 2, clusters from 1, a seed from 0")

    def blocks(self, count: int) -> Iterator[npt.NDArray[np.float32]]:
        """The first `count` rows, (n, D) float32 at a time. The first rows of more rows are the same."""
        for number, start in enumerate(range(0, count, BLOCK)):
            yield self._rows(ROWS, number)[: count - start]

    def rows(self, count: int) -> npt.NDArray[np.float32]:
        return np.concatenate([np.empty((0, self.width), np.float32), *self.blocks(count)])

    def pictures(self, count: int) -> npt.NDArray[np.float32]:
        """Queries (count, D) from the distribution of the rows, none of them a row; at most BLOCK."""
        return self._rows(PICTURES, 0)[:count]

    def texts(self, count: int) -> npt.NDArray[np.float32]:
        """Queries (count, D) about the same clusters from outside the rows' distribution; at most BLOCK."""
        generator = np.random.default_rng([self.seed, TEXTS])
        centres, _, mean = self._fixed()
        about = centres[generator.integers(0, self.clusters, BLOCK)]  # asked alike, however many rows it has
        noise = generator.standard_normal((BLOCK, self.width), dtype=np.float32) / np.float32(np.sqrt(self.width))
        return _unit(about + self.shared * mean + self.stray * noise)[:count]

    def _rows(self, stream: int, number: int) -> npt.NDArray[np.float32]:
        generator = np.random.default_rng([self.seed, stream, number])
        centres, mean, _ = self._fixed()
        sizes = (np.arange(self.clusters) + 1.0) ** -self.skew
        owners = np.searchsorted(np.cumsum(sizes / sizes.sum()), generator.random(BLOCK))
        noise = generator.standard_normal((BLOCK, self.width), dtype=np.float32) * self._strengths()
        owned = centres[np.minimum(owners, self.clusters - 1)]
        return _unit(owned + self.shared * mean + self.spread * noise)

    def _strengths(self) -> npt.NDArray[np.float32]:
        """(D,) of squares that sum to 1."""
        falling = (np.arange(self.width) + 1.0) ** -self.decay
        return np.asarray(falling / np.linalg.norm(falling), dtype=np.float32)

    def _fixed(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Centres (clusters, D) of length about 1, the mean of the rows (D,) and that of the texts, at right
        angles."""
        generator = np.random.default_rng([self.seed, CENTRES])
        centres = generator.standard_normal((self.clusters, self.width), dtype=np.float32) * self._strengths()
        mean, other = _unit(generator.standard_normal((2, self.width), dtype=np.float32))
        other = other - (other @ mean) * mean
        return centres, mean, other / np.linalg.norm(other)


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
