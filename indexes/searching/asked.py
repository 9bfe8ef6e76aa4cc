"""What a segment is asked: queries and beauty weights, in the two forms that a search needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.records.beauty import augmented_queries


class Asked:
    """The queries of one search (Q, D) and its beauty weights (S,), None for none: as exact scores are made of them
    (`exact`, with the weights as S more dimensions) and as FAISS takes them (`faiss`)."""

    def __init__(self, exact: NDArray[np.float32], faiss: NDArray[np.float32], weights: NDArray[np.float32] | None):
        self.exact, self.faiss, self.weights = exact, faiss, weights

    @classmethod
    def of(cls, queries: NDArray[np.float32], weights: NDArray[np.float32] | None, scorers: int) -> "Asked":
        if not scorers:
            return cls(queries, queries, None)
        if weights is None:
            return cls(queries, augmented_queries(queries, np.zeros(scorers, np.float32)), None)
        wide = np.hstack([queries, np.broadcast_to(weights, (len(queries), scorers))])
        return cls(np.ascontiguousarray(wide, np.float32), augmented_queries(queries, weights), weights)

    def __len__(self) -> int:
        return len(self.exact)

    def at(self, rows: NDArray[Any]) -> "Asked":
        return Asked(self.exact[rows], self.faiss[rows], self.weights)
