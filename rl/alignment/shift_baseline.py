"""The constant shift beside a run: fitted to the run's lists, measured on its dev data, chosen inside its budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import AlignConfig
from .shift import direction_of_pairs, explained_share, left_over, shifted

LAMS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # of unit vectors: at 1 half of a query is the shift
RIDGES = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Shifted:
    """One shift and its dev figures."""

    ridge: float
    lam: float
    figures: dict[str, float]


@dataclass(frozen=True)
class ShiftReport:
    """The base's figures, all shifts tried, the best inside the budget (None: none is), and, of a tuned encoder, the
    share of the way from the base's vectors of all queries to its own that one shared vector goes."""

    base: dict[str, float]
    tried: tuple[Shifted, ...]
    chosen: Shifted | None
    explained: float | None
    queries: int


def measure_shift(
    config: AlignConfig,
    data: Path | None,
    cache: Path,
    say: Callable[[str], None],
    *,
    lams: Sequence[float] = LAMS,
    ridges: Sequence[float] = RIDGES,
    select: str = "pair_accuracy",
    aligned: str = "",
) -> ShiftReport:
    """The direction comes from the training lists, lam and ridge from the dev data; every text of these is shifted, the
    captions too, as a service would. `aligned` is a checkpoint whose text tower was tuned."""
    from retrieval.encoding.encoders import load_encoder

    from .align import prepare
    from .retention import Budget, better

    bare = replace(config, towers="text", contrastive_weight=0.0, anchor_weight=0.0, logit_anchor_weight=0.0)
    ready = prepare(bare, data, cache, say)
    measured, model = ready.measured, ready.model
    said, seen = measured.text_vectors(model, measured.numbers), measured.picture_vectors(model, measured.rows)
    base = measured.figures(said, seen)
    budget = Budget(base, config.max_retention_loss)
    rows = np.unique(np.concatenate([one.pictures for one in ready.data.train]))
    vectors = measured.picture_vectors(model, rows)
    lists = [(vectors[np.searchsorted(rows, one.pictures)], one.prefer) for one in ready.data.train]
    tried, chosen = [], None
    for ridge in ridges:
        direction = direction_of_pairs(lists, ridge)
        for lam in lams:
            texts = shifted(said, direction, lam).astype(np.float32)
            one = Shifted(ridge, lam, measured.figures(texts, seen))
            tried.append(one)
            if budget.inside(one.figures) and better(one.figures, chosen.figures if chosen else None, select):
                chosen = one
    queries = sorted({ready.data.texts[one.query] for one in (*ready.data.train, *ready.data.dev)})
    explained = None
    if aligned:
        before: NDArray[np.float32] = ready.encoder.encode_texts(queries)
        after = load_encoder(aligned, config.device).encode_texts(queries)
        explained = explained_share(*left_over(before, after))
    return ShiftReport(base, tuple(tried), chosen, explained, len(queries))
