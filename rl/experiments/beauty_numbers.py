"""The experiment `beauty` on a split: every way swept, the chosen settings with intervals, what one vector explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.correlation import spearman
from benchmarks.measures.stats import RESAMPLES, bootstrap_mean, paired_difference
from benchmarks.quality.pareto import PERCENTILE
from benchmarks.runs import Number
from indexes.records.beauty import spread_of
from indexes.records.percentiles import normal_scores
from retrieval.encoding.encoders import load_encoder
from retrieval.search.generic_queries import generic_queries
from rl.alignment.interpolate import between
from rl.alignment.shift import explained_share, left_over

from .beauty_sides import BASE, HIT, SHIFT, SUM, Point, mean_point, plain, untrained
from .flickr import NAME, Gallery, caption_vectors, read_gallery
from .parts import Parts, Rows
from .places import Places

Floats = NDArray[np.float64]
ALPHAS = (0.25, 0.5, 0.75, 1.0)
PICTURE_ALPHAS = (0.5, 1.0)  # each needs all pictures once more
PENALTIES = (0.1, 1.0, 10.0, 100.0)
EXPLAINED = "one shared vector explains of the change by"


@dataclass
class Swept:
    """Every setting on a split: its values per query, which way it belongs to; text vectors of tuned encoders."""

    gallery: Gallery
    queries: Rows
    points: dict[str, Point] = field(default_factory=dict)
    ways: dict[str, list[str]] = field(default_factory=dict)
    moved: dict[str, list[Rows]] = field(default_factory=dict)  # by setting, a seed each
    held_out: dict[str, Floats] = field(default_factory=dict)  # by setting: percentile of a scorer that taught nothing

    def add(self, way: str, name: str, point: Point) -> None:
        self.points[name] = point
        self.ways.setdefault(way, []).append(name)


@dataclass(frozen=True)
class Measured:
    """What is swept: the teacher's scorers by weight, a held-out scorer, checkpoints by side, a seed each."""

    weights: Sequence[tuple[str, float]]
    held_out: str
    checkpoints: Mapping[str, Sequence[Path]]
    frozen_blocks: int
    cache: Path


def direction_of_beauty(train: Gallery, dev: Gallery, weights: Sequence[tuple[str, float]]) -> Floats:
    """The unit direction (D,) of a ridge from vectors of train pictures to the teacher's normal scores; the penalty is
    that with the best rank correlation on dev."""
    rows = train.vectors.astype(np.float64)
    centred = rows - rows.mean(axis=0)
    taught = normal_scores(train.shares(weights)).astype(np.float64)
    square, product = centred.T @ centred, centred.T @ (taught - taught.mean())
    fits = [np.linalg.solve(square + penalty * np.eye(len(square)), product) for penalty in PENALTIES]
    best = max(fits, key=lambda w: spearman(np.asarray(dev.vectors @ w, np.float64), dev.shares(weights)))
    return np.asarray(best / np.linalg.norm(best), np.float64)


def swept(places: Places, measured: Measured, split: str) -> Swept:
    """All ways on dev or val."""
    scorers = [*(name for name, _ in measured.weights), measured.held_out]
    gallery, train, dev = (read_gallery(places, one, scorers) for one in (split, "train", "dev"))
    shares, other = gallery.shares(measured.weights), gallery.shares([(measured.held_out, 1.0)])
    found = Swept(gallery, caption_vectors(places.encoder, gallery))
    direction = direction_of_beauty(train, dev, measured.weights)
    generic = places.encoder.encode_texts(list(generic_queries()))
    spread, _ = spread_of(generic, [(np.arange(len(gallery.vectors)), gallery.vectors)], len(gallery.vectors))
    for setting, point in untrained(gallery, found.queries, shares, spread, direction):
        found.add(setting.way, setting.name, point)
    found.held_out[BASE] = plain(gallery, found.queries, gallery.vectors, other)[PERCENTILE]
    parts = Parts(load_encoder(places.encoder.name), measured.frozen_blocks, measured.cache)
    features = parts.texts(gallery.captions)
    for side, folders in measured.checkpoints.items():
        pictured = "text" not in side
        states = parts.pictures([places.pictures(NAME) / name for name in gallery.files]) if pictured else None
        tuned = [load_encoder(str(folder)).model.state_dict() for folder in folders]
        for alpha in PICTURE_ALPHAS if pictured else ALPHAS:
            name, seen = f"{side}, alpha = {alpha:g}", []
            for state in tuned:
                parts.use(between(parts.base, state, alpha))
                said = parts.text_vectors(features)
                pictures = gallery.vectors if states is None else parts.picture_vectors(states)
                seen.append(plain(gallery, said, pictures, shares))
                found.moved.setdefault(name, []).append(said)
                held = plain(gallery, said, pictures, other)[PERCENTILE] / len(tuned)
                found.held_out[name] = found.held_out.get(name, 0.0) + held
            found.add(side, name, mean_point(seen))
    return found


def chosen_numbers(found: Swept, chosen: Mapping[str, str], held_out: str, seed: int = 0) -> dict[str, Number]:
    """Each way's chosen setting: percentile and its gain over the base, change of hit_rate@1 and @10; aligned text less
    what needs no training; how much of its change one vector explains. Paired over captions."""
    base, numbers = found.points[BASE], {}
    for way, name in chosen.items():
        point, told = found.points[name], way if name == way else name
        numbers[f"{PERCENTILE}: {told}"] = Number.of(bootstrap_mean(point[PERCENTILE], seed=seed))
        if way == BASE:
            continue
        for what in (PERCENTILE, HIT, "hit_rate@1"):
            gain = paired_difference(point[what], base[what], seed=seed)
            numbers[f"{what}: change by {told}"] = Number.of(gain)
    tuned = [side for side in ("text", "image", "both") if side in chosen]
    for side in tuned:
        for way in (SHIFT, SUM, *(one for one in chosen if one.startswith("rank-mix"))):
            if way in chosen:
                gap = paired_difference(
                    found.points[chosen[side]][PERCENTILE], found.points[chosen[way]][PERCENTILE], seed=seed
                )
                numbers[f"{PERCENTILE}: {side} less {way}"] = Number.of(gap)
    for name in (BASE, *(chosen[side] for side in tuned)):
        if name in found.held_out:
            value = bootstrap_mean(found.held_out[name], seed=seed)
            numbers[f"percentile of {held_out}, which taught nothing: {name}"] = Number.of(value)
    if "text" in chosen:
        numbers[f"{EXPLAINED} {chosen['text']}"] = _explained(found.queries, found.moved[chosen["text"]], seed)
    return numbers


def _explained(base: Rows, moved: Sequence[Rows], seed: int) -> Number:
    """Mean over seeds, interval over queries; the vector is fitted on the other four fifths of them."""
    pairs = [left_over(base, one) for one in moved]
    left, whole = (np.sum([pair[place] for pair in pairs], axis=0) for place in (0, 1))
    drawn = np.random.default_rng(seed).integers(0, len(left), (RESAMPLES, len(left)))
    low, high = np.quantile(1 - left[drawn].sum(1) / whole[drawn].sum(1), [0.025, 0.975])
    return Number(explained_share(left, whole), low=float(low), high=float(high), n=len(left))


def as_json(numbers: Mapping[str, Number]) -> dict[str, dict[str, Any]]:
    from dataclasses import asdict

    return {name: asdict(one) for name, one in numbers.items()}
