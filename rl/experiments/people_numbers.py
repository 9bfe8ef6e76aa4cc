"""What the experiment `people` reports: agreement with people of every side on pages and votes that none has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runs import Number
from indexes.errors import ConditionFailed
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from rl.alignment.shift import shifted

from .kept import Floats, Kept, kept_numbers, mean_of
from .parts import Parts
from .people_baselines import ridge_scores, shift_of_pages
from .people_choices import agreement, agreement_number, right_of
from .people_data import SCORED, TRAINED, UNSEEN, VOTED, Pages, voted_pages
from .places import Places

SHUFFLED = "text, shuffled scores"
WHAT = {SCORED: "pairs of 98 pages", VOTED: "votes"}
WHOSE = {"tower": "image tower", "vectors": "vectors"}
Scores = NDArray[np.floating[Any]]


def slug(side: str) -> str:
    """A side's name in the names of steps and folders."""
    return "shuffled" if side == SHUFFLED else side


def tested(
    run: Path, places: Places, pages: Pages, towers: Sequence[str], seeds: Sequence[int], lam: float, frozen_blocks: int
) -> dict[str, Any]:
    """Every side on the held-out pages, on the votes and on val of what must be kept: numbers, and means per seed."""
    test = Pages.read(places.data, "test")
    voted, votes = voted_pages(places.data)
    files = {SCORED: test.files, VOTED: voted}
    chosen = {SCORED: test.chosen(), VOTED: votes}
    kept = Kept(places, "val", Parts(load_encoder(places.encoder.name), frozen_blocks, places.cache))
    before = kept.values(places.encoder)
    base = {name: places.vectors(name, mine) for name, mine in files.items()}
    queries = places.encoder.encode_texts([*TRAINED, *UNSEEN])
    moved = shifted(queries, shift_of_pages(places, pages), lam)
    scores: dict[str, dict[str, list[Scores]]] = {
        "base": {name: [queries @ rows.T] for name, rows in base.items()},
        "constant shift": {name: [moved @ rows.T] for name, rows in base.items()},
    }
    changes: dict[str, dict[str, Floats]] = {}
    per_seed: dict[str, list[float]] = {}
    for side in [*towers, *([SHUFFLED] if "text" in towers else [])]:
        found, held = [], []
        for seed in seeds:
            folder = run / "runs" / f"{slug(side)}-seed-{seed}" / "model"
            if not folder.is_dir():
                raise ConditionFailed(f"seed {seed} of {side} has no checkpoint inside the budget", "one for each seed")
            encoder = load_encoder(str(folder))
            mine = encoder.encode_texts([*TRAINED, *UNSEEN])
            found.append({name: mine @ _pictures(kept, name, rows, encoder).T for name, rows in files.items()})
            held.append(kept.values(encoder))
        scores[side] = {name: [one[name] for one in found] for name in files}
        changes[side] = mean_of(held)
        per_seed[side] = [agreement(right_of(one[SCORED]), chosen[SCORED], np.ones(len(test.files))) for one in found]
    numbers = choice_numbers(scores, chosen)
    for features, told in ridge_scores(run, places, test, places.encoder.name).items():
        for name, given in told.items():
            right = right_of(np.array(given))
            numbers[f"{WHAT[name]}: ridge head on the {WHOSE[features]}"] = agreement_number(
                right, chosen[name], seed=0
            )
    numbers |= kept_numbers(before, changes, 0)
    return {"numbers": {name: asdict(one) for name, one in numbers.items()}, "per_seed": per_seed}


def _pictures(kept: Kept, name: str, files: Sequence[str], encoder: Encoder) -> NDArray[np.float32]:
    if encoder.record.image_fingerprint == kept.places.encoder.record.image_fingerprint:
        return kept.places.vectors(name, files)
    return kept.pictures(name, files, encoder)


def choice_numbers(
    scores: Mapping[str, Mapping[str, Sequence[Scores]]], chosen: Mapping[str, Floats]
) -> dict[str, Number]:
    """Agreement of each side, over trained and unseen phrasings, and the tuned sides' gain over the base; scores of a
    side and set are (phrasings, N) a seed, trained phrasings first."""
    numbers: dict[str, Number] = {}
    groups = {"trained phrasings": slice(0, len(TRAINED)), "unseen phrasings": slice(len(TRAINED), None)}
    for name, truth in chosen.items():
        rights = {
            (side, group): right_of(np.concatenate([one[rows] for one in found[name]]))
            for side, found in scores.items()
            for group, rows in groups.items()
        }
        for (side, group), right in rights.items():
            numbers[f"{WHAT[name]}, {group}: {side}"] = agreement_number(right, truth, seed=0)
        for (side, group), right in rights.items():
            if side not in ("base", SHUFFLED):
                gain = agreement_number(right, truth, seed=0, less=rights["base", group])
                numbers[f"{WHAT[name]}, {group}: gain of {side}"] = gain
    return numbers
