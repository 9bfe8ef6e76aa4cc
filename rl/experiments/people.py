"""People: alignment to mean scores of web pages, measured on pages and people that it has not seen.

Lists are drawn from 300 screenshots and their mean scores (Reinecke and Gajos, CHI 2014). Measured is the plain cosine
of a deployed checkpoint: over all pairs of the 98 held-out pages, and over single choices between pages of another set.
A fifth of the training pages at a time is left out to choose how far to go from the base (alpha); the reported
checkpoints then learn from all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align
from rl.alignment.config import AlignConfig

from .config import TowersTrained
from .people_baselines import best_shift
from .people_data import SCORED, TRAINED, UNSEEN, VOTED, Pages, write_lists
from .people_numbers import SHUFFLED, slug, tested
from .places import Places, data_folder
from .steps import Say, Steps, content_of, option

ALPHAS = (0.25, 0.5, 0.75, 1.0)
PICTURES = (
    "picture_steps",
    "picture_lr",
    "picture_hold",
    "frozen_blocks",
)  # a text tower alone does not see them
NO_BUDGET = 100.0  # points: the budget is held over all folds, and again in the runs that are reported


@dataclass(frozen=True)
class PeopleConfig(TowersTrained):
    """Options of `align experiment people`."""

    towers: tuple[str, ...] = option(("text", "both"), "Which towers are tuned: text, image, both.")
    seeds: tuple[int, ...] = option((0, 1, 2, 3, 4), "A run for each.")
    folds: int = option(5, "Parts of the training pages, each left out once to choose by.")
    loss: str = option("list-mle", "Of rl/losses.py.")
    beta: float = option(0.1, "Strength of losses that have a reference.")
    length: int = option(32, "Pages in a list.")
    picture_lr: float = option(2e-4, "Of the image tower's upper blocks.")
    picture_hold: float = option(3.0, "Weight of the pre-training term there.")
    name: str = option("experiment-people", "Of the run.")

    def __post_init__(self) -> None:
        if not self.seeds or self.folds < 2 or not set(self.towers) <= {"text", "image", "both"}:
            raise BeholderError(
                f"{len(self.seeds)} seeds, {self.folds} folds, towers {', '.join(self.towers)}",
                "a seed, two folds, and text, image or both",
            )


def settings(config: PeopleConfig, towers: str) -> AlignConfig:
    """Of the runs of one kind, but for tables, seed and alphas."""
    shared = AlignConfig(
        base=config.model,
        towers=towers,
        text_lr=0.0,
        head_lr=config.head_lr,
        loss=config.loss,
        beta=config.beta,
        steps=config.steps,
        evaluate_every=config.steps,
        contrastive_batch=config.captions,
        queries=16,
        patience=99,
        dev_share=0.0,
        partial=True,
    )
    if towers == "text":
        return shared
    return replace(
        shared,
        frozen_blocks=config.frozen_blocks,
        image_lr=config.picture_lr,
        steps=config.picture_steps,
        evaluate_every=max(1, config.picture_steps // 4),
        queries=8,
        contrastive_weight=config.picture_hold,
        contrastive_batch=config.captions // 4,
    )


def measure(config: PeopleConfig, say: Say = lambda line: None) -> Run:
    """Aligns to people's scores of web pages, and measures agreement with people on other pages.

    Example: beholder align experiment people work/people --data ../shared/data
    """
    data = data_folder(config.data)
    base = load_encoder(config.model)
    places = Places(data, config.embeddings or config.run / "emb", base, say)
    pages = Pages.read(data, "train")
    runs = config.folds + len(config.seeds)
    steps = Steps(config.run, say, 2 + runs * len(config.towers) + len(config.seeds) * ("text" in config.towers))
    own = content_of(config, without=("run", "data", "embeddings", "towers", "seeds", "dev_only", "name"))
    own |= {"base": [base.record.image_fingerprint, base.record.text_fingerprint]}
    dev: dict[str, dict[str, float]] = {}
    for towers in config.towers:
        mine = {name: one for name, one in own.items() if towers != "text" or name not in PICTURES}
        folds = [
            steps.do(f"{towers}-fold-{out}", mine, partial(_aligned, config, places, pages, towers, seed=out, out=out))
            for out in range(config.folds)
        ]
        dev[towers] = chosen_alpha(folds, config.max_retention_loss)
        alpha = dev[towers]["alpha"]
        if config.dev_only:
            continue
        kinds = {towers: "teacher", **({SHUFFLED: "shuffled"} if towers == "text" else {})}
        for side, labels in kinds.items():
            for seed in config.seeds:
                steps.do(
                    f"{slug(side)}-seed-{seed}",
                    {**mine, "alpha": alpha},
                    partial(_aligned, config, places, pages, towers, seed=seed, labels=labels, alpha=alpha),
                )
    shift = steps.do("shift", own, partial(best_shift, places, pages, config.folds, config.max_retention_loss))
    choices = {**own, "dev": dev, "lam": shift["lam"], "seeds": list(config.seeds)}
    if config.dev_only:
        found = {"numbers": _dev_numbers(dev, shift), "per_seed": {}}
    else:
        reading = partial(tested, config.run, places, pages, config.towers, config.seeds, shift["lam"], _frozen(config))
        found = steps.once("test", choices, reading)
    return Run(
        name=config.name,
        command=command_of("align experiment people", config),
        machine=describe_machine(),
        seed=0,
        data={
            "table_sha256": sha256_file(data / SCORED / "items.tsv"),
            "votes_sha256": sha256_file(data / VOTED / "pairs.tsv"),
            "encoder": Path(base.record.name).name,
            "image_fingerprint": base.record.image_fingerprint,
            "text_fingerprint": base.record.text_fingerprint,
            "seeds": list(config.seeds),
        },
        numbers={name: Number(**one) for name, one in found["numbers"].items()},
        notes=(_protocol(config, found, dev, shift["lam"]),),
    )


def chosen_alpha(folds: Sequence[Mapping[str, Any]], most: float) -> dict[str, float]:
    """The weight against the base with the best mean pair accuracy over folds, among those whose mean loss of
    hit_rate@10 is at most `most` points; its figures, and the base's. Raises ConditionFailed where none is."""
    base = np.mean([one["base"]["pair_accuracy"] for one in folds])
    found = []
    for alpha in ALPHAS:
        rows = [next(row for row in one["sweep"] if row["alpha"] == alpha) for one in folds]
        lost = np.mean([one["base"]["hit_rate@10"] - row["hit_rate@10"] for one, row in zip(folds, rows, strict=True)])
        accuracy = np.mean([row["pair_accuracy"] for row in rows])
        found.append({"alpha": alpha, "pair_accuracy": float(accuracy), "lost": float(lost), "base": float(base)})
    inside = [one for one in found if one["lost"] <= most + 1e-9]
    if not inside:
        raise ConditionFailed(
            f"every alpha loses more than {most:g} points of hit_rate@10", "one inside the budget", "Lower --head-lr."
        )
    return max(inside, key=lambda one: one["pair_accuracy"])


def _aligned(
    config: PeopleConfig,
    places: Places,
    pages: Pages,
    towers: str,
    *,
    seed: int,
    out: int | None = None,
    labels: str = "teacher",
    alpha: float | None = None,
) -> dict[str, Any]:
    """A run of alignment: without fold `out`, with every alpha measured on it; or on all pages, up to `alpha`."""
    side = SHUFFLED if labels == "shuffled" else towers
    folder = config.run / "runs" / (f"{towers}-fold-{out}" if out is not None else f"{slug(side)}-seed-{seed}")
    train, dev = write_lists(folder, places, pages, config.folds, out, config.length, seed)
    chosen = replace(
        settings(config, towers),
        preferences=train,
        dev_preferences=dev,
        pictures=tuple(str(places.embeddings(name)) for name in (SCORED, "flickr8k")),
        labels=labels,
        seed=seed,
        alphas=ALPHAS if alpha is None else tuple(one for one in ALPHAS if one <= alpha),
        max_retention_loss=NO_BUDGET if alpha is None else config.max_retention_loss,
    )
    try:
        align(chosen, folder, places.data, cache=places.cache, say=places.say)
    except ConditionFailed as error:
        places.say(f"seed {seed}: {error}")
    return {**json.loads((folder / "report.json").read_bytes()), "folder": folder.name}


def _dev_numbers(dev: Mapping[str, Mapping[str, float]], shift: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What choices are made by, of pages left out of training."""
    numbers: dict[str, dict[str, Any]] = {}
    numbers |= {f"dev pair accuracy: {towers}": {"value": one["pair_accuracy"] / 100} for towers, one in dev.items()}
    numbers |= {
        f"dev hit_rate@10 lost: {towers}": {"value": one["lost"], "unit": "points"} for towers, one in dev.items()
    }
    for one in shift["tried"]:
        numbers[f"dev pair accuracy: shift, lam {one['lam']:g}"] = {"value": one["pair_accuracy"] / 100}
        numbers[f"dev hit_rate@10 lost: shift, lam {one['lam']:g}"] = {"value": one["lost"], "unit": "points"}
    return numbers


def _frozen(config: PeopleConfig) -> int:
    """Blocks of the image tower that no run moves."""
    return config.frozen_blocks if {"image", "both"} & set(config.towers) else 0


def _protocol(config: PeopleConfig, found: dict[str, Any], dev: dict[str, dict[str, float]], lam: float) -> str:
    told = "; ".join(
        f"{towers}: alpha {one['alpha']:g}, pair accuracy {one['pair_accuracy']:.1f} % over {config.folds} folds of "
        f"the training pages (base {one['base']:.1f}), {one['lost']:.2f} points of hit_rate@10 lost on dev"
        for towers, one in dev.items()
    )
    seeds = "; ".join(
        f"{side} {', '.join(f'{100 * value:.1f}' for value in values)}" for side, values in found["per_seed"].items()
    )
    return (
        f"Cosine of {len(TRAINED)} phrasings that were trained on and {len(UNSEEN)} that were not with 98 pages (all "
        f"pairs of different mean score) and with 100 pages of another set (5,094 single choices); tuned sides are "
        f"means over {len(config.seeds)} seeds, intervals over pages. Chosen on dev: {told}; shift lam {lam:g}. "
        f"Pairs of the 98 by seed, all phrasings: {seeds}."
    )
