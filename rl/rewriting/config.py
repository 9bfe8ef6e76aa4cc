"""Settings of training a rewriter: the command's options, and `config.json` of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from indexes.errors import BeholderError

from .reward_config import NAMES


def option(default: Any, told: str) -> Any:
    return field(default=default, metadata={"help": told})


@dataclass(frozen=True)
class RewriterConfig:
    """What all three ways of training share. Checked when made: raises BeholderError that names every problem."""

    model: str  # folder of a causal model of transformers with a chat template, or its name on the hub
    steps: int = option(200, "Optimizer steps.")
    batch: int = option(32, "Answers in a step, over all micro-batches of one process.")
    accumulate: int = option(1, "Micro-batches of a step.")
    learning_rate: float = option(1e-5, "Its highest, after a warm-up.")
    warmup: float = option(0.05, "Share of the steps.")
    schedule: str = option("cosine", "Of the learning rate: cosine, linear or constant.")
    max_gradient: float = option(1.0, "Norm at which gradients are clipped.")
    weight_decay: float = option(0.0, "Of AdamW.")
    lora_rank: int = option(0, "Above 0: low-rank adapters, merged at the end.")
    answer_tokens: int = option(64, "Of an answer, at most.")
    save_every: int = option(50, "Steps between checkpoints.")
    log_every: int = option(10, "Steps between lines of log.jsonl.")
    seed: int = option(0, "Of order, sampling and dropout.")
    device: str = option("cpu", "cpu or cuda.")
    precision: str = option("auto", "auto, fp32 or bf16: auto is bf16 on CUDA.")
    threads: int = option(0, "Of the CPU; 0: torch's choice.")

    def problems(self) -> list[str]:
        counts = "steps", "batch", "accumulate", "answer_tokens", "save_every", "log_every"
        wrong = [f"{name} {getattr(self, name)} is below 1" for name in counts if getattr(self, name) < 1]
        wrong += [] if self.learning_rate > 0 else [f"learning_rate {self.learning_rate} is not above 0"]
        wrong += [] if 0 <= self.warmup < 1 else [f"warmup {self.warmup} is outside [0, 1)"]
        wrong += [] if self.accumulate < 1 or self.batch % self.accumulate == 0 else ["batch / accumulate is not whole"]
        for name, known in (("schedule", ("cosine", "linear", "constant")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in known:
                wrong.append(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        return wrong

    def __post_init__(self) -> None:
        wrong = self.problems()
        if wrong:
            raise BeholderError("; ".join(wrong), "other settings", "See `beholder align rewriter --help`.")

    @property
    def bf16(self) -> bool:
        return self.precision == "bf16" or (self.precision == "auto" and self.device.startswith("cuda"))

    def to_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class SftConfig(RewriterConfig):
    """Supervised: the answers of a teacher, word by word."""

    rewrites: tuple[str, ...] = option((), "Table of recorded rewrites (repeatable).")

    def problems(self) -> list[str]:
        return [*super().problems(), *([] if self.rewrites else ["no table of rewrites"])]


@dataclass(frozen=True)
class GrpoConfig(RewriterConfig):
    """Group-relative policy optimisation (2402.03300) on the rewards of rl/rewards.py."""

    questions: str = option("", "TSV of query and relevant, or a table of preferences.")
    rewards: str = option("", "JSON of RewardConfig: the corpus and how it is ranked.")
    reward: tuple[str, ...] = option(("rank_gain", "drift", "form", "length"), f"Of {', '.join(NAMES)} (repeatable).")
    weight: tuple[float, ...] = option((), "Of each reward, in their order; default: 1 each (repeatable).")
    group: int = option(8, "Answers to one query.")
    temperature: float = option(1.0, "Of sampling.")
    beta: float = option(0.02, "Weight of the KL divergence from the start; 0 keeps no reference.")
    epsilon: float = option(0.2, "Clip of the ratio.")
    scale: str = option("batch", "Advantages are divided by the spread of: group, batch or none.")
    vllm: bool = option(False, "Sample with vLLM, where it is installed.")

    def problems(self) -> list[str]:
        wrong = super().problems()
        wrong += [f"no {name}" for name in ("questions", "rewards") if not getattr(self, name)]
        if self.group < 2 or self.batch % self.group:
            wrong.append(f"batch {self.batch} is no multiple of the group {self.group} (2 or more)")
        if self.weight and len(self.weight) != len(self.reward):
            wrong.append(f"{len(self.weight)} weights of {len(self.reward)} rewards")
        unknown = [name for name in self.reward if name not in NAMES]
        wrong += [f"there is no reward {name} ({', '.join(NAMES)})" for name in unknown]
        if self.scale not in ("group", "batch", "none"):
            wrong.append(f"scale {self.scale!r} is none of group, batch, none")
        if self.temperature <= 0 or self.beta < 0:
            wrong.append(f"temperature {self.temperature}, beta {self.beta}")
        return wrong


@dataclass(frozen=True)
class DpoConfig(RewriterConfig):
    """Direct preference optimisation on ranked rewrites, without sampling."""

    ranked: str = option("", "TSV of query, answer and score, as `align rewriter rank` writes it.")
    margin: float = option(0.02, "Scores of a pair differ by more than this.")
    beta: float = option(0.1, "Strength.")

    def problems(self) -> list[str]:
        wrong = [*super().problems(), *([] if self.ranked else ["no table of ranked rewrites"])]
        return [*wrong, *([] if self.beta > 0 else [f"beta {self.beta} is not above 0"])]


STAGES: dict[str, type[RewriterConfig]] = {"sft": SftConfig, "grpo": GrpoConfig, "dpo": DpoConfig}


def from_dict(stage: str, content: Mapping[str, Any]) -> RewriterConfig:
    """Settings of a stage as JSON holds them. Raises BeholderError for one that there is not."""
    known = {one.name: one for one in fields(STAGES[stage])}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise BeholderError(f"{stage} has no setting {', '.join(unknown)}", ", ".join(known), "Check the name.")
    given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in content.items()}
    return STAGES[stage](**given)
