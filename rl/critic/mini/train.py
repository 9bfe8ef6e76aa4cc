"""Training the small critic: features of the frozen tower once, then projector and language model over packed groups.

RUN holds config.json, tokenizer/, features/, checkpoint.pt, log.jsonl and, when it is finished, model/: the folder that
`--critic` takes and transformers loads. Called again it goes on at the last checkpoint, to the bit.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from indexes.errors import BeholderError
from indexes.records.manifest import write_bytes_atomic, write_json_atomic
from retrieval.encoding.encoders import check_device
from rl.disk import room_needed
from rl.pretraining.checkpoint import read_checkpoint, write_checkpoint
from rl.rewriting.train import CONFIG, LOG, MODEL, read_log

from .config import MiniConfig
from .dev import dev_figures
from .draw import Drawer
from .facts import Pictures, read_pictures
from .features import Features, keep_features, spread
from .forward import Reader, precision_of, step_loss
from .model import make_image_processor, make_model, make_processor, save_critic, standardise
from .pack import Packer, batch_features
from .tower import convert_tower, read_tower
from .words import words_of

TOKENIZER, FEATURES = "tokenizer", "features"
CLIP = 1.0  # length of a gradient
Say = Callable[[str], None]
Progress = Callable[[int, int], None]


def train_mini(config: MiniConfig, run: Path, *, say: Say | None = None, progress: Progress | None = None) -> Path:
    """The folder of the critic. Raises FormatError for a run that was begun with other settings or scores,
    BeholderError where pictures or scores are missing or the loss is no number."""
    say = say or (lambda line: None)
    if config.device != "cpu":
        check_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    run.mkdir(parents=True, exist_ok=True)
    with room_needed(f"Make room and call it again: {run} goes on."):
        pictures = read_pictures(config)
        settings = {**config.learnt(), "scores": dict(pictures.fingerprints), "tower_sha256": identity_of_tower(config)}
        settings["conversations_sha256"] = list(pictures.further.sha256s)
        for reason, count in pictures.further.left_out.items():
            say(f"left out: {count} ({reason})")
        kept = read_checkpoint(run, settings)
        if kept is not None and kept["step"] >= config.steps and (run / MODEL / CONFIG).is_file():
            say(f"{run / MODEL} is finished")
            return run / MODEL
        write_json_atomic(run / CONFIG, settings)
        features = keep_features(
            run / FEATURES,
            [(one.picture, one.sha256) for one in pictures.facts],
            Path(config.data),
            tower_of(config),
            make_image_processor(config.side),
            config.layers,
            flips=config.flips,
            identity=settings["tower_sha256"],
            progress=progress,
        )
        trainer = Trainer(config, pictures, features, words_of(run / TOKENIZER, config, pictures), settings, run, say)
        if kept is not None:
            trainer.load(kept)
            say(f"going on from step {trainer.done}")
        trainer.train()
        return trainer.export()


class Trainer:
    """A model in training and all that its next step depends on."""

    def __init__(
        self, config: MiniConfig, pictures: Pictures, features: Features, tokenizer: Any, settings: dict[str, Any],
        run: Path, say: Say,
    ) -> None:  # fmt: skip
        self.config, self.pictures, self.features = config, pictures, features
        self.settings, self.run, self.say = settings, run, say
        self.tokenizer, self.done = tokenizer, 0
        self.model = make_model(config, tokenizer)
        standardise(self.model, *spread(features, pictures.rows("train"), config.seed))
        self.reader = Reader(config.width, len(pictures.attributes), config.depth)
        self.model.to(config.device)
        self.reader.to(config.device)
        self.values = torch.from_numpy(pictures.values)
        self.drawer = Drawer(config, pictures)
        self.packer = Packer(tokenizer, features.shape[2], config.drop, config.emphasis)
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.AdamW:
        """Weight decay for matrices alone; the embeddings are no maps."""
        trained = [*self._trained().items()]
        decayed = [one for name, one in trained if one.ndim > 1 and "embed_tokens" not in name]
        rest = [one for name, one in trained if one.ndim < 2 or "embed_tokens" in name]
        groups = [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.98), foreach=True)

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        named = {name: one for name, one in self.model.named_parameters() if one.requires_grad}
        return {**named, **{f"reader.{name}": one for name, one in self.reader.named_parameters()}}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, one in self._trained().items():
                one.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = state["step"]
        kept = [one for one in read_log(self.run) if one["step"] <= self.done]
        write_bytes_atomic(self.run / LOG, "".join(json.dumps(one) + "\n" for one in kept).encode())

    def save(self) -> None:
        state = {
            "settings": self.settings,
            "step": self.done,
            "weights": {name: one.detach() for name, one in self._trained().items()},
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(self.run, state)

    def train(self) -> None:
        """All steps that are left, with checkpoints and a log."""
        config, started = self.config, time.monotonic()
        sums = np.zeros(3)  # loss of a word piece, error of the reader, word pieces of the batches
        since = 0
        while self.done < config.steps:
            sums += self.step()
            since += 1
            last = self.done == config.steps
            if self.done % config.log_every == 0 or last:
                seconds = time.monotonic() - started
                words, error, tokens = sums / since
                figures = {"step": self.done, "loss": words, "error": error, "tokens_per_s": tokens * since / seconds}
                self._log({name: float(f"{value:.5g}") for name, value in figures.items()})
                sums, since, started = np.zeros(3), 0, time.monotonic()
            if self.done % config.dev_every == 0 or last:
                self._log({"step": self.done, **self.dev()})
                started = time.monotonic()
            if self.done % config.save_every == 0 or last:
                self.save()

    def step(self) -> tuple[float, float, float]:
        """One step; the loss of a word piece, the reader's error and the tokens in it."""
        config = self.config
        groups = self.drawer.step(self.done)
        packed = self.packer.pack(groups, np.random.default_rng([config.seed, self.done])).to(config.device)
        shown = batch_features(self.features, groups).to(config.device)
        rows = [row for group in groups for row in group.rows]
        rate = config.learning_rate * rate_at(self.done, config.steps, config.warmup, config.fall)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with precision_of(config.precision, config.device):
            values = self.values[rows].to(config.device)
            loss, words, error = step_loss(self.model, self.reader, packed, shown, values, config.auxiliary)
        if not torch.isfinite(loss):
            raise BeholderError(
                f"the loss of step {self.done} is {float(loss)}", "a number", "Lower the learning rate."
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self._trained().values()), CLIP)
        self.optimizer.step()
        self.done += 1
        return float(words.detach()), float(error.detach()), float((packed.positions > 0).sum())

    def dev(self) -> dict[str, float]:
        """Figures of the dev pictures, rounded."""
        self.model.eval()
        found = dev_figures(self.model, self.packer, self.config, self.pictures, self.features)
        return {name: round(value, 4) for name, value in found.items()}

    def export(self) -> Path:
        """The critic's folder, whole or not there."""
        out = self.run / MODEL
        temporary = out.with_name(f".{MODEL}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        save_critic(self.model.to("cpu"), make_processor(self.tokenizer, self.config.side), temporary)
        shutil.rmtree(out, ignore_errors=True)  # of a run of fewer steps
        temporary.rename(out)
        return out

    def _log(self, figures: dict[str, float]) -> None:
        with (self.run / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        self.say(", ".join(f"{name} {value:g}" for name, value in figures.items()))


def rate_at(step: int, steps: int, warmup: int, fall: float) -> float:
    """The factor of the learning rate in a step, counted from 0: it rises, stays, and falls to 0 in a line over the
    last share of the steps. Before it falls it does not depend on the number of steps, which may be changed so far."""
    falling = max(1.0, fall * steps)
    return min(1.0, (step + 1) / max(1, warmup), (steps - step) / falling)


def tower_of(config: MiniConfig) -> Any:
    """The frozen tower alone."""
    from transformers import ViTModel

    made, state = convert_tower(read_tower(config.tower), config.side, config.tower_heads)
    tower = ViTModel(made, add_pooling_layer=False)
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False)


def identity_of_tower(config: MiniConfig) -> str:
    """Of what makes the features."""
    digest = hashlib.sha256(json.dumps([config.side, config.layers, config.flips, config.tower_heads]).encode())
    for name, value in sorted(read_tower(config.tower).items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
