"""TRL's SFTTrainer and DPOTrainer for critics: checkpoints that hold what is trained and are really loaded again, a
projector with a rate of its own, a log.

transformers writes whole LLaVA weights under other names than the model in memory has, and on resuming loads none of
them, with a warning alone: training would go on from the base with the old optimizer's state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from indexes.errors import BeholderError
from retrieval.language.adapter import AdapterConfig, put_weights, save_adapter
from retrieval.language.trained import ADAPTER, LORA
from rl.rewriting.train import DONE, LOG

from .config import CriticConfig
from .model import projector_parameters
from .recipes import CriticRecipe

Say = Callable[[str], None]
SFT, DPO = "sft", "dpo"
SHOWN = "loss", "eval_loss", "mean_token_accuracy", "rewards/accuracies", "rewards/margins", "learning_rate"


def make_trainer(
    stage: str, config: CriticConfig, folder: Path, model: Any, processor: Any, rows: Any, dev: Any, *,
    reference: Any = None, say: Say,
) -> Any:  # fmt: skip
    """The trainer of a stage; `folder` takes checkpoints and the log, `reference` is DPO's (LoRA needs none)."""
    arguments = _arguments(stage, config, folder, dev is not None)
    shared: dict[str, Any] = {"model": model, "processing_class": processor, "train_dataset": rows, "eval_dataset": dev}
    shared["callbacks"] = [CriticLog(folder, stage, say)]
    if stage == SFT:
        from trl import SFTConfig

        trainer = trainer_class(SFT)(args=SFTConfig(**arguments), **shared)
    else:
        from trl import DPOConfig

        given = DPOConfig(**arguments, beta=config.recipe.preference_beta)
        trainer = trainer_class(DPO)(args=given, ref_model=reference, **shared)
    trainer.recipe, trainer.base = config.recipe, config.base
    trainer.remove_callback(PrinterCallback)
    return trainer


@cache
def trainer_class(stage: str) -> Any:
    from trl import DPOTrainer, SFTTrainer

    parent: Any = SFTTrainer if stage == SFT else DPOTrainer

    class CriticTrainer(parent):  # type: ignore[misc]
        recipe: CriticRecipe
        base: str

        def create_optimizer(self, model: Any = None) -> Any:
            optimizer = super().create_optimizer(model)
            rate = self.recipe.projector_learning_rate
            if stage == SFT and rate and rate != self.recipe.learning_rate:
                _move_apart(optimizer, {id(one) for one in projector_parameters(self.model)}, rate)
            return optimizer

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            if self.recipe.trains != ADAPTER:
                super()._save(output_dir, state_dict)
                return
            folder = Path(output_dir or self.args.output_dir)
            write_adapter(self.accelerator.unwrap_model(self.model), folder, self.recipe, self.base)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            mine = self.accelerator.unwrap_model(model if model is not None else self.model)
            if self.recipe.trains == LORA:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
            elif self.recipe.trains == ADAPTER:
                put_weights(mine, Path(resume_from_checkpoint))
            else:
                saved = type(mine).from_pretrained(resume_from_checkpoint, dtype=mine.dtype)
                mine.load_state_dict(saved.state_dict())  # strict: every name, or an error

    return CriticTrainer


def write_adapter(model: Any, folder: Path, recipe: CriticRecipe, base: str) -> None:
    """ArtGPT-4's adapter alone, with the recipe that it was made by."""
    config = AdapterConfig(recipe.adapter_ratio, recipe.adapter_init)
    save_adapter(model, folder, config, base, recipe.to_dict())


def _move_apart(optimizer: Any, chosen: set[int], rate: float) -> None:
    """Parameters with these ids go into groups of another rate; the schedule scales every group alike."""
    for group in list(optimizer.param_groups):
        apart = [one for one in group["params"] if id(one) in chosen]
        if apart:
            group["params"] = [one for one in group["params"] if id(one) not in chosen]
            others = {name: value for name, value in group.items() if name not in ("params", "lr", "initial_lr")}
            optimizer.add_param_group({**others, "params": apart, "lr": rate})


def _arguments(stage: str, config: CriticConfig, folder: Path, dev: bool) -> dict[str, Any]:
    """Of TRL's configurations, whose own defaults are bf16 and gradient checkpointing, on CPUs too."""
    recipe = config.recipe
    micro = config.micro_batch or recipe.batch
    rates = (recipe.learning_rate, recipe.first_learning_rate, recipe.last_learning_rate)
    highest, first, last = rates if stage == SFT else (recipe.preference_learning_rate, 0.0, 0.0)
    schedule: dict[str, Any] = {"lr_scheduler_type": "cosine"}
    if first or last:
        shares = {"min_lr_rate": last / highest, "warmup_lr_rate": first / highest}
        schedule = {"lr_scheduler_type": "cosine_warmup_with_min_lr", "lr_scheduler_kwargs": shares}
    length = {"num_train_epochs": recipe.epochs if stage == SFT else recipe.preference_epochs}
    if recipe.steps and stage == SFT:
        length = {"max_steps": recipe.steps}
    return {
        "output_dir": str(folder),
        **length,
        **schedule,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": recipe.batch // micro,
        "learning_rate": highest,
        "warmup_steps": recipe.warmup if stage == SFT or recipe.warmup < 1 else 0.03,  # below 1 a share
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_gradient,
        "max_length": None,  # what is too long was left out; a cut could go through a picture's tokens
        "logging_steps": config.log_every,
        "logging_nan_inf_filter": False,  # it would hide them
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        **({"eval_strategy": "steps", "eval_steps": config.save_every, "prediction_loss_only": True} if dev else {}),
        "seed": config.seed,
        "bf16": config.used_precision == "bf16",
        "gradient_checkpointing": config.used_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if config.used_checkpointing else None,
        "use_cpu": config.device == "cpu",
        "report_to": "tensorboard" if config.tensorboard else "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,  # rows are opened by a transform
        "dataloader_num_workers": config.workers,
        "dataloader_pin_memory": config.device != "cpu",
    }


class CriticLog(TrainerCallback):  # type: ignore[misc]
    """Keeps every line of figures, ends a run whose loss is no number, and marks checkpoints that are whole."""

    def __init__(self, folder: Path, stage: str, say: Say) -> None:
        self.folder, self.stage, self.say = folder, stage, say

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or not {"loss", "eval_loss"} & set(logs):
            return
        loss = logs.get("loss", logs.get("eval_loss", 0.0))
        if not math.isfinite(loss):
            raise BeholderError(f"the loss is {loss} at step {state.global_step}", "a number", "Lower the rate.")
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        figures = ", ".join(f"{name} {logs[name]:.4g}" for name in SHOWN if name in logs)
        self.say(f"{self.stage} step {state.global_step}/{state.max_steps}: {figures}")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            (self.folder / f"checkpoint-{state.global_step}" / DONE).touch()
