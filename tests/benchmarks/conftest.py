"""A tiny encoder with random weights and a folder of coloured pictures: enough for every verb, in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder whose weights are drawn by seed 0."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**TINY)
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": 32}
    config = {"model_cfg": TINY, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / "open_clip_model.safetensors"))
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures in images/, a caption table, a label table and a table of splits (8 val, 4 train)."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    captions, labels, splits = ["image\tcaption"], ["file\tcolour\tkind\tsplit"], ["image\tsplit"]
    for number in range(12):
        colour = ("red", "green", "blue")[number % 3]
        pixels = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        pixels[..., number % 3] |= 192
        name = f"{number:02d}.png"
        Image.fromarray(pixels).save(folder / "images" / name)
        split = "train" if number % 4 == 3 else "val"
        captions += [f"{name}\ta {colour} picture, number {number}", f"{name}\t{colour} noise {number}"]
        labels.append(f"images/{name}\t{colour}\t{'odd' if number % 2 else 'even'}\t{split}")
        splits.append(f"{name}\t{split}")
    for file, lines in (("captions", captions), ("items", labels), ("splits", splits)):
        (folder / f"{file}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_index(tiny_model: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat INDEX of all twelve pictures; its EMBEDDINGS lie beside it in `embeddings`."""
    from indexes.building.build import IndexConfig, build_index
    from retrieval.encoding.pipeline import EmbedConfig, embed

    place = tmp_path_factory.mktemp("index")
    embed(corpus / "images", place / "embeddings", EmbedConfig(model=str(tiny_model), workers=1))
    build_index(place / "embeddings", place / "index", IndexConfig(factory="Flat"))
    return place / "index"
