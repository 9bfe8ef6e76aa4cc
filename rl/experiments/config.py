"""Options that experiments share. The configuration of an experiment is one of these and what is its own; `option`
(steps.py) gives a field its help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
