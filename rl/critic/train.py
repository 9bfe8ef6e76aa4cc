"""Training a critic: supervised on conversations, then by DPO on preference pairs; resumed, and left as a folder that
`--critic` takes.

RUN holds config.json, pictures.json (their sizes), sft/ and dpo/ with checkpoint-N (whole where it has the file
`complete`) and log.jsonl, tensorboard/ if asked for, and model/: what was trained, the processor, and critic.json.
Where both stages are run, sft/model/ is what DPO began with and is compared to.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.tables.evaluation import refuse_evaluation
from benchmarks.tables.terms import refuse_training
from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_file, write_bytes_atomic, write_json_atomic
from retrieval.conversations import Reading, read_conversations
from retrieval.encoding.encoders import check_device
from retrieval.language.local_model import identity_of
from retrieval.language.trained import ADAPTER, LORA, RECORD, WANTED, TrainedCritic
from rl.disk import room_needed
from rl.rewriting.train import CONFIG, LOG, MODEL, last_checkpoint, read_log

from .config import CriticConfig
from .model import count_parameters, load_for_training, pad_to_square
from .rows import Rows, as_dataset, make_rows, picture_sizes
from .trainer import DPO, SFT, Say, make_trainer, write_adapter

PICTURES = "pictures.json"
Progress = Callable[[int, int], None]


def train_critic(config: CriticConfig, run: Path, *, say: Say | None = None, progress: Progress | None = None) -> Path:
    """The folder of the trained critic. Called again it goes on at the last checkpoint, or returns what is finished.

    Raises FormatError for a run that was begun with other settings; BeholderError where the loss is no number, nothing
    is left to train on, or more than one process was started.
    """
    say = say or (lambda line: None)
    _check(config)
    run.mkdir(parents=True, exist_ok=True)
    inputs = _inputs(config)
    _keep_settings(run, {**config.to_dict(), "base_identity": identity_of(config.base, WANTED), "inputs": inputs})
    if (run / MODEL / RECORD).is_file():
        say(f"{run / MODEL} is finished")
        return run / MODEL
    _quiet(config, run)
    readings = {
        stage: read_conversations(Path(file), Path(config.pictures))
        for stage, file in ((SFT, config.conversations), (DPO, config.preferences))
        if file
    }
    _refuse_evaluation(config, readings.values())
    shown = {path for reading in readings.values() for one in reading.conversations for path in one.pictures}
    sizes = picture_sizes(shown, Path(config.pictures), run / PICTURES, progress)
    start = config.start
    with room_needed(f"Make room and call it again: {run} goes on."):
        for stage, reading in readings.items():
            out = run / MODEL if stage == list(readings)[-1] else run / stage / MODEL
            if not (out / RECORD).is_file():
                _train(stage, config, run / stage, out, start, reading, sizes, inputs, say)
            start = str(out)
    return run / MODEL


def _refuse_evaluation(config: CriticConfig, readings: Iterable[Reading]) -> None:
    """Raises BeholderError for files made from what is kept for evaluation, and for its pictures, whoever made them."""
    shown: set[str] = set()
    for reading in readings:
        for name in (reading.origin.get("table"), reading.origin.get("file")):
            if isinstance(name, str):
                refuse_training(Path(name))  # by its name: the table itself may be elsewhere
        shown |= {path for one in reading.conversations if one.split == config.split for path in one.pictures}
    files = [(path, Path(config.pictures) / path) for path in sorted(shown)]
    refuse_evaluation((path, sha256_file(file)) for path, file in files if file.is_file())  # others are counted below


def _train(
    stage: str, config: CriticConfig, folder: Path, out: Path, start: str, reading: Reading, sizes: Any,
    inputs: dict[str, str], say: Say,
) -> None:  # fmt: skip
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)  # of what is put in: LoRA's and the adapter's first numbers
    recipe = config.recipe
    model, processor = load_for_training(config.base, start, recipe, config.used_precision)
    if recipe.pad_to_square and not pad_to_square(processor):
        say(f"pictures are not padded to squares: {type(processor.image_processor).__name__} has its own way")
    for line in reading.told():
        say(f"{stage}: {line}")
    rows, dev = _rows(stage, config, reading, sizes, processor)
    for line in rows.told():
        say(f"{stage}: {line}")
    trained, whole = count_parameters(model)
    say(f"{stage}: {len(rows.rows):,} rows; {trained:,} of {whole:,} parameters are trained ({recipe.trains})")
    reference = None
    if stage == DPO and recipe.trains != LORA:  # peft keeps a copy of its own
        # Loaded, not copied: hooks of a copy would still call the first model's adapters.
        reference, _ = load_for_training(config.base, start, recipe, config.used_precision)
        if not start and recipe.trains == ADAPTER:
            reference.load_state_dict(model.state_dict())
        reference.requires_grad_(False)
    trainer = make_trainer(
        stage,
        config,
        folder,
        model,
        processor,
        as_dataset(rows.rows),
        as_dataset(dev.rows) if dev is not None else None,
        reference=reference,
        say=say,
    )
    last = last_checkpoint(folder)
    _cut_log(folder, int(last.name.partition("-")[2]) if last else 0)
    if last:
        say(f"{stage}: going on from {last.name}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    _export(stage, config, trainer, processor, out, inputs)


def _rows(stage: str, config: CriticConfig, reading: Reading, sizes: Any, processor: Any) -> tuple[Rows, Rows | None]:
    recipe = config.recipe
    rules: dict[str, Any] = {"pairs": stage == DPO, "max_length": recipe.max_length}
    rules["answer_tokens"] = recipe.answer_tokens
    chosen = [one for one in reading.conversations if one.split == config.split]
    if not chosen:
        splits = sorted({one.split for one in reading.conversations})
        raise BeholderError(f"no conversation is in the split {config.split}", f"--split {' or '.join(splits)}")
    rows = make_rows(chosen, Path(config.pictures), sizes, processor, **rules)
    held = [one for one in reading.conversations if one.split == config.dev_split != config.split]
    held = [one for one in held if one.rejected] if stage == DPO else held
    if not held or not config.dev_rows:
        return rows, None
    dev = make_rows(held[: config.dev_rows], Path(config.pictures), sizes, processor, **rules)
    return rows, Rows(dev.rows[: config.dev_rows], dev.left_out)


def _export(stage: str, config: CriticConfig, trainer: Any, processor: Any, out: Path, inputs: dict[str, str]) -> None:
    """The critic's folder, whole or not there."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if config.recipe.trains == ADAPTER:
        write_adapter(model, temporary, config.recipe, config.base)
    elif config.recipe.trains == LORA:
        model.save_pretrained(temporary, selected_adapters=["default"], save_embedding_layers=False)
    else:
        model = model.bfloat16() if config.used_precision == "bf16" else model
        model.save_pretrained(temporary)
    processor.save_pretrained(temporary)
    settings = {**config.recipe.to_dict(), "seed": config.seed, "precision": config.used_precision}
    base = str(Path(config.base).resolve()) if Path(config.base).is_dir() else config.base
    identity = identity_of(config.base, WANTED)
    TrainedCritic(config.recipe.trains, base, identity, stage, config.recipe_name, settings, inputs).write(temporary)
    temporary.rename(out)


def _check(config: CriticConfig) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BeholderError(
            "more than one process", "one: a run is resumed by one writer", "Start it without torchrun."
        )
    if config.device != "cpu":
        check_device(config.device)
    if not Path(config.pictures).is_dir():
        raise BeholderError(f"there is no folder {config.pictures}", "the pictures' folder", "Check --pictures.")


def _inputs(config: CriticConfig) -> dict[str, str]:
    """sha256 of the files that a run reads, by what they are. Raises BeholderError for a missing one."""
    found = {}
    for name in ("conversations", "preferences"):
        path = getattr(config, name)
        if path and not Path(path).is_file():
            raise BeholderError(f"there is no file {path}", f"a file of {name}", f"Check the {name}.")
        if path:
            found[f"{name} {Path(path).name}"] = sha256_file(Path(path))
    if config.start:
        found["start"] = identity_of(config.start, "a trained critic")
    return found


def _keep_settings(run: Path, settings: dict[str, Any]) -> None:
    path, wanted = run / CONFIG, json.loads(json.dumps(settings))
    if not path.is_file():
        write_json_atomic(path, settings)
        return
    kept = json.loads(path.read_bytes())
    free = {"threads", "workers", "tensorboard"}  # change nothing of what is learnt
    changed = sorted(key for key in {*kept, *wanted} - free if kept.get(key) != wanted.get(key))
    if changed:
        found = f"{run} was begun with another {', '.join(changed)}"
        raise FormatError(found, "the same settings", "Use another folder.")


def _cut_log(folder: Path, step: int) -> None:
    """Lines after the checkpoint go: those steps are made again."""
    kept = [one for one in read_log(folder) if one["step"] <= step]
    write_bytes_atomic(folder / LOG, "".join(json.dumps(one) + "\n" for one in kept).encode())


def _quiet(config: CriticConfig, run: Path) -> None:
    import torch
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    disable_progress_bars()
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.tensorboard:
        from importlib.util import find_spec

        if find_spec("tensorboard") is None:
            raise BeholderError("tensorboard is not installed", "the extra train", "pip install 'beholder[train]'")
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run / "tensorboard")
