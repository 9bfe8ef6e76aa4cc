"""Settings of training a critic: what is trained on what, and the recipe, whole; `config.json` of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from indexes.errors import BeholderError

from .recipes import CriticRecipe


@dataclass(frozen=True)
class CriticConfig:
    """Checked when made: raises BeholderError that names every problem."""

    base: str  # vision-language model of transformers: its folder, or name on the hub
    pictures: str  # folder that the conversations' pictures are in
    conversations: str = ""  # file of ours, for supervised training
    preferences: str = ""  # file of ours whose records have a rejected answer, for DPO after it
    recipe: CriticRecipe = field(default_factory=CriticRecipe)
    recipe_name: str = ""
    start: str = ""  # folder of a trained critic of the same base, to train further
    split: str = "train"
    dev_split: str = "dev"  # its loss is told at every checkpoint
    dev_rows: int = 200  # at most
    micro_batch: int = 0  # answers at once; 0: the recipe's batch
    save_every: int = 200  # steps between checkpoints
    log_every: int = 10  # steps between lines of log.jsonl
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"  # bf16, fp32; auto: the recipe's on CUDA, else fp32
    checkpointing: str = "auto"  # on, off; auto: the recipe's on CUDA, else off
    workers: int = 0  # processes that open pictures
    threads: int = 0  # of the CPU; 0: torch's choice
    tensorboard: bool = False

    def problems(self) -> list[str]:
        counts = "save_every", "log_every"
        wrong = [f"{name} {getattr(self, name)} is below 1" for name in counts if getattr(self, name) < 1]
        least = "micro_batch", "workers", "threads", "dev_rows"
        wrong += [f"{name} {getattr(self, name)} is below 0" for name in least if getattr(self, name) < 0]
        wrong += [] if self.conversations or self.preferences else ["neither conversations nor preferences"]
        if self.micro_batch and self.recipe.batch % self.micro_batch:
            wrong.append(f"batch {self.recipe.batch} is no multiple of micro_batch {self.micro_batch}")
        for name, known in (("precision", ("auto", "fp32", "bf16")), ("checkpointing", ("auto", "on", "off"))):
            if getattr(self, name) not in known:
                wrong.append(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        return wrong

    def __post_init__(self) -> None:
        if wrong := self.problems():
            raise BeholderError("; ".join(wrong), "other settings", "See `beholder align critic train --help`.")

    @property
    def used_precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        return self.recipe.precision if self.device.startswith("cuda") else "fp32"

    @property
    def used_checkpointing(self) -> bool:
        if self.checkpointing != "auto":
            return self.checkpointing == "on"
        return self.recipe.checkpointing and self.device.startswith("cuda")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CriticConfig:
        return cls(**{**content, "recipe": CriticRecipe(**content["recipe"])})
