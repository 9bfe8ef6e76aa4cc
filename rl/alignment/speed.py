"""How much of a training step is ours: whole steps beside forward, backward and optimizer of the towers alone.

A whole step holds collation, the losses, and a line of the log, which a run writes only every few steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.measures.stats import Interval, bootstrap_median

from .config import AlignConfig

WARM = 2  # steps that are not counted


@dataclass(frozen=True)
class Speed:
    """Seconds of whole steps of the trainer, and of the same batches through the towers alone: forward, backward of a
    plain sum, optimizer."""

    whole: tuple[float, ...]
    towers: tuple[float, ...]

    @property
    def overhead(self) -> Interval:
        """The share of a step that the towers do not take (collation, losses, logging): the median over pairs of
        steps, 95 %. Below 0 where noise is larger than it."""
        return bootstrap_median(1 - np.array(self.towers) / np.array(self.whole), seed=0)


def measure_speed(
    config: AlignConfig, data: Path | None, cache: Path, repeats: int, say: Callable[[str], None]
) -> Speed:
    """Times `repeats` steps each way, by turns and in both orders so that both meet the same load; medians."""
    import torch

    from .align import prepare
    from .batches import Plan
    from .retention import Budget
    from .trainer import AlignTrainer

    config = replace(config, steps=repeats + WARM, accumulate=1, tensorboard=False)
    ready = prepare(config, data, cache, say)
    plan = Plan(config, ready.data)
    trainer = AlignTrainer(
        ready.model,
        plan,
        ready.collator,
        config,
        cache / "run",
        scale=ready.scale,
        still=ready.still,
        budget=Budget({}, 0),
        measure=dict,
        say=say,
        select="",
    )
    model, device = ready.model, ready.encoder.device
    optimizer = trainer.optimizer
    bf16 = bool(trainer.args.bf16)

    def batch(step: int) -> dict[str, torch.Tensor]:
        places = range(step * config.queries, (step + 1) * config.queries)
        return ready.collator([plan[place] for place in places])

    def whole(step: int) -> None:
        loss = trainer.training_step(prepared, batch(step), torch.tensor(config.queries))
        update()
        trainer.log({"loss": float(loss)})

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_gradient)
        optimizer.step()
        optimizer.zero_grad()

    def towers(inputs: dict[str, torch.Tensor]) -> None:
        model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            texts, pictures = model(inputs["texts"].to(device), inputs["pictures"].to(device))
        (texts.sum() + pictures.sum()).backward()
        update()

    prepared = trainer.accelerator.prepare(model)
    taken: dict[str, list[float]] = {"whole": [], "towers": []}
    for step in range(repeats + WARM):
        held = batch(step)
        turns: list[tuple[str, Callable[[], None]]] = [
            ("whole", lambda step=step: whole(step)),  # type: ignore[misc]
            ("towers", lambda held=held: towers(held)),  # type: ignore[misc]
        ]
        for name, run in turns if step % 2 else turns[::-1]:
            began = time.perf_counter()
            run()
            _wait(device.type)
            taken[name].append(time.perf_counter() - began)
    return Speed(tuple(taken["whole"][WARM:]), tuple(taken["towers"][WARM:]))


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
