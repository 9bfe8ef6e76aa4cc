"""Contrastive pre-training of an open_clip model from pictures with captions: heads first, then towers.

Wen et al. 2024 (2406.09397), the pre-training stage and its loss (rl/losses.py). Deliberate differences:
towers that are pretrained already, heads trained first over cached features, captions of a picture mixed as
vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.records.manifest import sha256_file, write_json_atomic
from retrieval.encoding.encoders import check_device, load_encoder
from rl.captions import read_source
from rl.dev import hit_rates
from rl.pixels import crop
from rl.processes import Rank0First, join_processes
from rl.schedule import cycles
from rl.towers import Towers, head_dropout

from .batches import Batch, draw_batch, shown_of, steps_per_epoch
from .checkpoint import read_checkpoint, write_checkpoint
from .config import PretrainConfig
from .epochs import Epochs
from .frozen import Frozen
from .gradient import backward
from .model_folder import WEIGHTS, save_model
from .pictures import Pictures, read_pictures
from .within import WHOLE_BATCH, Part, add_sources, loss_of_parts

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_SCALE = math.log(100)  # CLIP's limit of the logit scale
HEADS, TUNE, WHOLE = 1, 2, 3
SAY_EVERY = 30.0  # seconds between lines of progress
Say = Callable[[str], None]


@dataclass(frozen=True)
class PretrainReport:
    """Dev figures (percent) after each stage and the seconds that the run took since it was last started."""

    heads: dict[str, float]
    tuned: dict[str, float]
    steps: int
    seconds: float


def pretrain(start: Path, data: Path, run: Path, config: PretrainConfig, *, say: Say | None = None) -> PretrainReport:
    """Trains the open_clip folder `start` and leaves `run/heads` (after stage 1) and `run/model`, folders
    like it.

    Called again it goes on where it stopped, and ends with the very weights of an uninterrupted run. Under
    torchrun the processes share each batch. `data` holds the sources; progress goes to `say`, one line at a
    time.
    """
    import torch

    began = time.perf_counter()
    rank, world = join_processes(config.device)
    say = say if say and rank == 0 else lambda line: None
    check_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    run.mkdir(parents=True, exist_ok=True)
    settings = {**config.to_dict(), "start": sha256_file(start / WEIGHTS)}
    state = read_checkpoint(run, settings)
    write_json_atomic(run / "config.json", config.to_dict())

    encoder = load_encoder(str(start), config.device)
    towers = Towers(encoder, config.image_frozen_blocks, config.patch_drop)
    read = [read_source(name, data, "train") for name, _ in config.shares()]
    with Rank0First(rank, world):
        train = read_pictures(
            encoder,
            [example for examples in read for example in examples],
            run / "cache",
            "train",
            say,
        )
        dev = read_pictures(encoder, read_source(config.dev_source, data, "dev"), run / "cache", "dev", say)
    counts = [len(examples) for examples in read]
    training = _Training(towers, train, counts, dev, config, run, settings["start"], rank, world, say)

    heads: dict[str, float] = {}
    if state is not None:
        towers.model.load_state_dict(state["model"])
        heads = state["heads"]
    elif config.head_epochs and towers.has_heads:
        heads = training.heads()
        if rank == 0:
            save_model(run / "heads", start, towers.model)
            write_checkpoint(
                run,
                {
                    "settings": settings,
                    "step": 0,
                    "model": towers.model.state_dict(),
                    "heads": heads,
                    "dev": heads,
                },
            )
    tuned, steps = training.tune(state, heads) if config.tune_epochs else (heads, 0)
    if rank == 0:
        save_model(run / "model", start, towers.model)
        write_json_atomic(run / "report.json", {"dev after heads": heads, "dev": tuned, "steps": steps})
    return PretrainReport(heads, tuned, steps, time.perf_counter() - began)


class _Training:
    """The two loops over one model; what they share is here so that each reads top to bottom."""

    def __init__(
        self,
        towers: Towers,
        train: Pictures,
        counts: list[int],
        dev: Pictures,
        config: PretrainConfig,
        run: Path,
        start: str,
        rank: int,
        world: int,
        say: Say,
    ) -> None:
        self.towers, self.model, self.train, self.dev, self.config = towers, towers.model, train, dev, config
        self.counts, self.shares = counts, [share for _, share in config.shares()]
        self.shown = shown_of(self.counts, self.shares)
        self.run, self.start, self.rank, self.world, self.say = run, start, rank, world, say
        self.device = towers.encoder.device
        self.frozen = Frozen(towers, start, run / "cache", say)
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and self.device.type == "cuda")

    def heads(self) -> dict[str, float]:
        """Stage 1: the towers' features are computed once, then only the heads are trained over them."""
        import torch

        config, towers, device = self.config, self.towers, self.device
        self.model.eval()
        with Rank0First(self.rank, self.world):
            images, texts = (
                self.frozen.image_features(self.train, "train"),
                self.frozen.text_features(self.train, "train"),
            )
            dev_images, dev_texts = (
                self.frozen.image_features(self.dev, "dev"),
                self.frozen.text_features(self.dev, "dev"),
            )
        groups = towers.parameter_groups(heads=config.head_lr, decay=config.weight_decay, layer_decay=1.0)
        optimizer = torch.optim.AdamW(groups, lr=config.head_lr, betas=(0.9, 0.98))
        trained = [parameter for group in groups for parameter in group["params"]]
        steps = config.head_epochs * steps_per_epoch(self.shown, config.head_batch)
        schedule = cycles(optimizer, [(steps, 1.0)], config.warmup)
        with head_dropout(towers, config.drop_input, config.drop_hidden):
            for step in range(steps):
                self.model.train()
                batch = self._batch(step, HEADS, config.head_batch, config.head_captions)
                batch, parts = add_sources(
                    batch,
                    step,
                    config,
                    captions_of=self.train.captions_of,
                    counts=self.counts,
                    world=self.world,
                    stage=HEADS,
                )
                mine = self._mine(batch)

                def encode(chunk: int, mine: Batch = mine, step: int = step) -> tuple[Tensor, Tensor]:
                    torch.manual_seed(_seed(config.seed, HEADS, step, self.rank, chunk))
                    with _autocast(self.device.type, self.bf16):
                        said = texts[torch.from_numpy(mine.captions)].to(device)
                        text = towers.text_head(_mix(said, mine.weights))
                        image = towers.image_head(images[torch.from_numpy(mine.pictures)].to(device))
                    return _unit(image), _unit(text)

                self._step(encode, [0], batch, optimizer, trained, parts)
                schedule.step()
                if (step + 1) % max(1, steps // 10) == 0:
                    self.say(f"heads: step {step + 1}/{steps}")
        self.model.eval()
        with torch.inference_mode():
            reached = self._dev(towers.image_head(dev_images.to(device)), towers.text_head(dev_texts.to(device)))
        self.say(f"heads: dev {_told(reached)}")
        return reached

    def tune(self, state: dict[str, Any] | None, heads: dict[str, float]) -> tuple[dict[str, float], int]:
        """Stage 2: both towers and the heads, from augmented pixels or the frozen blocks' cached states."""
        import torch

        config, towers, device = self.config, self.towers, self.device
        states = None
        if config.image_frozen_blocks:
            with Rank0First(self.rank, self.world):
                states = [
                    self.frozen.states(self.train, "train", mirrored)
                    for mirrored in ((False, True) if config.flip else (False,))
                ]
        groups = towers.parameter_groups(
            heads=config.tune_head_lr,
            image=config.image_lr,
            text=config.text_lr,
            decay=config.weight_decay,
            layer_decay=config.layer_decay,
        )
        optimizer = torch.optim.AdamW(groups, lr=config.tune_head_lr, betas=(0.9, 0.98))
        trained = [parameter for group in groups for parameter in group["params"]]
        epochs = Epochs(config, self.shown, sum(self.counts))
        steps = epochs.steps
        parts = [(epochs.first, 1.0), (steps - epochs.first, config.whole_rate)]
        schedule = cycles(optimizer, parts, config.warmup)
        average = [parameter.detach().clone() for parameter in trained]
        done, reached = 0, heads
        if state is not None and state["step"]:
            done, reached = state["step"], state["dev"]
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            average = [tensor.to(device) for tensor in state["average"]]
        began = said_at = time.perf_counter()
        with head_dropout(towers, config.drop_input, config.drop_hidden):
            for step in range(done, steps):
                self.model.train()
                stage, place = (TUNE, step) if step < epochs.first else (WHOLE, step - epochs.first)
                batch = self._batch(place, stage, config.tune_batch, config.tune_captions)
                mine = self._mine(batch)
                chunks = list(range(0, len(mine.pictures), config.chunk))

                def encode(chunk: int, mine: Batch = mine, step: int = step) -> tuple[Tensor, Tensor]:
                    torch.manual_seed(_seed(config.seed, TUNE, step, self.rank, chunk))
                    part = mine.part(slice(chunk, chunk + config.chunk))
                    tokens = self.train.tokens[torch.from_numpy(part.captions.ravel())].to(device)
                    with _autocast(self.device.type, self.bf16):
                        image = towers.image_head(towers.image_features(self._inputs(part, states)))
                        said = towers.text_features(tokens)
                        text = towers.text_head(_mix(said.view(*part.captions.shape, -1), part.weights))
                    return _unit(image), _unit(text)

                loss = self._step(encode, chunks, batch, optimizer, trained)
                schedule.step()
                with torch.no_grad():
                    # Quick at first: the average must not remember the heads-only start for long.
                    keep = min(config.average_decay, (step + 1) / (step + 10))
                    torch._foreach_lerp_(average, trained, 1 - keep)
                if ended := epochs.ended(step + 1):
                    reached = self._dev_of_average(trained, average)
                    rate = (step + 1 - done) * config.tune_batch / (time.perf_counter() - began)
                    self.say(
                        f"tune: epoch {ended}/{epochs.count}, loss {loss:.3f}, "
                        f"{rate:.0f} pictures/s, dev {_told(reached)}"
                    )
                elif time.perf_counter() - said_at > SAY_EVERY:
                    said_at = time.perf_counter()
                    rate = (step + 1 - done) * config.tune_batch / (said_at - began)
                    self.say(f"tune: step {step + 1}/{steps}, loss {loss:.3f}, {rate:.0f} pictures/s")
                if self.rank == 0 and ((step + 1) % config.checkpoint_every == 0 or step + 1 == steps):
                    write_checkpoint(
                        self.run,
                        {
                            "settings": {**config.to_dict(), "start": self.start},
                            "step": step + 1,
                            "model": self.model.state_dict(),
                            "optimizer": optimizer.state_dict(),
                            "schedule": schedule.state_dict(),
                            "average": average,
                            "heads": heads,
                            "dev": reached,
                        },
                    )
        with torch.no_grad():
            for parameter, mean in zip(trained, average, strict=True):
                parameter.copy_(mean)
        return reached, steps

    def _batch(self, step: int, stage: int, size: int, captions: int) -> Batch:
        """The whole batch of a step, over all processes."""
        config = self.config
        shares = [1.0] * len(self.counts) if stage == WHOLE else self.shares
        size = min(size, shown_of(self.counts, shares)) // self.world * self.world
        return draw_batch(
            self.train.captions_of,
            step,
            counts=self.counts,
            shares=shares,
            batch=size,
            captions=captions,
            mixing=config.mixing,
            min_crop_area=config.min_crop_area,
            flip=config.flip,
            seed=config.seed,
            stage=stage,
        )

    def _mine(self, batch: Batch) -> Batch:
        """This process's rows of a whole batch."""
        share = len(batch.pictures) // self.world
        return batch.part(slice(self.rank * share, (self.rank + 1) * share))

    def _step(
        self,
        encode: Callable[[int], tuple[Tensor, Tensor]],
        chunks: list[int],
        batch: Batch,
        optimizer: torch.optim.Optimizer,
        trained: Sequence[torch.nn.Parameter],
        parts: Sequence[Part] = WHOLE_BATCH,
    ) -> float:
        """One optimizer step; the loss over the whole batch of all processes, or the weighted sum over its parts."""
        import torch

        keys = self.train.keys[torch.from_numpy(batch.pictures)].to(self.device)
        scale = self.model.logit_scale

        def loss(images: Tensor, texts: Tensor) -> Tensor:
            return loss_of_parts(images, texts, scale.exp(), keys, self.config.smoothing, parts)

        optimizer.zero_grad(set_to_none=True)
        value = backward(encode, chunks, loss, [scale], trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        with torch.no_grad():
            scale.clamp_(0, MAX_SCALE)
        return value

    def _inputs(self, part: Batch, states: list[NDArray[np.float16]] | None) -> Tensor:
        """States of a batch's pictures: cached ones of the plain or mirrored picture, or cropped pixels."""
        import torch

        if states is None:
            pixels = torch.from_numpy(self.train.pixels[part.pictures]).to(self.device)
            return crop(self.towers.image_states(pixels), part.boxes)
        mirrored = part.boxes[:, 4] < 0
        rows = [states[int(flip)][picture] for flip, picture in zip(mirrored, part.pictures, strict=True)]
        return torch.from_numpy(np.stack(rows)).to(self.device).float()

    def _dev_of_average(self, trained: Sequence[Tensor], average: list[Tensor]) -> dict[str, float]:
        """Dev figures of the averaged weights; the weights in training are put back."""
        import torch

        self.model.eval()
        with torch.inference_mode(False), torch.no_grad():
            kept = [parameter.detach().clone() for parameter in trained]
            for parameter, mean in zip(trained, average, strict=True):
                parameter.copy_(mean)
            images, texts = [], []
            for at in range(0, len(self.dev.pixels), 64):
                pixels = torch.from_numpy(np.array(self.dev.pixels[at : at + 64])).to(self.device)
                features = self.towers.image_features(self.towers.image_states(pixels))
                images.append(self.towers.image_head(features))
            for at in range(0, len(self.dev.tokens), 256):
                features = self.towers.text_features(self.dev.tokens[at : at + 256].to(self.device))
                texts.append(self.towers.text_head(features))
            for parameter, own in zip(trained, kept, strict=True):
                parameter.copy_(own)
        return self._dev(torch.cat(images), torch.cat(texts))

    def _dev(self, images: Tensor, texts: Tensor) -> dict[str, float]:
        pairs = [(caption, owner) for owner, said in enumerate(self.dev.captions_of) for caption in said]
        captions, owners = np.array(pairs).T
        return hit_rates(_unit(images).cpu().numpy(), _unit(texts).cpu().numpy()[captions], owners)


def _mix(vectors: Tensor, weights: NDArray[np.float32]) -> Tensor:
    """float (B, F): the weighted sum of (B, M, F) by (B, M)."""
    import torch

    return (vectors * torch.from_numpy(weights).to(vectors.device)[:, :, None]).sum(1)


def _unit(vectors: Tensor) -> Tensor:
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def _seed(*numbers: int) -> int:
    """One seed of dropout for a (seed, stage, step, process, chunk)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _autocast(device: str, bf16: bool) -> Any:
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=bf16)


def _told(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
