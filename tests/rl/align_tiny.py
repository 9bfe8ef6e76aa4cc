"""A tiny alignment run: pictures embedded by the tiny model, random preference lists over them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tiny import WORDS

from indexes.records.shards import Embeddings
from retrieval.encoding.pipeline import EmbedConfig, embed
from rl.alignment.config import AlignConfig
from rl.grids import level_chain, level_prefer, pairs_of
from rl.preferences import PreferenceList, write_preferences


def make_lists(path: Path, embeddings: Path, count: int = 12, length: int = 5, seed: int = 0) -> Path:
    """Lists of random pictures in random order, the last one shorter than the rest."""
    sha256s = Embeddings(embeddings).items().column("sha256").to_pylist()
    generator = np.random.default_rng(seed)
    lists = []
    for number in range(count):
        size = length - (number == count - 1)
        levels = np.arange(size, 0, -1).astype(float)
        better, worse = pairs_of(level_prefer(levels))
        lists.append(
            PreferenceList(
                query=" ".join(generator.choice(WORDS, 3)) + f" {number}",
                pictures=tuple(sha256s[place] for place in generator.choice(len(sha256s), size, replace=False)),
                better=tuple(better),
                worse=tuple(worse),
                chains=tuple(tuple(chain) for chain in level_chain(levels)),
                levels=tuple(levels),
            )
        )
    write_preferences(path, lists, {"made": "at random"})
    return path


def make_run(folder: Path, model: Path, captions: Path, **settings: Any) -> AlignConfig:
    """The configuration of a run over the pictures of a caption table; what it needs is made in `folder`."""
    embeddings = folder / "pictures.emb"
    if not embeddings.is_dir():
        embed(captions.parent, embeddings, EmbedConfig(model=str(model), workers=1))
    lists = folder / "lists.parquet"
    if not lists.is_file():
        make_lists(lists, embeddings)
    tiny = AlignConfig(
        base=str(model),
        preferences=str(lists),
        pictures=(str(embeddings),),
        dev_share=0.25,
        captions=(str(captions),),
        dev_source=str(captions),
        steps=6,
        queries=4,
        contrastive_batch=8,
        evaluate_every=3,
        text_lr=1e-3,
        image_lr=1e-3,
        head_lr=1e-2,
        max_retention_loss=100.0,
        threads=1,
    )
    return replace(tiny, **settings)
