"""What the experiment `knowledge` reports: every side on unseen paintings, and the shift that needs no training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.knowledge.run import DEPTH, knowledge_numbers, mean_of, name_alone, of_vectors, relevance_of, scores_of
from benchmarks.knowledge.texts import spellings
from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from rl.alignment.shift import direction_of_pairs, explained_share, left_over, shifted
from rl.dev import hit_rates
from rl.preferences import read_preferences

from .kept import Floats, Kept, kept_numbers
from .kept import mean_of as mean_kept
from .knowledge_data import Descriptions, DevFigures, Paintings, paintings
from .places import Places

LAMS = (0.05, 0.1, 0.2, 0.4, 0.8)
TIMED = 64  # queries
SIDES = {"aligned": "aligned", "own": "aligned without the glossaries", "shuffled": "aligned to shuffled lists"}


def best_shift(places: Places, texts: Descriptions, trained: int, most: float, run: Path) -> dict[str, Any]:
    """The direction fitted to the lists of the dev runs, and lam with the best mean precision@8 on dev of those that
    lose at most `most` points of hit_rate@10; 0 where none is inside."""
    last = trained - 2
    figures = DevFigures(places, texts, last, range(last + 1, trained + 1))
    direction = _direction(run / "lists" / f"dev-own-{last}-0.parquet", paintings(places, "train", dev=False))
    said, seen, owners = Kept(places, "dev").captions()
    asked = places.encoder.encode_texts([one.query for one in figures.asked])
    base = hit_rates(seen, said, owners)["hit_rate@10"]
    tried = []
    for lam in (0.0, *LAMS):
        found = of_vectors(shifted(asked, direction, lam), figures.shown.vectors, figures.relevance)[
            f"precision@{DEPTH}"
        ]
        kept = hit_rates(seen, shifted(said, direction, lam).astype(np.float32), owners)["hit_rate@10"]
        tried.append(
            {
                "lam": lam,
                "precision@8 trained": 100 * float(found[figures.seen].mean()),
                "precision@8 unseen": 100 * float(found[~figures.seen].mean()),
                "lost": base - kept,
            }
        )
    inside = [one for one in tried if one["lost"] <= most]
    best = max(inside, key=lambda one: one["precision@8 trained"] + one["precision@8 unseen"])
    return {**best, "tried": tried}


def _direction(lists: Path, shown: Paintings) -> NDArray[np.float64]:
    rows = {sha256: row for row, sha256 in enumerate(shown.sha256s)}
    first = (one for one in read_preferences(lists).lists if one.provenance["draw"] == 0)
    return direction_of_pairs((shown.vectors[[rows[name] for name in one.pictures]], one.prefer()) for one in first)


def tested(
    run: Path, places: Places, texts: Descriptions, trained: int, seeds: Mapping[str, Sequence[int]], lam: float
) -> dict[str, Any]:
    """Every side on the paintings of val, and what each aligned one has kept."""
    shown, base, asked = paintings(places, "val"), places.encoder, list(texts.asked)
    relevance = relevance_of(asked, shown.labels)
    typed, spelled = [one.query for one in asked], spellings(asked)
    before = base.encode_texts(typed)
    rewritten = [one.rewrite for one in asked]
    lists = run / "lists" / f"own-{trained}-{seeds['aligned'][0]}.parquet"
    moved = shifted(before, _direction(lists, paintings(places, "train")), lam)
    sides = {
        "base": of_vectors(before, shown.vectors, relevance),
        "base, rewritten": scores_of(base, rewritten, shown.vectors, relevance),
        "the style's name alone": scores_of(
            base, [name_alone(spelled[one.style]) for one in asked], shown.vectors, relevance
        ),
        "constant shift": of_vectors(moved, shown.vectors, relevance),
    }
    kept = Kept(places, "val")
    changes: dict[str, dict[str, Floats]] = {}
    seen = np.array([one.phrasing <= trained for one in asked])
    spread: dict[str, Number] = {}
    for kind, side in SIDES.items():
        found, held, shares = [], [], []
        for seed in seeds[kind]:
            encoder = load_encoder(str(run / "runs" / f"{kind}-seed-{seed}" / "model"))
            after = encoder.encode_texts(typed)
            found.append(of_vectors(after, shown.vectors, relevance))
            held.append(kept.values(encoder))
            shares.append(explained_share(*left_over(before, after)))
        sides[side], changes[side] = mean_of(found), mean_kept(held)
        for group, mine in (("trained phrasings", seen), ("unseen phrasings", ~seen)):
            by_seed = [float(one[f"precision@{DEPTH}"][mine].mean()) for one in found]
            spread[f"precision@{DEPTH}, {group}: {side}, by seed"] = Number.of_repeats(by_seed, "share")
        spread[f"of {side}, one shared vector explains"] = Number.of_repeats(shares, "share")
    numbers = knowledge_numbers(sides, relevance, seen, 0)
    right = np.array([one.named_right for one in asked], np.float64)
    numbers["rewrites that name the right style"] = Number.of(bootstrap_mean(right, seed=0))
    numbers |= spread | kept_numbers(kept.values(base), changes, 0)
    numbers["text tower, query as typed"] = _milliseconds(base, typed)
    numbers["text tower, rewritten (the language model's call not counted)"] = _milliseconds(base, rewritten)
    return {name: asdict(one) for name, one in numbers.items()}


def _milliseconds(encoder: Encoder, texts: Sequence[str]) -> Number:
    """Of one text at a time."""
    times = []
    for text in [texts[0], *texts[:TIMED]]:  # the first one warms up
        began = time.perf_counter()
        encoder.encode_texts([text])
        times.append(1000 * (time.perf_counter() - began))
    return Number.of_repeats(times[1:], "ms")
