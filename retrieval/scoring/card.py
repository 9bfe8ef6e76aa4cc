"""What a scorer is: its card, the two kinds (of vectors, of pixels), and which encoder's vectors it may read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.shards import EncoderRecord
from retrieval.sources.images import Picture

VECTORS, PIXELS = "vectors", "pixels"


PYIQA, CRITIC = "pyiqa:", "critic:"


# What a score depends on; the other fields of a card only describe, and may be reworded without scoring again.
DECISIVE = ("name", "kind", "model", "checkpoint_sha256", "encoder", "encoder_names", "normalisation", "max_side_px")


@dataclass(frozen=True)
class ScorerCard:
    """What a scorer says of itself. low and high bound the score; None where nothing does."""

    name: str
    kind: str  # VECTORS or PIXELS
    model: str  # the formula, or the head and what it was trained on
    normalisation: str  # of its input
    unit: str
    source: str
    licence: str = ""
    checkpoint_sha256: str = ""  # "" for a formula
    encoder: str = ""  # image fingerprint of the vectors (or tower) it reads, where that is known
    encoder_names: tuple[str, ...] = ()  # else names of encoders that make such vectors
    low: float | None = None
    high: float | None = None
    higher_is_better: bool = True  # of look scorers: more of what the name says
    max_side_px: int = 0  # of pixels: larger pictures are shrunk to it, smaller ones left; 0 = as they are

    @property
    def fingerprint(self) -> str:
        """sha256 over what a score depends on: scores of two fingerprints never meet."""
        decisive = {name: value for name, value in asdict(self).items() if name in DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "encoder_names": list(self.encoder_names)}


class VectorScorer(Protocol):
    """A scorer of pictures' vectors."""

    @property
    def card(self) -> ScorerCard: ...

    def score_vectors(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """float32 (N,) of unit vectors (N, D) of any float type. Raises BeholderError for another width or length."""
        ...


class PictureScorer(Protocol):
    """A scorer of pixels."""

    @property
    def card(self) -> ScorerCard: ...

    def score_pictures(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """float32 (N,) of pictures, each uint8 (H, W, 3), upright RGB of any size. NaN where it gives none."""
        ...


Scorer = VectorScorer | PictureScorer


def of_vectors(scorers: Sequence[Scorer]) -> list[VectorScorer]:
    """Those that read vectors, as their cards say."""
    return [cast(VectorScorer, scorer) for scorer in scorers if scorer.card.kind == VECTORS]


def of_pixels(scorers: Sequence[Scorer]) -> list[PictureScorer]:
    """Those that read pixels, as their cards say."""
    return [cast(PictureScorer, scorer) for scorer in scorers if scorer.card.kind == PIXELS]


def reads_vectors(card: ScorerCard, record: EncoderRecord) -> bool:
    """Whether vectors of this encoder are those that the scorer was trained on."""
    if card.encoder:
        return card.encoder == record.image_fingerprint
    return record.name in card.encoder_names


def check_encoder(card: ScorerCard, record: EncoderRecord) -> None:
    """Raises BeholderError for a scorer of another encoder's vectors: scores of those would be noise."""
    if not reads_vectors(card, record):
        raise wrong_vectors(card.name, card.encoder_names, record.name)


def wrong_vectors(name: str, encoders: Sequence[str], model: str) -> BeholderError:
    """The error for the vectors of `model` before a scorer of those of `encoders`."""
    names = " or ".join(encoders)
    remedy = f"Embed the pictures with --model {encoders[0]}, or choose a scorer of pixels."
    return BeholderError(f"{name} reads vectors of {names}, these are of {model}", f"vectors of {names}", remedy)
