"""All settings of a pre-training run: the command's options, and `config.json` of the run's folder."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError

LISTS = ("sources", "head_within", "last_head_within")


@dataclass(frozen=True)
class PretrainConfig:
    """Stages: heads over cached features of frozen towers, towers unfrozen, heads again. Checked when made."""

    # What is learnt from: names of rl.captions.SOURCES, or caption tables (paths ending in .tsv, all rows); NAME*SHARE
    # shows only that share of a source's pictures in an epoch, others in the next
    sources: tuple[str, ...] = ("flickr8k", "peopleart", "photoart", "imagenet1000")
    dev_source: str = "flickr8k"  # read after each stage's epochs, for choices; its `dev` split where it has one

    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"  # bf16 on CUDA, fp32 on CPU, where bf16 is 3 times slower unless the CPU computes in it

    # Stage 1: heads over cached features
    head_epochs: int = 100
    head_batch: int = 2048  # pictures a step, over all processes
    head_lr: float = 2e-3
    head_captions: int = 5  # caption vectors of a picture that are mixed, with Dirichlet weights
    # NAME*WEIGHT of sources whose labels are told apart among themselves too: each step adds WEIGHT times the loss of
    # pictures of that source alone, one caption each (rl/pretraining/within.py)
    head_within: tuple[str, ...] = ()
    within_batch: int = 512  # pictures of such a source a step

    # Stage 2: towers too
    tune_epochs: int = 8
    whole_epochs: int = 0  # after those, of whole sources whatever their shares: labels are learnt again before the end
    whole_rate: float = 0.5  # of stage 2's learning rates in them
    tune_batch: int = 256
    image_lr: float = 1e-4
    text_lr: float = 4e-5
    tune_head_lr: float = 5e-4
    tune_captions: int = 1
    chunk: int = 256  # pictures in one forward of a process; a smaller one saves memory and costs a second forward
    layer_decay: float = 0.8  # a block's learning rate over that of the block above it
    image_frozen_blocks: int = 0  # lower blocks of a timm ViT that stay frozen; their output is computed once
    patch_drop: float = 0.5  # share of a picture's patches left out in training (timm ViT only)
    min_crop_area: float = 0.6  # of the picture; random resized crops need image_frozen_blocks 0
    flip: bool = True

    # Stage 3: heads again, over features of the tuned towers and whole sources (rl/pretraining/last_heads.py)
    last_head_epochs: int = 0
    last_head_within: tuple[str, ...] = ()  # head_within of this stage

    # All
    smoothing: float = 0.1  # of the contrastive targets
    mixing: float = 0.3  # Dirichlet concentration of the caption weights
    weight_decay: float = 0.1
    drop_input: float = 0.3  # dropout before the heads' first and second layer, in training only
    drop_hidden: float = 0.5
    warmup: float = 0.1  # share of a stage's steps
    average_decay: float = 0.95  # a step, of the running average of the weights that stage 2 ends with; 0 = none
    checkpoint_every: int = 10  # steps of stage 2
    threads: int = 0  # of the CPU; 0 = torch's choice

    def __post_init__(self) -> None:
        wrong = []
        if not self.sources:
            wrong.append("sources is empty")
        wrong += [f"source {name} has a share outside (0, 1]" for name, share in self.shares() if not 0 < share <= 1]
        for setting in ("head_within", "last_head_within"):
            for name, weight in self.within(setting):
                if not 0 < weight < math.inf:
                    wrong.append(f"{setting} {name} has no weight above 0")
                if name not in {source for source, _ in self.shares()}:
                    wrong.append(f"{setting} {name} is none of the sources")
        for name in (
            "head_batch",
            "within_batch",
            "tune_batch",
            "chunk",
            "head_captions",
            "tune_captions",
            "checkpoint_every",
        ):
            if getattr(self, name) < 1:
                wrong.append(f"{name} {getattr(self, name)} is below 1")
        for name in (
            "head_epochs",
            "tune_epochs",
            "whole_epochs",
            "last_head_epochs",
            "image_frozen_blocks",
            "threads",
        ):
            if getattr(self, name) < 0:
                wrong.append(f"{name} {getattr(self, name)} is negative")
        for name in ("smoothing", "patch_drop", "drop_input", "drop_hidden", "warmup", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                wrong.append(f"{name} {getattr(self, name)} is outside [0, 1)")
        for name in (
            "head_lr",
            "whole_rate",
            "image_lr",
            "text_lr",
            "tune_head_lr",
            "mixing",
            "layer_decay",
            "min_crop_area",
        ):
            if not getattr(self, name) > 0:
                wrong.append(f"{name} {getattr(self, name)} is not above 0")
        if self.min_crop_area > 1:
            wrong.append(f"min_crop_area {self.min_crop_area} is above 1")
        if self.precision not in ("auto", "fp32", "bf16"):
            wrong.append(f"precision {self.precision!r} is none of auto, fp32, bf16")
        if wrong:
            raise BeholderError("; ".join(wrong), "other settings", "See `beholder align pretrain --help`.")

    def shares(self) -> list[tuple[str, float]]:
        """Name and share of each source; nan for a share that is no number."""
        return [_name_and_share(source) for source in self.sources]

    def within(self, setting: str = "head_within") -> list[tuple[str, float]]:
        """Name and weight of each source of `head_within` or `last_head_within`; nan for a weight that is no number."""
        return [_name_and_share(source) for source in getattr(self, setting)]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), **{name: list(getattr(self, name)) for name in LISTS}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "PretrainConfig":
        """Raises BeholderError for a setting that there is not."""
        unknown = sorted(set(content) - {field.name for field in fields(cls)})
        if unknown:
            raise BeholderError(f"no setting is called {', '.join(unknown)}", "settings of PretrainConfig", "Check it.")
        return cls(**{**content, **{name: tuple(content.get(name, getattr(cls, name))) for name in LISTS}})

    @classmethod
    def read(cls, path: Path) -> "PretrainConfig":
        try:
            return cls.from_dict(json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise BeholderError(f"{path} cannot be read ({error})", "a run's config.json", "Check --config.") from error


def _name_and_share(source: str) -> tuple[str, float]:
    name, star, share = source.partition("*")
    try:
        return name, float(share) if star else 1.0
    except ValueError:
        return name, math.nan


# Label tables at 0.3: at full share they crowd captions out of a batch. bf16: 1.6 times the speed of fp32 on a CPU that
# has AVX-512 BF16 (docs/decisions/0005).
RECIPES = {
    "beholder-mini": PretrainConfig(
        sources=("flickr8k", "peopleart*0.3", "photoart*0.3", "imagenet1000*0.3"),
        precision="bf16",
        tune_epochs=12,
        whole_epochs=3,
        last_head_epochs=75,
        last_head_within=("peopleart*0.8", "photoart*0.2"),
        tune_batch=512,
        chunk=512,
        image_lr=1.5e-4,
        text_lr=5e-5,
        average_decay=0.97,
        checkpoint_every=12,
    )
}
