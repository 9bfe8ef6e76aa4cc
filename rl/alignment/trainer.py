"""One alignment run's steps: a transformers Trainer whose loss is ranked DPO plus the pre-training term.

L = mean over queries of the preference loss + w_pt * the contrastive loss (Wen et al. 2024, 2406.09397; rl/losses.py)
+ w_a * the anchor + w_l * the logit anchor. Deliberate differences: the anchors (none by default), which hold captions
where the base had them and queries' logits where the reference has them; pairs are averaged within a query first; the
reference's logits are computed once, before the first step; the temperature is frozen; the student is given the query
as it was typed.

A step is the same whatever the number of processes and micro-batches, but for the contrastive term, whose batch is what
one micro-batch holds on all processes, and for the logit anchor, whose pictures are what one holds on each. Metrics
have TRL's names: rewards are beta * (policy - reference) logits.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from indexes.errors import BeholderError
from indexes.records.manifest import publish, write_json_atomic
from rl import losses
from rl.schedule import cycles

from .config import AlignConfig
from .retention import Budget, Figures, better, over_budget

if TYPE_CHECKING:
    from .augment import ImageReference
    from .batches import Collator, Plan
    from .model import AlignModel

BEST, HISTORY, WEIGHTS, DONE = "best.safetensors", "evaluations.json", "trained.safetensors", "complete"

REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins")


class AlignTrainer(Trainer):  # type: ignore[misc]
    """Steps, evaluations (each kept in `evaluations.json`), the best weights inside the budget, checkpoints."""

    control: Any
    model: AlignModel

    def __init__(
        self,
        model: AlignModel,
        plan: Plan,
        collator: Collator,
        config: AlignConfig,
        run: Path,
        *,
        scale: float,
        still: ImageReference | None,
        budget: Budget,
        measure: Callable[[], Figures],
        say: Callable[[str], None],
        select: str,
    ) -> None:
        optimizer = torch.optim.AdamW(model.groups, betas=(0.9, 0.98))
        schedule = cycles(optimizer, [(config.steps, 1.0)], config.warmup)
        arguments = _arguments(config, run)
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=plan,
            data_collator=collator,
            optimizers=(optimizer, schedule),
        )
        self.model_accepts_loss_kwargs = True  # have the Trainer count the queries of a step over all its parts
        self.config, self.run, self.scale, self.budget = config, run, scale, budget
        self.measure, self.say, self.select, self.still = measure, say, select, still
        self.history: list[dict[str, Any]] = _read_history(run)
        self._sums: dict[str, Tensor] = {}
        self._added = 0
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(config, say))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """A scalar whose sum over micro-batches, and mean over processes, is the step's loss; so are its gradients."""
        config, prefer, world = self.config, inputs["prefer"], self.accelerator.num_processes
        texts, pictures = model(inputs["texts"], inputs["pictures"])
        queries, captions = texts.split([len(prefer), len(texts) - len(prefer)])
        if self.still is not None:
            inputs = {**inputs, **self._as_changed(inputs)}
        policy = self.scale * torch.einsum("bd,bld->bl", queries, pictures[inputs["list_pictures"]])
        per_query = preference_loss(config, policy, inputs)
        count = None if num_items_in_batch is None else float(num_items_in_batch)
        preference = losses.mean_over_queries(per_query, prefer, count) * world
        self._add(reward_sums(config.beta, policy.detach(), inputs["reference"], prefer))
        loss, shown = preference, {"loss/preference": preference.detach() * config.accumulate}
        if config.contrastive_weight:
            contrastive = losses.contrastive_loss(
                gathered(pictures[inputs["caption_pictures"]]),
                gathered(captions),
                self.scale,
                gathered(inputs["keys"]),
                config.contrastive_smoothing,
            )
            shown["loss/contrastive"] = contrastive.detach()
            # Every process has the whole value, but the gradient of its own rows alone: it counts once for each
            counted = contrastive.detach() + world * (contrastive - contrastive.detach())
            loss = loss + config.contrastive_weight * counted / config.accumulate
        if config.anchor_weight:
            parts = [losses.anchor_loss(captions, inputs["anchor_texts"])] if config.trains_text else []
            if config.trains_image:
                parts.append(losses.anchor_loss(pictures[inputs["caption_pictures"]], inputs["anchor_pictures"]))
            anchor = torch.stack(parts).sum()
            shown["loss/anchor"] = anchor.detach()
            loss = loss + config.anchor_weight * anchor / config.accumulate
        if config.logit_anchor_weight:
            beside = pictures[inputs["caption_pictures"]]
            before = inputs["anchor_pictures"] if config.trains_image else beside
            held = losses.logit_anchor_loss(
                self.scale * queries @ beside.T, self.scale * inputs["base_queries"] @ before.T
            )
            shown["loss/logit_anchor"] = held.detach()
            loss = loss + config.logit_anchor_weight * held / config.accumulate
        self._add(shown)
        self._added += 1
        return (loss, {}) if return_outputs else loss

    def _as_changed(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The reference's logits, and the anchors, of the pictures as this batch has them."""
        assert self.still is not None
        seen = self.still(inputs["pictures"])
        logits = self.scale * torch.einsum("bd,bld->bl", inputs["base_queries"], seen[inputs["list_pictures"]])
        return {"reference": logits, "anchor_pictures": seen[inputs["caption_pictures"]]}

    def _add(self, figures: dict[str, Tensor]) -> None:
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means, since the last line, of rewards and parts of the loss, over processes too."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise BeholderError(
                f"the loss is {logs['loss']} after step {self.state.global_step}",
                "a number",
                "Lower the learning rates or --max-gradient.",
            )
        if self._added and "loss" in logs:
            names = sorted(self._sums)
            sums = self.accelerator.reduce(torch.stack([self._sums[name] for name in names]), "sum").tolist()
            found = dict(zip(names, sums, strict=True))
            pairs = max(1.0, found.pop("pairs"))
            parts = self._added * self.accelerator.num_processes
            logs.update({name: value / (pairs if name in REWARDS else parts) for name, value in found.items()})
            self._sums, self._added = {}, 0
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Dev figures beside the base's; keeps the best weights inside the budget; ends a run that stays over it."""
        figures: Any = [None]
        if self.args.process_index == 0:
            figures = [self.measure()]
            entry = {"step": self.state.global_step, **figures[0], "inside": self.budget.inside(figures[0])}
            best = max((one for one in self.history if one.get("best")), key=lambda one: one["step"], default=None)
            entry["best"] = entry["inside"] and better(figures[0], best, self.select)
            if entry["best"]:
                write_tensors(self.run / BEST, self.model.trained())
            self.history.append(entry)
            write_json_atomic(self.run / HISTORY, {"base": dict(self.budget.base), "steps": self.history})
            self.say(f"step {self.state.global_step}/{self.config.steps}: {beside(figures[0], self.budget.base)}")
        if self.accelerator.num_processes > 1:
            distributed.broadcast_object_list(figures)
            if self.args.process_index:
                self.history.append(dict(figures[0]))
        if over_budget(self.history, self.budget) >= self.config.patience:
            self.say(f"stopped: hit_rate@10 lost more than {self.budget.most:g} points {self.config.patience} times")
            self.control.should_training_stop = True
        told = {f"eval_{name}": value for name, value in figures[0].items()}
        told |= {f"eval_base_{name}": value for name, value in self.budget.base.items()}
        self.log(dict(told))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, told)
        return told

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Only what moves, and nothing pickled."""
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            write_tensors(folder / WEIGHTS, self.model.trained())

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        from safetensors.torch import load_file

        self.model.load_trained(load_file(Path(resume_from_checkpoint) / WEIGHTS))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Marks the checkpoint when all of it is on the disk; one cut short is never resumed, and leaves room again."""
        folder = self.run / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                (folder / DONE).touch()
        except Exception as error:  # a full disk is an OSError, a RuntimeError or a SafetensorError, by the file
            last = last_checkpoint(self.run)
            shutil.rmtree(folder, ignore_errors=True)
            raise BeholderError(
                f"{folder} cannot be written ({str(error).splitlines()[0][:200]})",
                "room on the disk",
                f"Make room and run again: it goes on from {last.name if last else 'the start'}.",
            ) from error


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Logs, evaluates and saves at the run's own intervals and at its last step; prints the losses."""

    def __init__(self, config: AlignConfig, say: Callable[[str], None]) -> None:
        self.config, self.say = config, say

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        due = state.global_step % self.config.evaluate_every == 0 or state.global_step == self.config.steps
        control.should_log = due or state.global_step % max(1, self.config.evaluate_every // 5) == 0
        control.should_evaluate = control.should_save = due
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            parts = ("preference", "contrastive", "anchor", "logit_anchor")
            shown = ("loss", *(f"loss/{part}" for part in parts), *REWARDS[2:])
            told = ", ".join(f"{name} {logs[name]:.3f}" for name in shown if name in logs)
            self.say(f"step {state.global_step}/{self.config.steps}: {told}")


def preference_loss(config: AlignConfig, policy: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """(B,) of policy logits (B, L) and a batch of Collator's, by the loss that the configuration names."""
    reference, prefer, beta = inputs["reference"], inputs["prefer"], config.beta
    if config.loss == "ranked-dpo":
        return losses.ranked_dpo(policy, reference, prefer, beta=beta, smoothing=config.smoothing)
    if config.loss == "hinge":
        return losses.ranked_dpo(policy, reference, prefer, beta=beta, hinge=True)
    if config.loss == "ipo":
        return losses.ipo(policy, reference, prefer, beta=beta)
    if config.loss == "list-mle":
        return losses.plackett_luce(policy, inputs["chains"])
    moved = beta * (policy.float() - reference)
    if config.loss == "plackett-luce":
        return losses.plackett_luce(moved, inputs["chains"])
    return losses.lipo_lambda(moved, inputs["levels"], prefer)


def reward_sums(beta: float, policy: Tensor, reference: Tensor, prefer: Tensor) -> dict[str, Tensor]:
    """TRL's metrics as sums over all pairs of a batch, and `pairs`, their number: the reward of the chosen and of the
    rejected picture, whether the chosen one's is higher, their difference."""
    moved = beta * (policy - reference)
    chosen, rejected = (moved * prefer.sum(2)).sum(), (moved * prefer.sum(1)).sum()
    right = ((moved[:, :, None] > moved[:, None, :]) & prefer).sum()
    sums = dict(zip(REWARDS, (chosen, rejected, right.float(), chosen - rejected), strict=True))
    return {**sums, "pairs": prefer.sum().float()}


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes in their order; gradients flow to this process's own."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, rows.detach().contiguous())
    parts[distributed.get_rank()] = rows
    return torch.cat(parts)


def write_tensors(path: Path, state: dict[str, Tensor]) -> None:
    """Atomic: a disk that is full leaves the file that was there."""
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.tmp")
    save_file({name: value.cpu().contiguous().clone() for name, value in state.items()}, temporary)
    publish(temporary, path)


def beside(figures: Figures, base: Any) -> str:
    """Figures with the base's in brackets."""
    return ", ".join(f"{name} {value:.2f} ({base[name]:.2f})" for name, value in figures.items() if name in base)


def last_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint that is whole."""
    found = [folder for folder in run.glob("checkpoint-*") if (folder / DONE).is_file()]
    return max(found, key=lambda folder: int(folder.name.partition("-")[2]), default=None)


def _read_history(run: Path) -> list[dict[str, Any]]:
    """Evaluations up to the last checkpoint; later ones are made again."""
    checkpoint = last_checkpoint(run)
    if checkpoint is None or not (run / HISTORY).is_file():
        return []
    step = int(checkpoint.name.partition("-")[2])
    return [one for one in json.loads((run / HISTORY).read_bytes())["steps"] if one["step"] <= step]


def _arguments(config: AlignConfig, run: Path) -> Any:
    bf16 = config.precision == "bf16" or (config.precision == "auto" and config.device.startswith("cuda"))
    arguments = TrainingArguments(
        output_dir=str(run),
        max_steps=config.steps,
        per_device_train_batch_size=queries_each(config),
        gradient_accumulation_steps=config.accumulate,
        train_sampling_strategy="sequential",  # the plan is the order
        max_grad_norm=config.max_gradient,
        bf16=bf16,
        use_cpu=config.device == "cpu",
        seed=config.seed,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it would hide them
        eval_strategy="no",
        save_strategy="no",  # _Steps says when
        save_total_limit=2,
        report_to="tensorboard" if config.tensorboard else "none",
        remove_unused_columns=False,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=config.device.startswith("cuda"),
    )
    if arguments.n_gpu > 1:  # one process is one GPU: the Trainer would split each batch over all it sees
        arguments._n_gpu = 1
    return arguments


def queries_each(config: AlignConfig) -> int:
    """Queries in a micro-batch of one process. Raises BeholderError where they do not come out even."""
    parts = int(os.environ.get("WORLD_SIZE", "1")) * config.accumulate
    if config.queries % parts:
        raise BeholderError(
            f"{config.queries} queries for {parts} parts of a step", "a multiple of it", "Change --queries."
        )
    return config.queries // parts
