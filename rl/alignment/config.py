"""All settings of an alignment run: the command's options, and `config.json` of the run's folder."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError

from .augment import AUGMENTATIONS

TOWERS = ("text", "image", "both")
LOSSES = ("ranked-dpo", "hinge", "ipo", "plackett-luce", "list-mle", "lipo-lambda")
LABELS = ("teacher", "shuffled", "random")
OF_INDEX = "index"  # as a source of captions: those that the items carry


@dataclass(frozen=True)
class AlignConfig:
    """Checked when made. The constants of Wen et al. 2024 (2406.09397) are not public in readable form: the defaults
    are ours (docs/experiments/)."""

    base: str = "beholder-mini"  # the encoder that is tuned, and the reference
    preferences: str = ""  # a table of rl/preferences.py
    pictures: tuple[str, ...] = ()  # INDEX or EMBEDDINGS folders, in which the pictures' vectors are found by sha256
    dev_preferences: str = ""  # lists to measure and choose by; empty: dev_share of the table's queries
    dev_share: float = 0.1  # of the queries, by their words
    any_teacher: bool = False  # take lists that the cascade made over another encoder's index, too

    towers: str = "text"
    text_lr: float = 2e-5  # 0 freezes the tower: its features are then computed once and only the head trains
    image_lr: float = 2e-5
    head_lr: float = 2e-4
    layer_decay: float = 0.8  # a block's learning rate over that of the block above it
    frozen_blocks: int = 0  # lowest blocks of a ViT image tower that stay: what they give is computed once
    weight_decay: float = 0.05
    augment: tuple[
        str, ...
    ] = ()  # of rl/alignment/augment.py, for a trained image tower; the reference sees the same pictures
    tower_dropout: bool = False  # dropout inside the towers; the reference has none
    drop_input: float = 0.0  # dropout before the heads' first and later layers
    drop_hidden: float = 0.0
    lora_rank: int = 0  # above 0: low-rank adapters in place of the towers' own weights (towers need Linear layers)
    lora_alpha: float = 16.0

    loss: str = "ranked-dpo"
    beta: float = 0.5  # multiplies logits, cosine / temperature
    smoothing: float = 0.1  # of the preference labels (ranked-dpo)
    temperature: float = 0.0  # frozen; 0 = the base's own
    labels: str = "teacher"  # controls: shuffled, a list's pictures in random order; random, pictures of any lists

    contrastive_weight: float = 1.0  # of the pre-training term; 0 leaves it out
    contrastive_batch: int = 512  # captioned pictures beside the queries of a step
    contrastive_smoothing: float = 0.1
    anchor_weight: float = 0.0  # of the mean squared distance of these captions' vectors to the base's (2 - 2 cosine)
    logit_anchor_weight: float = 0.0  # of the variance, over these pictures, of a query's logits less the reference's
    captions: tuple[str, ...] = ("flickr8k",)  # sources of rl/captions.py, caption tables (.tsv), or "index"

    steps: int = 300
    queries: int = 32  # a step, over all processes and micro-batches
    accumulate: int = 1  # micro-batches of a step
    warmup: float = 0.05  # share of the steps
    max_gradient: float = 1.0  # norm at which gradients are clipped

    evaluate_every: int = 50  # steps; also between checkpoints
    dev_source: str = "flickr8k"  # whose dev split tells what is kept; a caption table is read whole, and of "index"
    # the captions of dev_share of the pictures, which are then not trained on
    max_retention_loss: float = 1.0  # points of hit_rate@10 on it below the base
    patience: int = 2  # evaluations in a row over that budget end the run
    alphas: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # 0 = base, 1 = tuned: weights between them that are measured

    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"  # bf16 on CUDA, fp32 on CPU, where bf16 is slower unless the CPU computes in it
    threads: int = 0  # of the CPU; 0 = torch's choice
    partial: bool = False  # the checkpoint holds only what changed, and names its base
    tensorboard: bool = False

    def __post_init__(self) -> None:
        wrong = []
        for name, known in (("towers", TOWERS), ("loss", LOSSES), ("labels", LABELS)):
            if getattr(self, name) not in known:
                wrong.append(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        if not set(self.augment) <= set(AUGMENTATIONS):
            wrong.append(f"augment {', '.join(self.augment)} is not of {', '.join(AUGMENTATIONS)}")
        if self.augment and not self.trains_image:
            wrong.append("augmentation, but no image tower that trains")
        if self.augment and self.frozen_blocks:
            wrong.append("augmentation, but frozen_blocks, whose states are computed once")
        if self.precision not in ("auto", "fp32", "bf16"):
            wrong.append(f"precision {self.precision!r} is none of auto, fp32, bf16")
        for name in ("steps", "queries", "accumulate", "evaluate_every", "patience", "contrastive_batch"):
            if getattr(self, name) < 1:
                wrong.append(f"{name} {getattr(self, name)} is below 1")
        weights = ("contrastive_weight", "anchor_weight", "logit_anchor_weight", "weight_decay")
        for name in ("text_lr", "image_lr", "head_lr", "temperature", *weights):
            if not getattr(self, name) >= 0:
                wrong.append(f"{name} {getattr(self, name)} is negative")
        for name in ("layer_decay", "beta", "lora_alpha", "max_gradient"):
            if not getattr(self, name) > 0:
                wrong.append(f"{name} {getattr(self, name)} is not above 0")
        for name in ("dev_share", "warmup", "contrastive_smoothing", "drop_input", "drop_hidden"):
            if not 0 <= getattr(self, name) < 1:
                wrong.append(f"{name} {getattr(self, name)} is outside [0, 1)")
        if not 0 <= self.smoothing < 0.5:
            wrong.append(f"smoothing {self.smoothing} is outside [0, 0.5)")
        if min(self.lora_rank, self.threads, self.frozen_blocks) < 0:
            wrong.append("lora_rank, threads or frozen_blocks is negative")
        if self.frozen_blocks and (not self.trains_image or self.lora_rank):
            wrong.append("frozen_blocks without an image tower that trains, or with lora_rank")
        if any(not 0 < alpha <= 1 for alpha in self.alphas) or not self.alphas:
            wrong.append(f"alphas {self.alphas} are not all in (0, 1]")
        if self.queries % self.accumulate or self.contrastive_batch % self.queries:
            wrong.append(
                f"{self.queries} queries in {self.accumulate} micro-batches beside {self.contrastive_batch} captions "
                "do not come out even"
            )
        if self.uses_captions and not self.captions:
            wrong.append("a contrastive term or an anchor without captions")
        if self.logit_anchor_weight and self.contrastive_batch < 2 * self.accumulate:
            wrong.append("a logit anchor over fewer than two captioned pictures in a micro-batch")
        if wrong:
            raise BeholderError("; ".join(wrong), "other settings", "See `beholder align train --help`.")

    @property
    def trains_text(self) -> bool:
        return self.towers in ("text", "both")

    @property
    def trains_image(self) -> bool:
        return self.towers in ("image", "both")

    @property
    def uses_captions(self) -> bool:
        return bool(self.contrastive_weight or self.uses_anchors)

    @property
    def uses_anchors(self) -> bool:
        return bool(self.anchor_weight or self.logit_anchor_weight)

    def to_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "AlignConfig":
        """Raises BeholderError for a setting that there is not."""
        unknown = sorted(set(content) - {field.name for field in fields(cls)})
        if unknown:
            raise BeholderError(f"no setting is called {', '.join(unknown)}", "settings of AlignConfig", "Check it.")
        known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return cls(**known)

    @classmethod
    def read(cls, path: Path) -> "AlignConfig":
        try:
            return cls.from_dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise BeholderError(f"{path} cannot be read ({error})", "a run's config.json", "Check --config.") from error
