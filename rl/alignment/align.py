"""A run of alignment from tables to a CHECKPOINT: reads, measures the base, trains, chooses on dev, writes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.manifest import write_json_atomic
from indexes.records.shards import EncoderRecord
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import check_device, load_encoder
from rl.processes import Rank0First, join_processes

from .config import AlignConfig

if TYPE_CHECKING:
    from torch import Tensor

    from .augment import ImageReference
    from .batches import Collator
    from .data import AlignData
    from .model import AlignModel
    from .retention import Figures, Measure

Say = Callable[[str], None]
Extra = Callable[[Encoder], Mapping[str, float]]  # figures of one's own, on dev data, of the encoder as it is


@dataclass(frozen=True)
class AlignReport:
    """Dev figures of the base and of what was chosen: its step, its weight against the base, the folder it lies in."""

    base: dict[str, float]
    tuned: dict[str, float]
    alpha: float
    step: int
    seconds: float
    model: Path


@dataclass(frozen=True)
class Prepared:
    """All that a run reads or computes once: the data, the model before its first step, the reference's logits."""

    encoder: Encoder
    record: EncoderRecord  # of the base
    data: AlignData
    model: AlignModel
    measured: Measure
    collator: Collator
    scale: float  # 1 / temperature
    still: ImageReference | None = None  # of pictures that are changed at random


def align(
    config: AlignConfig,
    run: Path,
    data: Path | None = None,
    *,
    cache: Path | None = None,
    say: Say | None = None,
    extra: Extra | None = None,
    select: str = "pair_accuracy",
) -> AlignReport:
    """Tunes config.base on config.preferences and leaves the CHECKPOINT `run/model`.

    Called again it goes on where it stopped, to the same weights. `data` holds the sources of captions, `cache` what
    is computed once (default: in the run). `extra` adds dev figures to every evaluation, and `select` names the one
    that is chosen by (higher is better). Under torchrun the processes share each step. Raises ConditionFailed where
    no weights, nor any between them and the base, keep the retention within config.max_retention_loss.
    """
    from rl.disk import room_needed

    with room_needed(f"Make room and run again: {run} goes on from its last checkpoint."):
        return _align(config, run, data, cache or run / "cache", say, extra, select)


def _align(
    config: AlignConfig, run: Path, data: Path | None, cache: Path, say: Say | None, extra: Extra | None, select: str
) -> AlignReport:
    from safetensors.torch import load_file

    from rl.towers import head_dropout

    from .batches import Plan
    from .checkpoint_folder import write_checkpoint_folder
    from .interpolate import choose, sweep
    from .retention import Budget, over_budget
    from .trainer import BEST, AlignTrainer, last_checkpoint

    began = time.perf_counter()
    rank, _ = join_processes(config.device)
    say = say if say and rank == 0 else lambda line: None
    run.mkdir(parents=True, exist_ok=True)
    with Rank0First(*join_processes(config.device)):
        _check_same(run, config)
    if config.tensorboard:
        _check_tensorboard()
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run / "tensorboard")

    ready = prepare(config, data, cache, say)
    model = ready.model

    def measure() -> Figures:
        figures = ready.measured(model)
        return {**figures, **extra(ready.encoder)} if extra else figures

    base = measure()
    say(f"base: {', '.join(f'{name} {value:.2f}' for name, value in base.items())}")
    if extra and select not in base:
        raise BeholderError(f"no figure is called {select}", ", ".join(base), "Choose by one of them.")
    budget = Budget(base, config.max_retention_loss)
    base_state = {name: value.cpu() for name, value in model.plain_state().items()}
    trainer = AlignTrainer(
        model,
        Plan(config, ready.data),
        ready.collator,
        config,
        run,
        scale=ready.scale,
        still=ready.still,
        budget=budget,
        measure=measure,
        say=say,
        select=select,
    )
    checkpoint = last_checkpoint(run)
    if over_budget(trainer.history, budget) < config.patience:
        with head_dropout(model.towers, config.drop_input, config.drop_hidden):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    elif checkpoint is not None:
        trainer._load_from_checkpoint(str(checkpoint))

    best = max((one for one in trainer.history if one.get("best")), key=lambda one: one["step"], default=None)
    step = best["step"] if best else trainer.state.global_step
    if rank:  # the first process chooses and writes
        return AlignReport(base, {}, 0.0, step, time.perf_counter() - began, run / "model")
    if best:
        model.load_trained(load_file(run / BEST))
    tuned_state = {name: value.cpu() for name, value in model.plain_state().items()}
    plain = load_encoder(config.base, config.device)
    swept = sweep(base_state, tuned_state, config.alphas, _measure_of(plain, config, ready.measured, extra))
    for alpha, figures in swept:
        told = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        say(f"alpha {alpha:.2f}: {told}{'' if budget.inside(figures) else ' (over the budget)'}")
    chosen = choose(swept, budget, select)
    report = {"base": base, "sweep": [{"alpha": alpha, **figures} for alpha, figures in swept], "step": step}
    if chosen is None:
        write_json_atomic(run / "report.json", {**report, "chosen": None})
        raise ConditionFailed(
            f"every weight tried loses more than {config.max_retention_loss:g} points of hit_rate@10",
            "a checkpoint inside --max-retention-loss",
            "Lower the learning rate, raise --contrastive-weight, or add smaller --alphas.",
        )
    alpha, figures = chosen
    folder = run / "model"
    write_checkpoint_folder(folder, plain, base_state, tuned_state, alpha, config, ready.record, base, figures, step)
    write_json_atomic(run / "report.json", {**report, "chosen": {"alpha": alpha, **figures}})
    return AlignReport(base, figures, alpha, step, time.perf_counter() - began, folder)


def prepare(config: AlignConfig, data: Path | None, cache: Path, say: Say) -> Prepared:
    """Reads the tables, loads the base, and computes once what stays: pictures, frozen texts, reference logits."""
    import numpy as np
    import torch

    from .anchors import Rows, base_anchors
    from .augment import ImageReference
    from .batches import Augment, Collator, tokens_of
    from .data import read_data
    from .model import AlignModel
    from .retention import Measure, reference_logits
    from .states import picture_states

    check_device(config.device)
    if config.device.startswith("cuda"):  # the Trainer takes the current GPU, whatever the model lies on
        torch.cuda.set_device(int(config.device.partition(":")[2] or os.environ.get("LOCAL_RANK", "0")))
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)  # of adapters and dropout
    encoder = load_encoder(config.base, config.device)
    record = encoder.record
    contents = read_data(config, data, cache, say, record.image_fingerprint)
    model = AlignModel(encoder, config)
    scale = 1 / config.temperature if config.temperature else float(encoder.model.logit_scale.detach().exp())
    texts = tokens_of(encoder, contents.texts)
    with Rank0First(*join_processes(config.device)):
        gallery = contents.gallery
        pictures: Any
        if config.frozen_blocks:
            pictures = picture_states(gallery, model, encoder, cache, say)
        else:
            pictures = gallery.pixels(encoder, say) if config.trains_image else gallery.vectors(encoder, say)
        if not config.trains_text or (config.text_lr == 0 and model.towers.has_heads):
            texts = _features(model, texts, contents, record.text_fingerprint, cache, say)
    measured = Measure(contents, texts, pictures)
    reference = reference_logits(measured, model, contents.train, scale)
    with Rank0First(*join_processes(config.device)):
        anchors = base_anchors(config, contents, measured, model, record, cache, say) if config.uses_anchors else None
    augment, still, queries = None, None, None
    if config.augment or config.logit_anchor_weight:
        numbers = np.unique([one.reference for one in contents.train]).astype(np.int64)
        queries = Rows(numbers, torch.from_numpy(measured.text_vectors(model, numbers)))
    if config.augment:
        augment, still = Augment(config.augment, config.seed), ImageReference(encoder)
    collator = Collator(contents, texts, pictures, reference, anchors, augment, queries, once=config.trains_image)
    return Prepared(encoder, record, contents, model, measured, collator, scale, still)


def _features(
    model: AlignModel, tokens: Tensor, contents: AlignData, fingerprint: str, cache: Path, say: Say
) -> Tensor:
    """float (T, F) of a frozen text tower, computed once into the cache: captions in one file and the lists' queries in
    another, so that runs of other lists find the captions again, in whatever order."""
    import torch

    from rl.features import cache_name, texts_once

    texts, device = contents.texts, next(model.parameters()).device
    captions = {int(text) for text in contents.kept.texts}.union(*(one.captions for one in contents.captioned))
    parts, numbers = [], []
    for rows in (captions, set(range(len(texts))) - captions):
        order = sorted(rows, key=texts.__getitem__)
        if not order:
            continue
        path = cache / cache_name("texts", fingerprint, [texts[row] for row in order])
        if not path.is_file():
            say(f"the text tower is frozen: reading {len(order):,} texts once")
        parts.append(texts_once(path, tokens[order], lambda some: model.eval().text_features(some.to(device))))
        numbers += order
    return torch.cat(parts)[torch.tensor(numbers).argsort()]


def _measure_of(
    encoder: Encoder, config: AlignConfig, measured: Measure, extra: Extra | None
) -> Callable[[Mapping[str, Tensor]], Figures]:
    """Figures of weights under open_clip's own names, put into `encoder`."""
    from .model import AlignModel

    model = AlignModel(encoder, replace(config, lora_rank=0))

    def measure(state: Mapping[str, Tensor]) -> Figures:
        encoder.model.load_state_dict(state)
        figures = measured(model)
        return {**figures, **extra(encoder)} if extra else figures

    return measure


def _check_same(run: Path, config: AlignConfig) -> None:
    """Raises FormatError where the folder holds a run of other settings."""
    path = run / "config.json"
    if not path.is_file():
        write_json_atomic(path, config.to_dict())
        return
    old, new = AlignConfig.read(path).to_dict(), config.to_dict()
    changed = sorted(name for name in new if new[name] != old[name])
    if changed:
        raise FormatError(
            f"{run} was begun with another {', '.join(changed)}", "the same settings", "Use another folder."
        )


def _check_tensorboard() -> None:
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        raise BeholderError("TensorBoard is not installed", "the extra train", "Run `pip install 'beholder[train]'`.")
