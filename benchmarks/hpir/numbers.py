"""The numbers of one aspect of a set, and what must be said beside them: arrays in, named numbers and sentences out.

`chosen`: by system, its choices (K,) on the judged items, as `hpir.choices` gives them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.measures.stats import paired_difference
from benchmarks.runs import Number

from . import metric as hpir
from .judged import Judged

Chosen = Mapping[str, hpir.Floats]
Numbers = dict[str, Number]

SMALL = 150  # queries: the paper's set has as many, and even there an interval is 7 points either way
BESIDE = {"net": "weighted by net votes", "confidence": "weighted by confidence", "one": "unweighted"}


def agreements(judged: Judged, chosen: Chosen, weight: str, seed: int) -> Numbers:
    """The metric of each system with its interval."""
    values = per_unit(judged, chosen, weight)
    return {name: Number.of(hpir.interval(one, judged.sure, seed=seed), hpir.CHANCE) for name, one in values.items()}


def differences(judged: Judged, chosen: Chosen, baseline: str, weight: str, seed: int) -> Numbers:
    """What each other system has on the baseline, in points, on the same draws of queries or pictures."""
    values = per_unit(judged, chosen, weight)
    single = judged.sure < 2
    numbers = {}
    for name, one in values.items():
        if name != baseline:
            gain = paired_difference(one, values[baseline], seed=seed)
            low, high = (None if single or end is None else 100 * end for end in (gain.low, gain.high))
            numbers[f"{name} less {baseline}"] = Number(100 * gain.mean, "points", low, high, gain.n)
    return numbers


def beside(judged: Judged, chosen: Chosen, weight: str, seed: int) -> Numbers:
    """The metric by the other weights, agreement with single votes, and the majority's mean confidence; the first two
    only where they can differ from the metric."""
    sure = hpir.decided(judged.counts)
    counts = judged.counts[sure]
    confidence = hpir.confidence(counts)
    numbers: Numbers = {}
    for rule in hpir.WEIGHTS if (confidence < 1).any() else ():
        if rule != weight:
            found = agreements(judged, chosen, rule, seed)
            numbers |= {f"{name}, {BESIDE[rule]}": number for name, number in found.items()}
    if (confidence < 1).any() or not sure.all():
        totals = judged.counts.sum(axis=1).astype(np.float64)
        for name, one in chosen.items():
            values = hpir.unit_values(hpir.votes_met(one, judged.counts), totals, judged.members)
            number = hpir.interval(values, len(judged.items), seed=seed)
            numbers[f"{name}, single votes"] = Number.of(number, hpir.CHANCE)
    numbers["mean confidence of the majority"] = Number(float(confidence.mean()), n=len(counts))
    return numbers


def notes_of(judged: Judged, aspect: str, group: str, weight: str, halves: Sequence[float]) -> list[str]:
    """What was counted and left out, and how little so few queries or pictures can tell. halves: half the widths of
    the differences' intervals, in points."""
    sure = hpir.decided(judged.counts)
    sizes = np.diff(judged.groups.starts)
    many = str(sizes.max()) if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
    what = "pairs of pictures" if sizes.max() == 1 else f"pairs of groups of {many} pictures"
    said = f"{judged.sure:,} {what} with a majority ({aspect}), {int(judged.counts.sum()):,} votes"
    said += f"; {int((~sure).sum()):,} ties left out"
    same = sum(choice == "same" for item in judged.items for choice in item.votes[aspect])
    said += f"; {same:,} votes for neither not counted" if same else ""
    said += f"; {BESIDE[weight]}" if (hpir.confidence(judged.counts) < 1).any() else ""
    said += "." if sizes.max() == 1 else f"; a group's score is the {group} of its pictures."
    alone = int((judged.counts.sum(axis=1) == 1).sum())
    if 2 * alone > len(judged.items):
        said += f" {alone:,} of them have one judgement only, whose confidence of 100 % says nothing."
    units = len({unit for members in judged.members for unit in members})
    half = f" Here systems differ beyond chance from about {max(halves):.0f} points." if halves else ""
    if judged.by_pictures:
        draws = f"One query: the intervals resample its {units:,} pictures and say how far these speak for others like"
        return [said, f"{draws} them; of other queries they say nothing.{half}"]
    if units < SMALL:
        return [said, f"Only {units:,} queries: differences of a few points are no evidence.{half}"]
    return [said]


def per_unit(judged: Judged, chosen: Chosen, weight: str) -> dict[str, hpir.Floats]:
    """One number per query or picture, whose mean is the metric."""
    sure = hpir.decided(judged.counts)
    counts = judged.counts[sure]
    members = [units for units, one in zip(judged.members, sure, strict=True) if one]
    weights = hpir.weights(counts, weight)
    return {name: hpir.unit_values(hpir.correct(one[sure], counts), weights, members) for name, one in chosen.items()}
