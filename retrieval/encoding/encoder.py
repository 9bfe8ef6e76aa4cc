"""An encoder in memory: texts and pictures to unit vectors, and the record that tells encoders apart."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.records.shards import EncoderRecord
from retrieval.sources.images import Preprocessing

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
