"""Heads of our own on disk: a folder with `manifest.json` (kind beholder-scorer) and `scorer.safetensors`.

A head reads either the encoder's vectors, as they lie in an EMBEDDINGS folder, or features of its image tower, for
which pictures go through the tower once more, whole (squashed to its square) instead of by their centre.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexes.errors import FormatError
from indexes.records.manifest import MANIFEST, check_file, publish, read_manifest, record_file, write_manifest
from indexes.records.shards import file_record
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import MODELS, load_encoder
from retrieval.encoding.tower_features import tower_features
from retrieval.sources.images import Picture, fit, shrink

from .card import PIXELS, VECTORS, Scorer, ScorerCard
from .heads import LinearHead

KIND, FORMAT = "beholder-scorer", 1
WEIGHTS = "scorer.safetensors"
BOX = MODELS  # scorers in the box lie beside the encoders
TOWER = "tower"
FORWARD = 16  # pictures in one pass through the tower
MAX_SIDE_PX = 1024  # of a picture before it is squashed to the tower's square of about 224


@dataclass(frozen=True)
class HeadRecord:
    """What a head is: its inputs (`vectors` or `tower`), whose they are, and how it came about."""

    name: str
    features: str  # VECTORS or TOWER
    encoder: str  # name
    image_fingerprint: str
    model: str
    unit: str
    source: str
    licence: str
    trained: Mapping[str, Any]  # data, counts, settings, figures

    def card(self, checkpoint_sha256: str) -> ScorerCard:
        vectors = self.features == VECTORS
        squashed = f"longest side at most {MAX_SIDE_PX} px (box filter), then squashed to the tower's square"
        return ScorerCard(
            name=self.name,
            kind=VECTORS if vectors else PIXELS,
            model=self.model,
            normalisation="unit vectors" if vectors else squashed,
            unit=self.unit,
            source=self.source,
            licence=self.licence,
            checkpoint_sha256=checkpoint_sha256,
            encoder=self.image_fingerprint,
            encoder_names=(self.encoder,),
            max_side_px=0 if vectors else MAX_SIDE_PX,
        )


class TowerHead:
    """score = features . weight + bias of the features of an image tower, in float64 after the tower."""

    def __init__(self, card: ScorerCard, weight: NDArray[Any], bias: float, encoder: Callable[[], Encoder]) -> None:
        self.card, self._weight, self._bias = card, np.asarray(weight, np.float64), float(bias)
        self._load, self._encoder = encoder, cast("Encoder | None", None)

    def score_pictures(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """float32 (N,); the tower is loaded by the first call."""
        if self._encoder is None:
            self._encoder = self._checked(self._load())
        scores = np.empty(len(pictures), np.float32)
        for at in range(0, len(pictures), FORWARD):
            features = tower_features(self._encoder, whole_pictures(self._encoder, pictures[at : at + FORWARD]))
            scores[at : at + FORWARD] = np.einsum("nd,d->n", features.astype(np.float64), self._weight) + self._bias
        return scores

    def _checked(self, encoder: Encoder) -> Encoder:
        if encoder.record.image_fingerprint != self.card.encoder:
            raise FormatError(
                f"{self.card.name} was trained on another {encoder.name} than this one",
                f"the image fingerprint {self.card.encoder[:12]}",
                "Train it again with `beholder align scorer`.",
            )
        return encoder


def whole_pictures(encoder: Encoder, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """uint8 (B, S, S, 3): each picture, no side above MAX_SIDE_PX, squashed to the encoder's square."""
    square = replace(encoder.preprocessing, resize_mode="squash")
    return np.stack([fit(Image.fromarray(shrink(picture, MAX_SIDE_PX)), square) for picture in pictures])


def save_head(folder: Path, record: HeadRecord, weight: NDArray[np.float32], bias: float) -> None:
    """Writes a head: weight (F,) and bias, the manifest last."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{WEIGHTS}.tmp"
    save_file({"weight": np.asarray(weight, np.float32), "bias": np.array([bias], np.float32)}, str(temporary))
    publish(temporary, folder / WEIGHTS)
    content = {name: getattr(record, name) for name in record.__dataclass_fields__}
    content |= {"trained": dict(record.trained), "weights": vars(record_file(folder, WEIGHTS))}
    write_manifest(folder, KIND, FORMAT, content)


def load_head(folder: Path, name: str = "") -> Scorer:
    """The scorer of a folder. `name` is expected where it is given.

    Raises FormatError for a folder that is none, is damaged, or whose encoder has changed.
    """
    from safetensors.numpy import load_file

    content = read_manifest(folder, KIND, FORMAT)
    try:
        weights = file_record(content["weights"])
        record = HeadRecord(**{field: content[field] for field in HeadRecord.__dataclass_fields__})
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{folder / MANIFEST} is not whole ({error})", "a scorer's manifest", "Train it again."
        ) from error
    if name and record.name != name:
        raise FormatError(f"{folder} holds the scorer {record.name}", name, "Check the folder.")
    if record.features not in (VECTORS, TOWER):
        raise FormatError(f"{folder} reads {record.features!r}", f"{VECTORS} or {TOWER}", "Install a newer beholder.")
    check_file(folder, weights)
    tensors = load_file(str(folder / weights.path))
    if set(tensors) != {"weight", "bias"} or tensors["weight"].ndim != 1:
        raise FormatError(f"{folder / weights.path} holds {sorted(tensors)}", "weight (F,) and bias", "Train it again.")
    card, bias = record.card(weights.sha256), float(tensors["bias"][0])
    if record.features == VECTORS:
        return LinearHead(card, tensors["weight"], bias)
    return TowerHead(card, tensors["weight"], bias, lambda: _tower(record.encoder))


@lru_cache(maxsize=2)
def _tower(name: str) -> Encoder:
    """One encoder for all heads on it."""
    return load_encoder(name)
