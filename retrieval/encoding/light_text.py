"""The text tower of a BERT-style open_clip folder in NumPy: a cold query without importing torch or open_clip.

Importing open_clip takes four to six seconds on two cores, the tower itself three hundredths: for a handful of texts
this module gives the same vectors (to 1e-5, tested against open_clip) and the same fingerprints. Everything else, and
every other kind of tower, goes through `encoders.load_encoder`.
"""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.shards import EncoderRecord
from retrieval.sources.images import Preprocessing

from .checkpoints import base_name, changed_weights, is_partial
from .encoder import TOKENIZER_PROBE, make_record
from .encoders import MODELS, read_config

Array = Any  # NDArray[np.float32], too precise for NumPy's own operators under a strict checker
MOST_TEXTS = 64  # above it torch's matrix products repay its import
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: the error function to 1.5e-7, about float32's own
# rounding. NumPy has none, and math.erf for each value took half of a query's time.
ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
ERF_SLOPE = 0.3275911


class LightTextEncoder:
    """The text tower of one folder: `record` and `encode_texts` as `encoders.Encoder` has them."""

    def __init__(self, name: str, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        changed = load_file(changed_weights(folder)) if is_partial(folder) else {}
        folder = _home(folder)
        model = read_config(folder)["model_cfg"]
        self._bert = json.loads((folder / "config.json").read_bytes())
        state = {**load_file(folder / "open_clip_model.safetensors"), **changed}
        self._weights = {
            key.removeprefix("text."): value.astype(np.float32)
            for key, value in state.items()
            if key.startswith("text.")
        }
        length = int(model["text_cfg"].get("context_length", 77))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(pad_id=self._bert["pad_token_id"], length=length)
        preprocessing = read_preprocessing(folder)
        self.width = int(model["embed_dim"])
        self.record: EncoderRecord = make_record(name, state, preprocessing, self.tokenize(TOKENIZER_PROBE), self.width)

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """int64 (B, T), cleaned, padded and cut as open_clip's HFTokenizer does it."""
        import ftfy

        cleaned = [" ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()) for text in texts]
        return np.array([encoding.ids for encoding in self._tokenizer.encode_batch(cleaned)], np.int64)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (Q, D), unit rows."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        return np.concatenate([self._encode(row) for row in self.tokenize(texts)])

    def _encode(self, padded: NDArray[np.int64]) -> Array:
        """(1, D) of one text: its padding is cut, so nothing need be masked."""
        tokens = padded[padded != self._bert["pad_token_id"]]
        heads, epsilon = self._bert["num_attention_heads"], self._bert["layer_norm_eps"]
        prefix = "transformer.embeddings"
        hidden = (
            self._weights[f"{prefix}.word_embeddings.weight"][tokens]
            + self._weights[f"{prefix}.position_embeddings.weight"][: len(tokens)]
            + self._weights[f"{prefix}.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, f"{prefix}.LayerNorm", epsilon)
        for layer in range(self._bert["num_hidden_layers"]):
            at = f"transformer.encoder.layer.{layer}"
            query, key, value = (
                self._linear(hidden, f"{at}.attention.self.{part}").reshape(len(tokens), heads, -1).transpose(1, 0, 2)
                for part in ("query", "key", "value")
            )
            weights = _softmax(query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[-1])))
            mixed = (weights @ value).transpose(1, 0, 2).reshape(len(tokens), -1)
            attended = self._linear(mixed, f"{at}.attention.output.dense")
            hidden = self._norm(attended + hidden, f"{at}.attention.output.LayerNorm", epsilon)
            wide = _gelu(self._linear(hidden, f"{at}.intermediate.dense"))
            hidden = self._norm(self._linear(wide, f"{at}.output.dense") + hidden, f"{at}.output.LayerNorm", epsilon)
        pooled = hidden.mean(0, keepdims=True)
        vector = _gelu(pooled @ self._weights["proj.0.weight"].T) @ self._weights["proj.2.weight"].T
        unit: Array = (vector / np.linalg.norm(vector, axis=-1, keepdims=True)).astype(np.float32)
        return unit

    def _linear(self, hidden: Array, name: str) -> Array:
        return hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, hidden: Array, name: str, epsilon: float) -> Array:
        centred = hidden - hidden.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(epsilon))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def fits(folder: Path) -> bool:
    """Whether a folder's text tower is one that this module computes: BERT, mean-pooled, with open_clip's mlp head."""
    folder = _home(folder)
    if not (folder / "config.json").is_file() or not (folder / "open_clip_model.safetensors").is_file():
        return False
    text = read_config(folder)["model_cfg"].get("text_cfg", {})
    bert: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return (
        (folder / "tokenizer.json").is_file()
        and bert.get("model_type") == "bert"
        and bert.get("hidden_act") == "gelu"
        and text.get("hf_pooler_type") == "mean_pooler"
        and text.get("hf_proj_type") == "mlp"
        and not text.get("tokenizer_kwargs")
    )


def _home(folder: Path) -> Path:
    """The folder that holds config and tokenizer: of a partial CHECKPOINT, its base's."""
    return Path(base_name(folder, MODELS)) if is_partial(folder) else folder


def read_preprocessing(folder: Path) -> Preprocessing:
    """The preprocessing of a folder as open_clip would resolve it. Raises BeholderError where the config lacks it."""
    config = read_config(folder)
    content = config.get("preprocess_cfg") or {}
    if "mean" not in content or "std" not in content:
        raise BeholderError(
            f"{folder}/open_clip_config.json states no mean and std",
            "preprocess_cfg",
            "Export the model again.",
        )
    return Preprocessing.from_dict({**content, "size": config["model_cfg"]["vision_cfg"].get("image_size", 224)})


def _softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _gelu(values: Array) -> Array:
    return values * (np.float32(0.5) * (1 + _erf(values * np.float32(math.sqrt(0.5)))))


def _erf(values: Array) -> Array:
    size = np.abs(values)
    near = 1 / (1 + np.float32(ERF_SLOPE) * size)
    series = np.zeros_like(near)
    for factor in reversed(ERF):
        series += np.float32(factor)
        series *= near
    return np.copysign(1 - series * np.exp(-size * size), values)
