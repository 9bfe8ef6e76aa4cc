"""A tiny random open_clip folder with separate heads, tiny pictures and captions: what the training tests train."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = ["red", "green", "blue", "dark", "bright", "square", "round", "a", "picture", "of", "something", "thing"]


def make_folder(folder: Path, vision: dict[str, Any] | None = None) -> Path:
    """An open_clip folder of 32-pixel pictures: a timm ViT (or `vision`) and a one-layer BERT, fp16, seed 0."""
    import open_clip
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from rl.pretraining.model_folder import save_weights

    folder.mkdir(parents=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{name.strip('[]').lower()}_token": name for name in special}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 16, **names})
    )
    bert = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert |= {"intermediate_size": 32, "vocab_size": len(vocabulary), "max_position_embeddings": 16, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(bert))
    text = {"context_length": 16, "hf_model_name": ".", "hf_model_pretrained": False, "hf_tokenizer_name": "."}
    text |= {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}
    image = vision or {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "token",
        "timm_proj": "mlp",
        "image_size": 160,
    }
    config = {"embed_dim": 8, "vision_cfg": image, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = {**config, "text_cfg": {**text, "hf_model_name": str(folder)}}
        save_weights(folder, open_clip.CustomTextCLIP(**built))  # type: ignore[arg-type]
    return folder


def make_pictures(folder: Path, count: int = 12) -> Path:
    """`captions.tsv` of `count` coloured pictures with three captions each; the path of the table."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = ["image\tcaption"]
    for number in range(count):
        pixels = np.full((40, 48, 3), generator.integers(0, 256, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
        for _ in range(3):
            rows.append(f"{number:02}.png\t{' '.join(generator.choice(WORDS, 4))}")
    (folder / "captions.tsv").write_text("\n".join(rows) + "\n")
    return folder / "captions.tsv"
