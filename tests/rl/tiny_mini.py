"""What a small critic of a few thousand weights is made from: a random ViT by timm's names, and a set of pictures from
black to white with captions and kept scores."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from indexes.records.manifest import sha256_file
from indexes.records.scores import ScoreColumn, write_scores
from rl.critic.mini.config import MiniConfig

SIDE, WIDTH, DEPTH, HEADS = 32, 24, 2, 2
SCORERS = "brightness", "warmth"
SPLITS = {"train": 18, "dev": 6}


def make_vit(side: int = SIDE) -> Any:
    """timm's own, without a head."""
    import torch
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    return VisionTransformer(
        img_size=side, patch_size=16, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0
    ).eval()


def write_mini_sets(folder: Path, splits: dict[str, int] = SPLITS) -> MiniConfig:
    """The settings of a critic that learns from a `flickr8k` in this folder, its tower and scores beside it."""
    from safetensors.torch import save_file

    save_file(make_vit().state_dict(), str(folder / "vit.safetensors"))
    generator = np.random.default_rng(0)
    (folder / "flickr8k" / "images").mkdir(parents=True)
    captions, told, hashes, values = ["image\tcaption"], ["image\tsplit"], [], []
    for split, count in splits.items():
        for number in range(count):
            name = f"{split}{number}.png"
            level = 255 * (number + 0.5) / count
            pixels = np.clip(generator.normal(level, 5, (24, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "flickr8k" / "images" / name)
            captions += [
                f"{name}\tA dog runs to the {side} of {word} ." for side, word in (("left", "a cat"), ("top", "it"))
            ]
            told.append(f"{name}\t{split}")
            hashes.append(sha256_file(folder / "flickr8k" / "images" / name))
            values.append((float(pixels.mean()), float(generator.normal())))
    (folder / "flickr8k" / "captions.tsv").write_text("\n".join(captions) + "\n")
    (folder / "flickr8k" / "splits.tsv").write_text("\n".join(told) + "\n")
    for place, name in enumerate(SCORERS):
        column = ScoreColumn(name, "f" * 64, {}, hashes, np.array([one[place] for one in values], np.float32))
        write_scores(folder / "e.emb" / "scores" / f"{name}.parquet", column)
    return MiniConfig(
        data=str(folder), embeddings=(str(folder / "e.emb"),), sources=("flickr8k",), scorers=SCORERS,
        tower=str(folder / "vit.safetensors"), tower_heads=HEADS, side=SIDE, layers=(0, 2), vocabulary=320,
        width=16, depth=2, heads=2, inner=24, context=128, steps=6, pictures=2, pairs=2, captions=2, levels=2,
        compared=2, warmup=2, save_every=2, log_every=2, dev_every=3, dev_pictures=4, precision="fp32", threads=1,
    )  # fmt: skip


def die_in_a_checkpoint(config: MiniConfig, run: Path) -> None:
    """Trains, and is killed while the second checkpoint is half written."""
    import torch

    from rl.critic.mini.train import train_mini

    save, saved = torch.save, []

    def half(state: Any, path: Path) -> None:
        save(state, path)
        saved.append(path)
        if len(saved) == 2:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    train_mini(config, run)
