"""Published linear heads on pictures' vectors, downloaded by name.

All are one affine map of a unit vector, so that a score is bounded by bias +- |weight|. Sources:
LAION-AI/aesthetic-predictor (MIT): one layer on CLIP vectors. christophschuhmann/improved-aesthetic-predictor
(Apache-2.0): five layers on CLIP ViT-L/14 without activations between them, multiplied out here into one.
crowsonkb/simulacra-aesthetic-models (MIT): one layer on CLIP vectors of length sqrt(D) instead of 1; the factor is
taken into the weight here, because vectors without it give scores that look plausible and mean nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError
from indexes.records.vectors import check_unit_rows

from .card import VECTORS, ScorerCard
from .weight_files import WeightFile, find

BLOCK = 65536  # vectors at a time in float64
Tensors = Mapping[str, NDArray[Any]]


class LinearHead:
    """score = vector . weight + bias, computed in float64 so that a score does not depend on its batch."""

    def __init__(self, card: ScorerCard, weight: NDArray[Any], bias: float) -> None:
        self._weight, self._bias = np.asarray(weight, np.float64), float(bias)
        reach = float(np.linalg.norm(self._weight))
        self.card = replace(card, low=self._bias - reach, high=self._bias + reach)

    def score_vectors(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """float32 (N,) of unit vectors (N, D)."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self._weight):
            raise BeholderError(
                f"vectors of shape {vectors.shape} for the scorer {self.card.name}",
                f"(N, {len(self._weight)}), of {' or '.join(self.card.encoder_names)}",
                "Embed the pictures with that encoder.",
            )
        scores = np.empty(len(vectors), np.float32)
        for at in range(0, len(vectors), BLOCK):
            block = vectors[at : at + BLOCK]
            check_unit_rows(block, f"vectors for the scorer {self.card.name}")
            scores[at : at + BLOCK] = np.einsum("nd,d->n", block.astype(np.float64), self._weight) + self._bias
        return scores


@dataclass(frozen=True)
class Published:
    """A published head: its file, what it is, which vectors it reads and their length in training."""

    file: WeightFile
    model: str
    unit: str
    encoders: tuple[str, ...]
    source: str
    length: float = 1.0


RATING = "rating, asked for on 1 to 10"
GITHUB = "https://raw.githubusercontent.com"


def _openai(architecture: str) -> tuple[str, ...]:
    return (f"{architecture}-quickgelu:openai", f"{architecture}:openai")


def _laion(size: str, encoder: str, count: int, commit: str, sha256: str) -> Published:
    name, source = f"sa_0_4_vit_{size}_linear.pth", "LAION-AI/aesthetic-predictor"
    file = WeightFile(f"laion/{name}", f"{GITHUB}/{source}/{commit}/{name}", sha256, count, "MIT")
    return Published(file, "LAION-Aesthetics predictor V1", RATING, _openai(encoder), source)


def _improved() -> Published:
    source, name = "christophschuhmann/improved-aesthetic-predictor", "sac+logos+ava1-l14-linearMSE.pth"
    digest = "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"
    url = f"{GITHUB}/{source}/main/{name.replace('+', '%2B')}"
    file = WeightFile(f"improved/{name}", url, digest, 3_714_759, "Apache-2.0")
    return Published(file, "improved aesthetic predictor (SAC, logos, AVA)", RATING, _openai("ViT-L-14"), source)


def _simulacra(size: str, encoder: str, width: int, count: int, sha256: str) -> Published:
    name, source = f"sac_public_2022_06_29_vit_{size}_linear.pth", "crowsonkb/simulacra-aesthetic-models"
    file = WeightFile(f"simulacra/{name}", f"{GITHUB}/{source}/master/models/{name}", sha256, count, "MIT")
    model = "ratings of generated pictures (Simulacra Aesthetic Captions)"
    return Published(file, model, RATING, _openai(encoder), source, length=width**0.5)


PUBLISHED = {
    "laion-vit-b-32": _laion(
        "b_32",
        "ViT-B-32",
        3047,
        "814214009feff106add4bb983807704ccdd5a0db",
        "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
    ),
    "laion-vit-b-16": _laion(
        "b_16",
        "ViT-B-16",
        3047,
        "7e37768a02b0863eac390a702903aaa90ecf938e",
        "8ad3923d7ecf019df20ecd2ab5542a3075fbba0278d239c0371345f3d7fcbde0",
    ),
    "laion-vit-l-14": _laion(
        "l_14",
        "ViT-L-14",
        4071,
        "7e37768a02b0863eac390a702903aaa90ecf938e",
        "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
    ),
    "improved-vit-l-14": _improved(),
    "simulacra-vit-b-32": _simulacra(
        "b_32", "ViT-B-32", 512, 3111, "64315370e2293a08cc2f4816ae9db715f935791569c1a57d84b943e482ea5e12"
    ),
    "simulacra-vit-b-16": _simulacra(
        "b_16", "ViT-B-16", 512, 3111, "cdc27b2196565bcb69f2692731084b0189612b98aae74adec033782469ab583c"
    ),
    "simulacra-vit-l-14": _simulacra(
        "l_14", "ViT-L-14", 768, 4135, "f77d1d0f4bb04b0ff8e60c5747fd0bfff0cc4a85263a6106627522c06eae85c6"
    ),
}


def state_to_map(state: Tensors, length: float = 1.0) -> tuple[NDArray[np.float64], float]:
    """weight (D,) and bias of the layers of a state dict `*.weight`, `*.bias` in order, multiplied out; `length` is
    that of the vectors in training.

    Raises FormatError for layers that do not lead from a vector to one number.
    """
    weights = [name for name in state if name.endswith("weight")]
    weights.sort(key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])
    weight, bias = np.zeros((0, 0)), np.zeros(0)
    for number, name in enumerate(weights):
        layer = np.asarray(state[name], np.float64)
        shift = np.asarray(state[name.removesuffix("weight") + "bias"], np.float64)
        if number and layer.shape[1:] != weight.shape[:1]:
            raise FormatError(f"a head whose layer {name} is {layer.shape}", f"{weight.shape[0]} inputs")
        weight, bias = (layer @ weight, layer @ bias + shift) if number else (layer, shift)
    if weight.ndim != 2 or weight.shape[0] != 1:
        raise FormatError(f"a head of shape {weight.shape}", "(1, D)", "Use a head that gives one number.")
    return weight[0] * length, float(bias[0])


def load_downloaded(name: str) -> LinearHead:
    """A published head of PUBLISHED, its file found or downloaded by sha256."""
    import torch

    head = PUBLISHED[name]
    state = torch.load(find(head.file), weights_only=True, map_location="cpu")
    weight, bias = state_to_map({key: value.float().numpy() for key, value in state.items()}, head.length)
    return LinearHead(published_card(name), weight, bias)


def published_card(name: str) -> ScorerCard:
    """The card of a published head, without its weights and so without the bounds of its scores."""
    head = PUBLISHED[name]
    return ScorerCard(
        name=name,
        kind=VECTORS,
        model=f"linear head: {head.model}",
        normalisation="unit vectors" if head.length == 1 else "unit vectors times sqrt(D)",
        unit=head.unit,
        source=head.source,
        licence=head.file.licence,
        checkpoint_sha256=head.file.sha256,
        encoder_names=head.encoders,
    )
