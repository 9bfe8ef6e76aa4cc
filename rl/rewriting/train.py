"""Training a rewriter: TRL's trainers on our rows and rewards, resumed exactly; a folder that `--rewrite hf:` takes.

RUN holds config.json, checkpoint-N (whole where it has the file `complete`), log.jsonl (a line of figures for every
--log-every steps) and model/: weights, tokenizer and rewriter.json, which says what it is asked and what made it. Of
GRPO also rows/: the queries as a data set, for TRL's own command line.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file, write_bytes_atomic, write_json_atomic
from retrieval.encoding.encoders import check_device
from retrieval.language.local_model import identity_of
from retrieval.rewriting.model import RECORD, REWRITER, REWRITER_FORMAT
from rl.rewards import Rewards, chosen

from .config import DpoConfig, GrpoConfig, RewriterConfig, SftConfig
from .data import ARM, questions, ranked_pairs, taught, write_rows
from .reward_config import RewardConfig

CONFIG, LOG, DONE, MODEL, ROWS = "config.json", "log.jsonl", "complete", "model", "rows"
Say = Callable[[str], None]


def train_rewriter(
    config: RewriterConfig, run: Path, *, rewards: Rewards | None = None, say: Say | None = None
) -> Path:
    """The folder of the trained model. Called again it goes on at the last checkpoint, or returns what is finished.

    Raises FormatError for a run that was begun with other settings; BeholderError where the loss is no number.
    """
    say = say or (lambda line: None)
    stage = {SftConfig: "sft", GrpoConfig: "grpo", DpoConfig: "dpo"}[type(config)]  # type: ignore[index]
    run.mkdir(parents=True, exist_ok=True)
    _keep_settings(run, {"stage": stage, **config.to_dict(), "inputs": _inputs(config)})
    if (run / MODEL / RECORD).is_file():
        say(f"{run / MODEL} is finished")
        return run / MODEL
    if config.device != "cpu":
        check_device(config.device)
    _quiet(config)
    model, tokenizer = load_causal(config.model)
    trainer = _trainer(config, run, model, tokenizer, rewards, say)
    last = last_checkpoint(run)
    _cut_log(run, int(last.name.partition("-")[2]) if last else 0)
    if last:
        say(f"going on from {last.name}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    _export(config, stage, run, trainer, tokenizer)
    return run / MODEL


def load_causal(name: str) -> tuple[Any, Any]:
    """A causal model in float32 and its tokenizer. Raises BeholderError for one that cannot be loaded or talked to."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    identity_of(name, "a causal model of transformers")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype="float32")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BeholderError(f"{name} cannot be loaded ({reason[:160]})", "a causal model of transformers") from error
    if not tokenizer.chat_template:
        raise BeholderError(f"{name} has no chat template", "a model that answers questions", "Use an instruct model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def last_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint that is whole."""
    found = [folder for folder in run.glob("checkpoint-*") if (folder / DONE).is_file()]
    return max(found, key=lambda folder: int(folder.name.partition("-")[2]), default=None)


def read_log(run: Path) -> list[dict[str, Any]]:
    """The figures of a run, by step."""
    path = run / LOG
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _trainer(config: RewriterConfig, run: Path, model: Any, tokenizer: Any, rewards: Rewards | None, say: Say) -> Any:
    from datasets import Dataset

    shared: dict[str, Any] = {
        "model": model,
        "processing_class": tokenizer,
        "callbacks": [_Log(run, config.steps, say)],
        "peft_config": _adapters(config),
    }
    if isinstance(config, SftConfig):
        from trl import SFTConfig, SFTTrainer

        found = taught([Path(table) for table in config.rewrites])
        say(f"{len(found.rows)} rewrites; {found.without_query} left out that lack their query's words")
        arguments = SFTConfig(**_arguments(config, run), max_length=None, packing=False)
        trainer = SFTTrainer(args=arguments, train_dataset=Dataset.from_list(found.rows), **shared)
    elif isinstance(config, GrpoConfig):
        from trl import GRPOConfig, GRPOTrainer

        mine = rewards or Rewards(RewardConfig.read(Path(config.rewards)))
        rows = questions(Path(config.questions))
        say(f"{len(rows)} queries, a corpus of {len(mine.corpus):,} pictures")
        write_rows(run / ROWS / "train.jsonl", rows)
        arguments = GRPOConfig(
            **_arguments(config, run),
            num_generations=config.group,
            max_completion_length=config.answer_tokens,
            temperature=config.temperature,
            beta=config.beta,
            epsilon=config.epsilon,
            scale_rewards=config.scale,
            reward_weights=list(config.weight) or None,
            use_vllm=config.vllm,
        )
        functions = chosen(mine, config.reward)
        dataset = Dataset.from_list(rows)
        trainer = GRPOTrainer(args=arguments, train_dataset=dataset, reward_funcs=functions, **shared)
    else:
        from trl import DPOConfig, DPOTrainer

        assert isinstance(config, DpoConfig)
        rows = ranked_pairs(Path(config.ranked), config.margin)
        say(f"{len(rows)} pairs")
        arguments = DPOConfig(**_arguments(config, run), beta=config.beta, max_length=None)
        trainer = DPOTrainer(args=arguments, train_dataset=Dataset.from_list(rows), **shared)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(config: RewriterConfig, run: Path) -> dict[str, Any]:
    """Of TRL's configurations, whose own defaults are bf16 and gradient checkpointing, on CPUs too."""
    return {
        "output_dir": str(run),
        "max_steps": config.steps,
        "per_device_train_batch_size": config.batch // config.accumulate,
        "gradient_accumulation_steps": config.accumulate,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup,  # below 1 it is a share
        "max_grad_norm": config.max_gradient,
        "weight_decay": config.weight_decay,
        "logging_steps": config.log_every,
        "logging_nan_inf_filter": False,  # it would hide them
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "seed": config.seed,
        "bf16": config.bf16,
        "gradient_checkpointing": config.device != "cpu",
        "use_cpu": config.device == "cpu",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": config.device != "cpu",
    }


def _adapters(config: RewriterConfig) -> Any:
    if not config.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


class _Log(TrainerCallback):  # type: ignore[misc]
    """Keeps every line of figures, ends a run whose loss is no number, and marks checkpoints that are whole."""

    def __init__(self, run: Path, steps: int, say: Say) -> None:
        self.run, self.steps, self.say = run, steps, say

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise BeholderError(
                f"the loss is {logs['loss']} at step {state.global_step}", "a number", "Lower the rate."
            )
        with (self.run / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        names = "loss", "reward", "rewards/rank_gain/mean", "kl", "entropy", "rewards/accuracies"
        told = ", ".join(f"{name} {logs[name]:.4f}" for name in names if name in logs)
        self.say(f"step {state.global_step}/{self.steps}: {told}")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            (self.run / f"checkpoint-{state.global_step}" / DONE).touch()


def _keep_settings(run: Path, settings: dict[str, Any]) -> None:
    path = run / CONFIG
    if not path.is_file():
        write_json_atomic(path, settings)
        return
    kept = json.loads(path.read_bytes())
    wanted = json.loads(json.dumps(settings))
    changed = sorted(key for key in {*kept, *wanted} if kept.get(key) != wanted.get(key))
    if changed:
        found = f"{run} was begun with another {', '.join(changed)}"
        raise FormatError(found, "the same settings", "Use another folder.")


def _inputs(config: RewriterConfig) -> dict[str, str]:
    """sha256 of the files that a run reads, by the settings that name them. Raises BeholderError for a missing one."""
    found = {}
    for name in ("rewrites", "questions", "rewards", "ranked"):
        value = getattr(config, name, ())
        for path in [value] if isinstance(value, str) else value:
            if not Path(path).is_file():
                raise BeholderError(f"there is no {name} {path}", "a file", f"Check --{name}.")
            found[f"{name} {Path(path).name}"] = sha256_file(Path(path))
    return found


def _cut_log(run: Path, step: int) -> None:
    """Lines after the checkpoint go: those steps are made again."""
    kept = [one for one in read_log(run) if one["step"] <= step]
    write_bytes_atomic(run / LOG, "".join(json.dumps(one) + "\n" for one in kept).encode())


def _export(config: RewriterConfig, stage: str, run: Path, trainer: Any, tokenizer: Any) -> None:
    """The model's folder, whole or not there."""
    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if config.lora_rank:
        model = model.merge_and_unload()
    temporary = run / f".{MODEL}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    record = {
        "kind": REWRITER,
        "format": REWRITER_FORMAT,
        "arm": ARM.name,
        "prompt": ARM.prompt.name,
        "prompt_sha256": ARM.prompt.sha256,
        "stage": stage,
        "base": Path(config.model).name,
        "base_identity": identity_of(config.model, "a model"),
        "settings": {name: value for name, value in config.to_dict().items() if not isinstance(value, str)},
        "inputs": _inputs(config),
    }
    write_json_atomic(temporary / RECORD, record)
    temporary.rename(run / MODEL)


def _quiet(config: RewriterConfig) -> None:
    import torch
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    disable_progress_bars()
    if config.threads:
        torch.set_num_threads(config.threads)
