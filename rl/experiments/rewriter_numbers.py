"""Numbers of the rewriter experiment, from figures by query and from logs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.runs import Number

LEARNED = "grpo", "dpo"  # what is compared with sft, paired
SHOWN = {
    "no rewrite": "no rewrite",
    "fixed suffix": "fixed suffix",
    "recorded": "prompt only (recorded answers of a large model)",
    "sft": "before: SFT alone",
    "grpo": "after: GRPO",
    "dpo": "DPO on ranked answers",
    "exchanged": "after, answers exchanged between queries",
}


@dataclass(frozen=True)
class Side:
    """Of one way to rewrite, values (seeds, queries) by measure: utility, gain, precision@8."""

    values: Mapping[str, list[list[float]]]

    def mean(self, what: str) -> NDArray[np.float64]:
        """(Q,) over seeds, query by query."""
        return np.asarray(np.mean(self.values[what], axis=0), np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {"values": dict(self.values)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Side:
        return cls(content["values"])


def side_numbers(name: str, side: Side, where: str) -> dict[str, Number]:
    """The rank gain and precision of a side with intervals over queries; of the queries as typed, their utility."""
    shown, precision = SHOWN[name], next(what for what in side.values if what.startswith("precision"))
    what = "utility" if name == "no rewrite" else "gain"
    numbers = {f"{where}: rank {what}, {shown}": Number.of(bootstrap_mean(side.mean(what)))}
    if name != "exchanged":
        numbers[f"{where}: {precision}, {shown}"] = Number.of(bootstrap_mean(side.mean(precision)))
    return numbers


def learned_numbers(stage: str, after: Side, before: Side, seeds: Sequence[int], where: str) -> dict[str, Number]:
    """The rank gain after less that before, paired over queries: over all seeds, and of each."""
    numbers = {
        f"{where}: rank gain, {stage} less sft": Number.of(paired_difference(after.mean("gain"), before.mean("gain")))
    }
    for place, seed in enumerate(seeds):
        difference = paired_difference(after.values["gain"][place], before.values["gain"][place])
        numbers[f"{where}: rank gain, {stage} less sft, seed {seed}"] = Number.of(difference)
    return numbers


def training_numbers(trained: Mapping[int, Mapping[str, Any]]) -> dict[str, Number]:
    """What GRPO's logs say, lowest to highest over seeds: the reward on its own samples, divergence, entropy, spread
    within groups, length; and how long it took."""
    logs = [found["grpo"] for found in trained.values() if found["grpo"]]
    numbers: dict[str, Number] = {}
    for shown, name, unit in (
        ("sampled rank gain", "rewards/rank_gain/mean", "share"),
        ("entropy of a token", "entropy", "nats"),
        ("spread of rewards in a group", "reward_std", "share"),
        ("groups without spread", "frac_reward_zero_std", "share"),
        ("tokens of an answer", "completions/mean_length", "tokens"),
    ):
        for when, place in (("first lines", 0), ("last lines", -1)):
            values = [float(log[place][name]) for log in logs if name in log[place]]
            if values:
                numbers[f"grpo, {shown}, {when}"] = Number.of_repeats(values, unit)
    last = [float(log[-1]["kl"]) for log in logs if "kl" in log[-1]]
    if last:
        numbers["grpo, KL from the start, last lines"] = Number.of_repeats(last, "nats")
    goes = "rewards/rank_gain/length_correlation"
    along = [
        float(np.mean([line[goes] for line in log if goes in line])) for log in logs if any(goes in x for x in log)
    ]
    if along:
        numbers["grpo, rank gain and length: correlation"] = Number.of_repeats(along, "r")
    for stage in ("sft", "grpo", "dpo"):
        seconds = [found[f"{stage} seconds"] for found in trained.values() if f"{stage} seconds" in found]
        if seconds:
            numbers[f"{stage}: seconds of a seed"] = Number.of_repeats(seconds, "s")
    return numbers
