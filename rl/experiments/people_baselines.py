"""What needs no alignment, beside the experiment `people`: one vector added to every query, ridge heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.correlation import pair_accuracy
from benchmarks.taste.aesthetics import picture_scores
from rl.alignment.shift import direction_of_pairs, shifted
from rl.dev import hit_rates
from rl.grids import level_prefer
from rl.scorer import ScorerTraining, train_scorer

from .kept import Kept
from .people_data import DEV, SCORED, VOTED, Pages, fold_of, voted_pages
from .places import Places

LAMS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0)


def best_shift(places: Places, pages: Pages, folds: int, most: float) -> dict[str, Any]:
    """lam of the shift with the best mean pair accuracy on pages left out of the fit, of those that lose at most
    `most` points of hit_rate@10 on dev captions; it is added to every query, captions too. With all that was tried."""
    vectors = places.vectors(SCORED, pages.files).astype(np.float64)
    fold = fold_of(places.sha256s(SCORED, pages.files), folds)
    queries = places.encoder.encode_texts(list(DEV))
    directions = [
        direction_of_pairs([(vectors[fold != out], level_prefer(pages.scores[fold != out]))]) for out in range(folds)
    ]
    kept = Kept(places, "dev")
    texts, pictures, owners = kept.captions()
    base = hit_rates(pictures, texts, owners)["hit_rate@10"]
    tried = []
    for lam in LAMS:
        right = [
            pair_accuracy(vectors[fold == out] @ query, pages.scores[fold == out])
            for out, w in enumerate(directions)
            for query in shifted(queries, w, lam)
        ]
        lost = [
            base - hit_rates(pictures, shifted(texts, w, lam).astype(np.float32), owners)["hit_rate@10"]
            for w in directions
        ]
        tried.append({"lam": lam, "pair_accuracy": 100 * float(np.mean(right)), "lost": float(np.mean(lost))})
    inside = [one for one in tried if one["lost"] <= most]
    best = max(inside, key=lambda one: one["pair_accuracy"], default=None)
    return {"lam": best["lam"] if best else 0.0, "tried": tried}


def shift_of_pages(places: Places, pages: Pages) -> NDArray[np.float64]:
    """The unit direction (D,) fitted on all training pages."""
    return direction_of_pairs([(places.vectors(SCORED, pages.files), level_prefer(pages.scores))])


def ridge_scores(run: Path, places: Places, test: Pages, model: str) -> dict[str, dict[str, list[float]]]:
    """Scores of the test pages and of those voted on, by ridge heads on the image tower's features and on vectors."""
    from retrieval.scoring.scorers import load_scorer

    found: dict[str, dict[str, list[float]]] = {}
    for features in ("tower", "vectors"):
        folder = run / "ridge" / features
        table = places.data / SCORED / "items.tsv"
        train_scorer(ScorerTraining(table, folder, "mean_score", features=features, model=model))
        scorer = load_scorer(str(folder))
        files = {SCORED: test.files, VOTED: voted_pages(places.data)[0]}
        found[features] = {
            name: picture_scores(scorer, places.pictures(name), mine).tolist() for name, mine in files.items()
        }
    return found
