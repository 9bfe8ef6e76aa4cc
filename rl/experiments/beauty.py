"""Beauty: a scorer distilled into the encoder, beside what needs no training, over photographs with captions.

The teacher does not depend on the query, so the sum and a constant shift can do most of what it asks: the page says how
much of an aligned text tower one shared vector explains. Lists are strided grids of the cascade over `train`, every way
is swept on `dev`, its strongest setting inside the retention budget is chosen there, and `val` is read once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plots import line_plot
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.errors import BeholderError
from indexes.records.manifest import write_bytes_atomic
from indexes.records.percentiles import normal_scores
from retrieval.encoding.encoders import load_encoder
from rl.alignment.align import align
from rl.alignment.config import AlignConfig
from rl.preferences import write_preferences

from .beauty_numbers import Measured, as_json, chosen_numbers, swept
from .beauty_sides import best_inside, curves, means
from .config import TowersTrained
from .flickr import NAME, read_gallery
from .grid_lists import Grid, grid_lists
from .places import Places, data_folder
from .steps import Say, Steps, content_of, option

SHUFFLED = "text, shuffled lists"


@dataclass(frozen=True)
class BeautyConfig(TowersTrained):
    """Options of `align experiment beauty`."""

    teacher: str = option("colourfulness", "A scorer; several with + are blended in equal parts.")
    held_out: str = option("saturation", "A scorer that nothing is taught by.")
    lists: int = option(2000, "Training captions, a list each.")
    u: int = option(5, "Rows of a grid.")
    v: int = option(5, "Columns of a grid.")
    stride: int = option(10, "Between picks.")
    mix: float = option(0.5, "Share of the teacher in the re-ranked order.")
    beta: float = option(0.5, "Strength of ranked DPO.")
    name: str = option("experiment-beauty", "Of the run.")

    def __post_init__(self) -> None:
        if not self.seeds or not set(self.towers) <= {"text", "image", "both"} or self.held_out in self.parts:
            raise BeholderError(
                f"{len(self.seeds)} seeds, towers {', '.join(self.towers)}, {self.held_out} held out of {self.teacher}",
                "a seed, text, image or both, and a scorer that is not the teacher",
            )

    @property
    def parts(self) -> list[str]:
        return self.teacher.split("+")

    @property
    def weights(self) -> list[tuple[str, float]]:
        return [(name, 1 / len(self.parts)) for name in self.parts]

    @property
    def grid(self) -> Grid:
        return Grid(self.u, self.v, self.stride, 0, self.mix)


def settings(config: BeautyConfig, towers: str) -> AlignConfig:
    """Of the runs of one kind, but for tables and seed. Every weight between base and tuned is measured afterwards, so
    that no budget ends a run."""
    shared = AlignConfig(
        base=config.model,
        towers=towers,
        text_lr=0.0,
        head_lr=config.head_lr,
        beta=config.beta,
        steps=config.steps,
        evaluate_every=config.steps,
        contrastive_batch=config.captions,
        max_retention_loss=100.0,
        dev_share=0.0,
        alphas=(1.0,),
    )
    if towers == "text":
        return shared
    return replace(
        shared,
        frozen_blocks=config.frozen_blocks,
        image_lr=config.picture_lr,
        steps=config.picture_steps,
        evaluate_every=max(1, config.picture_steps // 3),
        queries=8,
        contrastive_batch=config.captions // 4,
    )


def measure(config: BeautyConfig, say: Say = lambda line: None) -> Run:
    """Distils a scorer into the encoder and sweeps it beside the sum, re-ranking and a constant shift.

    Example: beholder align experiment beauty work/beauty --data ../shared/data
    """
    places = Places(data_folder(config.data), config.embeddings or config.run / "emb", load_encoder(config.model), say)
    record = places.encoder.record
    sides = [*config.towers, *([SHUFFLED] if "text" in config.towers else [])]
    steps = Steps(config.run, say, 2 + len(sides) * len(config.seeds))
    own = content_of(config, without=("run", "data", "embeddings", "towers", "seeds", "dev_only", "name"))
    own |= {"base": [record.image_fingerprint, record.text_fingerprint]}
    for side in sides:
        for seed in config.seeds:
            steps.do(f"{slug(side)}-seed-{seed}", own, partial(_aligned, config, places, side, seed))
    choices = {**own, "towers": list(config.towers), "seeds": list(config.seeds)}
    dev = steps.do("dev", choices, partial(_dev, config, places, sides))
    choices |= {"chosen": dev["chosen"]}
    found = dev if config.dev_only else steps.once("val", choices, partial(_val, config, places, sides, dev["chosen"]))
    drawn = line_plot(curves(found["points"]), "hit_rate@10 of captions, %", f"mean percentile of {config.teacher}, %")
    write_bytes_atomic(config.run / "pareto.svg", drawn.encode())
    return Run(
        name=config.name,
        command=command_of("align experiment beauty", config),
        machine=describe_machine(),
        seed=0,
        data={
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
            "teacher": config.teacher,
            "seeds": list(config.seeds),
            "split": "dev" if config.dev_only else "val",
            "points": found["points"],
        },
        numbers={name: Number(**one) for name, one in found["numbers"].items()},
        notes=(_protocol(config, dev["chosen"]),),
    )


def slug(side: str) -> str:
    """A side's name in the names of steps and folders."""
    return "shuffled" if side == SHUFFLED else side


def _aligned(config: BeautyConfig, places: Places, side: str, seed: int) -> dict[str, Any]:
    """One run; lists are of other captions for each seed."""
    train = read_gallery(places, "train", [*config.parts, config.held_out])
    captions = train.captions
    drawn = np.random.default_rng((seed, 0)).permutation(len(captions))[: config.lists]
    texts = [captions[place] for place in drawn]
    table = config.run / "runs" / f"lists-{seed}.parquet"
    if not table.is_file():
        queries = places.encoder.encode_texts(texts)
        beauty = normal_scores(train.shares(config.weights))
        lists = grid_lists(texts, queries, train.vectors, train.sha256s, beauty, config.grid)
        write_preferences(table, lists, {"made": "grid", "teacher": config.teacher})
    folder = config.run / "runs" / f"{slug(side)}-seed-{seed}"
    chosen = replace(
        settings(config, "text" if side == SHUFFLED else side),
        preferences=str(table),
        pictures=(str(places.embeddings(NAME)),),
        labels="shuffled" if side == SHUFFLED else "teacher",
        seed=seed,
    )
    align(chosen, folder, places.data, cache=places.cache, say=places.say)
    return {**json.loads((folder / "report.json").read_bytes()), "folder": folder.name}


def _measured(config: BeautyConfig, sides: Sequence[str], cache: Path) -> Measured:
    checkpoints = {
        side: [config.run / "runs" / f"{slug(side)}-seed-{seed}" / "model" for seed in config.seeds] for side in sides
    }
    frozen = config.frozen_blocks if {"image", "both"} & set(sides) else 0
    return Measured(config.weights, config.held_out, checkpoints, frozen, cache)


def _dev(config: BeautyConfig, places: Places, sides: Sequence[str]) -> dict[str, Any]:
    found = swept(places, _measured(config, sides, places.cache), "dev")
    points = means(found.points)
    chosen = best_inside(points, found.ways, config.max_retention_loss)
    return {"points": points, "chosen": chosen, "numbers": as_json(chosen_numbers(found, chosen, config.held_out))}


def _val(config: BeautyConfig, places: Places, sides: Sequence[str], chosen: Mapping[str, str]) -> dict[str, Any]:
    found = swept(places, _measured(config, sides, places.cache), "val")
    return {"points": means(found.points), "numbers": as_json(chosen_numbers(found, chosen, config.held_out))}


def _protocol(config: BeautyConfig, chosen: Mapping[str, str]) -> str:
    return (
        f"Captions over the pictures of {'dev' if config.dev_only else 'val'}, exact search; percentiles are of the "
        f"teacher's scores ({config.teacher}) within them. Each way with its strongest setting that loses at most "
        f"{config.max_retention_loss:g} points of hit_rate@10 on dev ({len(chosen) - 1} ways); tuned sides are means "
        f"over {len(config.seeds)} seeds, intervals over captions."
    )
