"""Encoders: words and pictures to unit vectors, by open_clip, with a fingerprint for each tower."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.shards import EncoderRecord

from .checkpoints import is_partial, load_partial
from .images import Preprocessing

MODELS = Path(__file__).parent / "models"
TEXT_BATCH = 256


class TextEncoder(Protocol):
    """What a search needs of an encoder."""

    @property
    def record(self) -> EncoderRecord: ...

    def tokenize(self, texts: Sequence[str]) -> Any:
        """Token ids (B, T), padded and cut to the tower's context."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (Q, D), unit rows."""
        ...


class Encoder:
    """An open_clip model with its preprocessing and tokenizer. Not to be shared by threads while it trains."""

    def __init__(
        self, name: str, model: Any, tokenizer: Any, preprocessing: Preprocessing, device: str = "cpu"
    ) -> None:
        import torch

        self.name, self.model, self.tokenizer, self.preprocessing = (
            name,
            model.eval(),
            tokenizer,
            preprocessing,
        )
        self.device = torch.device(device)
        self.image_size = preprocessing.size
        self.model.to(self.device)
        # On the device and divided once: (pixels / 255 - mean) / std == pixels * scale + shift
        std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
        mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
        self._scale = (1 / (255 * std)).to(self.device)
        self._shift = (-mean / std).to(self.device)
        self._record: EncoderRecord | None = None
        self._width: int | None = None

    @property
    def record(self) -> EncoderRecord:
        """Name, width, preprocessing and both fingerprints (hashed once, when first asked)."""
        if self._record is None:
            state = {name: tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
            token_ids = self.tokenize(TOKENIZER_PROBE).cpu().numpy()
            self._record = make_record(self.name, state, self.preprocessing, token_ids, self.width)
        return self._record

    @property
    def width(self) -> int:
        """D, the number of dimensions of a vector."""
        if self._width is None:
            self._width = int(self._encode_tokens(["width"]).shape[1])
        return self._width

    def tokenize(self, texts: Sequence[str]) -> Any:
        """LongTensor (B, T), padded and cut to the tower's context."""
        return self.tokenizer(list(texts))

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (B, D), unit rows, of uint8 (B, S, S, 3) as `images.fit` makes them."""
        import torch

        with torch.inference_mode():
            return _unit_rows(self.model.encode_image(self.normalised(pixels)))

    def normalised(self, pixels: NDArray[np.uint8]) -> Any:
        """float (B, 3, S, S) on the encoder's device: what the image tower takes, of uint8 (B, S, S, 3)."""
        import torch

        batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).to(self.device)
        return batch.permute(0, 3, 1, 2).float().mul_(self._scale).add_(self._shift).contiguous()

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (Q, D), unit rows."""
        parts = [self._encode_tokens(texts[at : at + TEXT_BATCH]) for at in range(0, len(texts), TEXT_BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.width), np.float32)

    def _encode_tokens(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        tokens = self.tokenize(texts).to(self.device)
        if hasattr(getattr(self.model, "text", None), "config"):  # Hugging Face towers mask padding: cut what all share
            padding = self.model.text.config.pad_token_id
            tokens = tokens[:, : max(1, int((tokens != padding).sum(1).max()))]
        with torch.inference_mode():
            return _unit_rows(self.model.encode_text(tokens))


# Texts whose token ids stand for the tokenizer in a fingerprint: case, accents, numbers, an overlong line.
TOKENIZER_PROBE = (
    "A photo of two dogs, running on the beach!",
    "café Zürich 1889 — l'étoile",
    "ukiyo-e; impressionism (1874)",
    "word " * 200,
)


def _unit_rows(vectors: Any) -> NDArray[np.float32]:
    import torch

    unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit


def make_record(
    name: str,
    state: Mapping[str, NDArray[Any]],
    preprocessing: Preprocessing,
    token_ids: NDArray[np.int64],
    width: int,
) -> EncoderRecord:
    """The record of an encoder from its weights (open_clip's names): the image tower is everything under `visual.`,
    the text tower all the rest but the logit scale and bias, which move no vector."""
    visual = {key: value for key, value in state.items() if key.startswith("visual.")}
    text = {key: value for key, value in state.items() if key not in visual and not key.startswith("logit_")}
    return EncoderRecord(
        name=name,
        image_fingerprint=fingerprint(visual, json.dumps(preprocessing.to_dict(), sort_keys=True).encode()),
        text_fingerprint=fingerprint(text, np.ascontiguousarray(token_ids, dtype="<i8").tobytes()),
        width=width,
        preprocessing=preprocessing.to_dict(),
    )


def fingerprint(tensors: Mapping[str, NDArray[Any]], extra: bytes) -> str:
    """sha256 over the sorted (name, shape, dtype, bytes) of a tower's weights and `extra`, its preprocessing or tokens.

    Floats are hashed as float32, so that a half-precision file and the model loaded from it agree.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        value = np.ascontiguousarray(value, dtype="<f4" if value.dtype.kind == "f" else value.dtype.newbyteorder("<"))
        digest.update(f"{name} {value.shape} {value.dtype.str}\n".encode())
        digest.update(value.data if value.ndim else value.tobytes())
    digest.update(extra)
    return digest.hexdigest()


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


def find_folder(name: str) -> Path | None:
    """The folder of a model in the box or of a path; None for the names of open_clip and the hub."""
    if os.sep not in name and ":" not in name and (MODELS / name / "open_clip_config.json").is_file():
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
