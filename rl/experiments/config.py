"""Options that experiments share. The configuration of an experiment is one of these and what is its own; `option`
(steps.py) gives a field its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.alignment.config import AlignConfig

from .steps import option


@dataclass(frozen=True)
class Experiment:
    """Where an experiment is, and what it is about."""

    run: Path
    data: Path | None = option(None, "Folder of the sets; default: $BEHOLDER_DATA.")
    embeddings: Path | None = option(None, "Folder of NAME.emb of the sets, made where missing; default: RUN/emb.")
    model: str = option("beholder-mini", "The base.")
    name: str = option("", "Of the run.")


@dataclass(frozen=True)
class Trained(Experiment):
    """Checkpoints of several seeds; choices on dev, within a budget of captions."""

    seeds: tuple[int, ...] = option((0, 1, 2), "A run for each.")
    max_retention_loss: float = option(1.0, "Points of hit_rate@10 on dev captions.")
    dev_only: bool = option(False, "Stop before what is reported is read: for choosing settings.")


@dataclass(frozen=True)
class TowersTrained(Trained):
    """The text head, and with it or alone the upper blocks of the image tower."""

    towers: tuple[str, ...] = option(("text", "image", "both"), "Which towers are tuned: text, image, both.")
    steps: int = option(100, "Of the text tower alone; its head trains.")
    head_lr: float = option(1e-3, "Of the heads.")
    picture_steps: int = option(30, "Where the image tower is tuned.")
    picture_lr: float = option(1e-4, "Of the image tower's upper blocks.")
    frozen_blocks: int = option(11, "Lowest blocks of the image tower that stay.")
    captions: int = option(512, "Captioned pictures beside a step; a quarter where the image tower is tuned.")


@dataclass(frozen=True)
class Anchored(Trained):
    """Heads over towers that stay, beside captions that are held in place; controls of several seeds."""

    cache: Path | None = option(None, "Folder of what is computed once; default: RUN/cache.")
    control_seeds: tuple[int, ...] = option((0, 1, 2), "A run of each control for each.")
    anchor_weights: tuple[float, ...] = option((1.0,), "Of the captions' distance from the base, tried on dev.")
    head_lr: float = option(3e-3, "Of the heads.")
    text_lr: float = option(0.0, "Of the text tower; 0: its head alone.")
    beta: float = option(0.25, "Strength of preferences.")
    smoothing: float = option(0.02, "Of the preference labels.")
    drop_input: float = option(0.0, "Dropout before the heads.")
    weight_decay: float = option(0.3, "Of the heads.")
    steps: int = option(600, "Of a run.")
    queries: int = option(64, "In a step.")
    captions_batch: int = option(128, "Captioned pictures beside them, which are held in place.")
    gap: int = option(32, "Places of the teacher's order that a pair is apart, at least.")
    max_retention_loss: float = option(1.0, "Points of hit_rate@10 of captions, and of mAP of objects.")

    def seeds_of(self, kind: str) -> tuple[int, ...]:
        return self.seeds if kind == "aligned" else self.control_seeds

    def settings(self, **own: Any) -> AlignConfig:
        """Of all runs, but for tables, pictures, seed, anchors and labels; `own` are the experiment's."""
        return AlignConfig(
            base=self.model,
            text_lr=self.text_lr,
            head_lr=self.head_lr,
            weight_decay=self.weight_decay,
            drop_input=self.drop_input,
            beta=self.beta,
            smoothing=self.smoothing,
            contrastive_weight=0.0,
            contrastive_batch=self.captions_batch,
            steps=self.steps,
            queries=self.queries,
            evaluate_every=max(1, self.steps // 2),
            patience=99,
            partial=True,
            **own,
        )
