"""Ablation: one factor at a time around the settings of the experiment `beauty`, on a small fixed budget, dev only.

Factors are those of the paper (grid, stride, depth, pairs, rewriting, augmentation) and of the loss. Every variant has
the same captions, steps and seed; where the image tower trains, steps and batches are smaller, and such variants stand
beside a reference of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.quality.pareto import PERCENTILE
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.records.percentiles import normal_scores
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align
from rl.alignment.augment import AUGMENTATIONS
from rl.alignment.config import AlignConfig
from rl.preferences import write_preferences

from .beauty_sides import HIT, Point, plain
from .config import Experiment
from .flickr import NAME, caption_vectors, read_gallery
from .grid_lists import Grid, grid_lists
from .parts import Parts
from .places import Places, data_folder
from .steps import Say, Steps, content_of, option

FROZEN = 11  # blocks of the image tower, where it trains without augmentation
SUFFIX = ", in bright, vivid, saturated colours"  # what a rewriter adds that knows the teacher: the same for all


@dataclass(frozen=True)
class Variant:
    """One factor changed: fields of Grid, of AlignConfig, and whether the teacher reads rewritten queries."""

    factor: str
    value: str
    grid: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    rewritten: bool = False

    @property
    def name(self) -> str:
        return f"{self.factor} {self.value}".strip()


def variants(steps: int) -> list[Variant]:
    """All of them, the references among them; `steps` of a run that trains an image tower."""
    pictured = {"steps": steps, "queries": 8, "contrastive_batch": 128, "image_lr": 1e-4, "frozen_blocks": FROZEN}
    whole = {**pictured, "towers": "image", "frozen_blocks": 0, "queries": 4, "contrastive_batch": 32}
    found = [Variant("reference", "")]
    found += [Variant("u =", str(u), {"u": u}) for u in (2, 8)]
    found += [Variant("v =", str(v), {"v": v}) for v in (2, 8)]
    found += [Variant("stride =", str(stride), {"stride": stride}) for stride in (1, 5, 20)]
    found += [Variant("K =", str(depth), {"depth": depth}) for depth in (500, 1000)]
    found += [Variant("pairs", kind, {"variant": kind}) for kind in ("product", "rows")]
    found += [
        Variant("loss", loss, train={"loss": loss})
        for loss in ("hinge", "ipo", "plackett-luce", "list-mle", "lipo-lambda")
    ]
    found += [Variant("beta =", f"{beta:g}", train={"beta": beta}) for beta in (0.1, 0.2, 1.0, 2.0)]
    found += [Variant("label smoothing", f"{share:g}", train={"smoothing": share}) for share in (0.0, 0.3)]
    found += [
        Variant("weight of pre-training", f"{weight:g}", train={"contrastive_weight": weight}) for weight in (0.0, 4.0)
    ]
    found += [Variant("anchor weight", "1", train={"anchor_weight": 1.0})]
    found += [
        Variant("logit anchor weight", f"{weight:g}", train={"logit_anchor_weight": weight}) for weight in (0.01, 0.1)
    ]
    found += [Variant("teacher", "with rewriting", rewritten=True)]
    found += [Variant("labels", labels, train={"labels": labels}) for labels in ("shuffled", "random")]
    found += [Variant("towers", towers, train={**pictured, "towers": towers}) for towers in ("image", "both")]
    small = {**whole, "steps": max(1, steps // 2)}
    found += [Variant("whole image tower, no augmentation", "", {"u": 3, "v": 3}, small)]
    found += [
        Variant("whole image tower,", kind, {"u": 3, "v": 3}, {**small, "augment": (kind,)}) for kind in AUGMENTATIONS
    ]
    return found


@dataclass(frozen=True)
class AblationConfig(Experiment):
    """Options of `align experiment ablation`."""

    teacher: str = option("colourfulness", "A scorer.")
    lists: int = option(1000, "Training captions, a list each.")
    steps: int = option(40, "Of the text tower; its head trains.")
    picture_steps: int = option(16, "Where the image tower trains.")
    head_lr: float = option(1e-3, "Of the heads.")
    seed: int = option(0, "Of all runs.")
    name: str = option("experiment-ablation", "Of the run.")


def measure(config: AblationConfig, say: Say = lambda line: None) -> Run:
    """Changes one setting at a time and prints what each does to beauty and to captions, on dev.

    Example: beholder align experiment ablation work/ablation --data ../shared/data
    """
    places = Places(data_folder(config.data), config.embeddings or config.run / "emb", load_encoder(config.model), say)
    record = places.encoder.record
    own = content_of(config, without=("run", "data", "embeddings", "name"))
    own |= {"base": [record.image_fingerprint, record.text_fingerprint]}
    chosen = variants(config.picture_steps)
    steps = Steps(config.run, say, len(chosen))
    numbers: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(chosen):
        settings = {**own, "grid": dict(one.grid), "train": dict(one.train), "rewritten": one.rewritten}
        numbers |= steps.do(_slug(one), settings, partial(_tried, config, places, one, with_base=number == 0))
    return Run(
        name=config.name,
        command=command_of("align experiment ablation", config),
        machine=describe_machine(),
        seed=config.seed,
        data={
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
            "split": "dev",
        },
        numbers={name: Number(**one) for name, one in numbers.items()},
        notes=(
            "Dev figures of one seed, nothing chosen by a budget: weights as trained. Reference: text head, "
            f"{config.lists} captions, 5 x 5 grids of stride 10 from the first 241, rows-then-columns, ranked DPO of "
            f"beta 0.5, smoothing 0.1, pre-training weight 1, {config.steps} steps. Where the image tower's upper "
            f"blocks train, {config.picture_steps} steps of smaller batches; where all of it does, half as many and "
            "grids of 3 x 3. "
            "Changes against the base are paired by caption.",
        ),
    )


def _tried(config: AblationConfig, places: Places, one: Variant, *, with_base: bool) -> dict[str, dict[str, Any]]:
    """Trains a variant and measures it on dev; the base's own level beside the first."""
    dev = read_gallery(places, "dev", [config.teacher])
    shares = dev.shares([(config.teacher, 1.0)])
    base = plain(dev, caption_vectors(places.encoder, dev), dev.vectors, shares)
    folder = config.run / "runs" / _slug(one)
    chosen = replace(
        AlignConfig(
            base=config.model,
            text_lr=0.0,
            head_lr=config.head_lr,
            steps=config.steps,
            max_retention_loss=100.0,
            dev_share=0.0,
            alphas=(1.0,),
            pictures=(str(places.embeddings(NAME)),),
            preferences=_lists(config, places, one, folder),
            seed=config.seed,
        ),
        **one.train,
    )
    chosen = replace(chosen, evaluate_every=chosen.steps)
    made = align(chosen, folder, places.data, cache=places.cache, say=places.say)
    parts = Parts(load_encoder(config.model), chosen.frozen_blocks, places.cache)
    features = parts.texts(dev.captions)
    states = parts.pictures([places.pictures(NAME) / name for name in dev.files]) if chosen.trains_image else None
    parts.use(load_encoder(str(made.model)).model.state_dict())
    pictures = dev.vectors if states is None else parts.picture_vectors(states)
    point = plain(dev, parts.text_vectors(features), pictures, shares)
    return {**(_levels("base", base) if with_base else {}), **_gains(one.name, point, base)}


def _levels(name: str, point: Point) -> dict[str, dict[str, Any]]:
    return {f"{name}: {what}": asdict(Number.of(bootstrap_mean(point[what]))) for what in (PERCENTILE, HIT)}


def _gains(name: str, point: Point, base: Point) -> dict[str, dict[str, Any]]:
    return {
        f"{name}: change of {what}": asdict(Number.of(paired_difference(point[what], base[what])))
        for what in (PERCENTILE, HIT)
    }


def _lists(config: AblationConfig, places: Places, one: Variant, folder: Path) -> str:
    """The table of a variant: the same captions in all of them."""
    train = read_gallery(places, "train", [config.teacher])
    captions = train.captions
    drawn = np.random.default_rng((config.seed, 0)).permutation(len(captions))[: config.lists]
    texts = [captions[place] for place in drawn]
    asked = [text + SUFFIX for text in texts] if one.rewritten else texts
    beauty = normal_scores(train.shares([(config.teacher, 1.0)]))
    lists = grid_lists(
        texts, places.encoder.encode_texts(asked), train.vectors, train.sha256s, beauty, Grid(**one.grid)
    )
    write_preferences(folder / "lists.parquet", lists, {"made": "grid", "variant": one.name})
    return str(folder / "lists.parquet")


def _slug(one: Variant) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in one.name).split())
