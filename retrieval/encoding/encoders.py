"""Encoders: words and pictures to unit vectors, by open_clip, with a fingerprint for each tower."""

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError
from retrieval.sources.images import Preprocessing

from .checkpoints import is_partial, load_partial
from .encoder import Encoder

MODELS = Path(__file__).parents[1] / "models"


def load_encoder(name: str, device: str = "cpu") -> Encoder:
    """An encoder by name: a model in the box, a folder, `hf-hub:owner/model`, `NAME:PRETRAINED` of open_clip, or
    `NAME:random` (seeded random weights, for measuring speed only).

    Raises BeholderError for an unknown name, a folder without weights, or an activation that does not fit the weights.
    """
    folder = find_folder(name)
    check_device(device)
    if folder is not None and is_partial(folder):
        return load_partial(name, folder, device, MODELS, load_encoder)
    if folder is not None:
        return _load_folder(name, folder, device)
    if name.startswith("hf-hub:"):
        return _load_open_clip(name, name, None, device)
    architecture, colon, pretrained = name.partition(":")
    import open_clip

    if architecture not in open_clip.list_models():
        raise BeholderError(
            f"there is no encoder {name!r}",
            "a model in the box, a folder, hf-hub:OWNER/MODEL, or ARCHITECTURE:PRETRAINED of open_clip",
            "See `beholder models`.",
        )
    if pretrained == "random":
        return random_encoder(architecture, device=device)
    if not colon:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise BeholderError(
            f"{name} names no weights",
            f"{name}:PRETRAINED, one of {', '.join(tags) or '(a file)'}",
            "Add one.",
        )
    return _load_open_clip(name, architecture, pretrained, device)


def boxed_encoders() -> list[str]:
    """Names of the encoders in the box: open_clip folders, and CHECKPOINTs that change a part of one."""
    folders = (path for path in MODELS.iterdir() if path.is_dir())
    return sorted(one.name for one in folders if (one / "open_clip_config.json").is_file() or is_partial(one))


def find_folder(name: str) -> Path | None:
    """The folder of a model in the box or of a path; None for the names of open_clip and the hub."""
    if os.sep not in name and ":" not in name and name in boxed_encoders():
        return MODELS / name
    path = Path(name.removeprefix("local-dir:"))
    if path.is_dir():
        return path
    if os.sep in name and not name.startswith("hf-hub:") and ":" not in name:
        raise BeholderError(f"there is no folder {name}", "an open_clip folder", "Check the path.")
    return None


def random_encoder(architecture: str, *, seed: int = 0, device: str = "cpu") -> Encoder:
    """An open_clip architecture with random weights from a seed: right speed, meaningless vectors."""
    import open_clip
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _, _ = open_clip.create_model_and_transforms(architecture, pretrained=None, pretrained_hf=False)
    tokenizer = open_clip.get_tokenizer(architecture)
    return Encoder(f"{architecture}:random", model, tokenizer, _preprocessing(model), device)


def _load_folder(name: str, folder: Path, device: str) -> Encoder:
    config = read_config(folder)
    with _resolved(folder, config) as resolved:
        return _load_open_clip(name, f"local-dir:{resolved}", None, device)


def read_config(folder: Path) -> dict[str, Any]:
    """`open_clip_config.json` of a folder. Raises BeholderError without it or without weights beside it."""
    path = folder / "open_clip_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BeholderError(
            f"{folder} has no open_clip_config.json",
            "an open_clip folder",
            "Export the model with open_clip.",
        ) from error
    except ValueError as error:
        raise BeholderError(
            f"{path} is not JSON ({error})", "an open_clip config", "Export the model again."
        ) from error
    if "model_cfg" not in config:
        raise BeholderError(f"{path} has no model_cfg", "an open_clip config", "Export the model again.")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")) and not any(folder.glob("*.pt")):
        raise BeholderError(
            f"{folder} has no weights",
            "open_clip_model.safetensors beside the config",
            "Copy the weights there too.",
        )
    return config


@contextmanager
def _resolved(folder: Path, config: dict[str, Any]) -> Iterator[Path]:
    """The folder, or a stand-in whose config names the folder's own Hugging Face text config by absolute path.

    open_clip resolves `hf_model_name` against the working directory; a folder that may move must say it relatively.
    """
    text = config["model_cfg"].get("text_cfg", {})
    if not text.get("hf_model_name") or not (folder / "config.json").is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="beholder-") as place:
        stand_in = Path(place)
        for file in folder.iterdir():
            if file.is_file() and file.name != "open_clip_config.json":
                (stand_in / file.name).symlink_to(file.resolve())
        text["hf_model_name"] = str(folder.resolve())
        (stand_in / "open_clip_config.json").write_text(json.dumps(config))
        yield stand_in


def _load_open_clip(name: str, identifier: str, pretrained: str | None, device: str) -> Encoder:
    import open_clip

    logging.getLogger("transformers").setLevel(logging.ERROR)
    quick_gelu = _quick_gelu(identifier, pretrained)
    try:
        model = open_clip.create_model(
            identifier, pretrained=pretrained, require_pretrained=True, force_quick_gelu=quick_gelu
        )
        tokenizer = open_clip.get_tokenizer(identifier)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BeholderError(
            f"{name} cannot be loaded ({reason[:200]})",
            "weights that fit",
            "Check the name, the folder or the network.",
        ) from error
    return Encoder(name, model, tokenizer, _preprocessing(model), device)


def _quick_gelu(architecture: str, pretrained: str | None) -> bool:
    """Whether open_clip must be told to use QuickGELU: the weights decide, the architecture may not disagree."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    if pretrained is None:
        return False
    known = get_pretrained_cfg(architecture, pretrained)
    wanted = bool(known and known.get("quick_gelu"))
    has = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu"))
    if known and has and not wanted:
        raise BeholderError(
            f"{architecture} uses QuickGELU and the weights {pretrained} do not",
            architecture.replace("-quickgelu", ""),
            f"Use {architecture.replace('-quickgelu', '')}:{pretrained}.",
        )
    return wanted and not has


def _preprocessing(model: Any) -> Preprocessing:
    from open_clip.transform import PreprocessCfg

    return Preprocessing.from_dict({**vars(PreprocessCfg()), **model.visual.preprocess_cfg})


def check_device(device: str) -> None:
    """Raises BeholderError for a device that torch does not see."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BeholderError("torch sees no CUDA device", "a working GPU for --device cuda", "Run `beholder doctor`.")
    if device != "cpu" and not device.startswith(("cuda", "mps")):
        raise BeholderError(f"there is no device {device!r}", "cpu, cuda, cuda:N or mps", "Choose one of them.")
