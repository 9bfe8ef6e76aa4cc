"""A scorer's self-test: pictures whose answers are known catch one that is broken, whatever its author believes.

A flat grey picture, photographs blurred more and more, their pixels shuffled, and real pictures of the box. Every
scorer must give finite, repeatable scores within its stated range that tell real pictures apart; what blur, shuffling
and grey must do to its score stands in EXPECTED. Shuffling keeps every colour and no shape, blur keeps the shapes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from retrieval.encoding.encoder import Encoder
from retrieval.sources.images import Picture, decode, fit, shrink

from .card import PIXELS, Scorer, of_pixels, of_vectors

SAMPLES = Path(__file__).parents[1] / "samples"
PHOTOGRAPHS = ("photo_skimage_astronaut", "photo_budgie_roman-colosseum", "photo_budgie_the-spices-of-life")
RADII = (0, 1, 2, 4, 8)  # px of Gaussian blur on SIDE px
SIDE = 256
GREY = 1e-2  # how far the score of grey may be from the known one
SAME = 1e-4  # of the range seen on real pictures: float32 towers differ by less between batches
RISES, FALLS, KEEPS = "rises", "falls", "keeps"


@dataclass(frozen=True)
class Expectation:
    """What must happen: the score of flat grey where it is known, the score's way from sharp to most blurred, and from
    a picture to its shuffled pixels ("" = nothing is known)."""

    grey: float | None = None
    blur: str = ""
    shuffle: str = ""
    strictly: bool = False  # at every step of the blur, not only from end to end


EXPECTED: dict[str, Expectation] = {
    "brightness": Expectation(53.585, shuffle=KEEPS),  # L* of sRGB 128
    "contrast": Expectation(0.0, blur=FALLS, shuffle=KEEPS, strictly=True),
    "saturation": Expectation(0.0, shuffle=KEEPS),
    "colourfulness": Expectation(0.0, blur=FALLS, shuffle=KEEPS, strictly=True),
    "warmth": Expectation(-0.5, shuffle=KEEPS),
    "sharpness": Expectation(0.0, blur=FALLS, shuffle=RISES, strictly=True),
    "complexity": Expectation(blur=FALLS),
    "beholder-appeal": Expectation(shuffle=FALLS),
}


@dataclass(frozen=True)
class Finding:
    """One check: what it is about, whether it holds, and what was seen."""

    name: str
    ok: bool
    found: str


def try_scorer(scorer: Scorer, encoder: Encoder | None = None) -> list[Finding]:
    """The findings about a scorer. `encoder`: of a scorer of vectors, which are made of the test pictures by it."""
    score = _score_of(scorer, encoder)
    card = scorer.card
    expected = EXPECTED.get(card.name, Expectation())
    real = real_pictures()
    scores = score(real)
    finite = np.isfinite(scores)
    width = float(np.ptp(scores)) if finite.all() else 0.0
    alone = np.concatenate([score([one]) for one in real[:3]])
    apart = width > 0 and len(np.unique(scores)) > len(real) // 2
    findings = [
        Finding("finite", scores.shape == (len(real),) and bool(finite.all()), f"{finite.sum()} of {len(real)}"),
        Finding("apart", apart, f"{len(real)} pictures over {width:.4g}"),
        Finding("repeatable", _close(score(real[::-1])[::-1], scores, width), "the same in another order"),
        Finding("alone", _close(alone, scores[:3], width), "and one by one"),
    ]
    flat = float(score([grey()])[0])
    photographs = [sample(name) for name in PHOTOGRAPHS]
    # Means over the photographs: what blur does to one of them may be an accident of it.
    ladder = np.mean([score(blurred(photograph)) for photograph in photographs], axis=0)
    pair = np.array([ladder[0], score([shuffled(photograph) for photograph in photographs]).mean()])
    low, high = _or_none(card.low, -np.inf), _or_none(card.high, np.inf)
    whole = np.array([flat, *ladder, *pair, *scores])
    inside = bool((whole >= low).all() and (whole <= high).all())
    findings.append(Finding("range", inside, f"{whole.min():.4g} to {whole.max():.4g}; stated {low:g} to {high:g}"))
    if expected.grey is not None:
        findings.append(Finding("grey", abs(flat - expected.grey) < GREY, f"{flat:.4g} ({expected.grey:.4g})"))
    moved = _goes(ladder, expected.blur, expected.strictly, width)
    findings.append(Finding("blur", moved, _said(ladder, expected.blur)))
    findings.append(Finding("shuffle", _goes(pair, expected.shuffle, True, width), _said(pair, expected.shuffle)))
    return findings


def real_pictures() -> list[Picture]:
    """Some photographs and paintings of the box, no side above SIDE px."""
    names = sorted(SAMPLES.glob("photo_*.jpg"))[::8] + sorted(SAMPLES.glob("painting_*.jpg"))[::16]
    return [sample(name.stem) for name in names]


def sample(name: str) -> Picture:
    """A picture of the box by name, no side above SIDE px."""
    return shrink(np.asarray(decode((SAMPLES / f"{name}.jpg").read_bytes())), SIDE)


def grey() -> Picture:
    """uint8 (SIDE, SIDE, 3) of 128."""
    return np.full((SIDE, SIDE, 3), 128, np.uint8)


def blurred(picture: Picture) -> list[Picture]:
    """The picture under Gaussian blur of each of RADII."""
    return [np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius))) for radius in RADII]


def shuffled(picture: Picture, seed: int = 0) -> Picture:
    """The picture's pixels in another order."""
    pixels = picture.reshape(-1, 3)
    return np.random.default_rng(seed).permutation(pixels).reshape(picture.shape)


def _score_of(scorer: Scorer, encoder: Encoder | None) -> Callable[[Sequence[Picture]], NDArray[np.float32]]:
    if scorer.card.kind == PIXELS:
        return of_pixels([scorer])[0].score_pictures
    reader = of_vectors([scorer])[0]
    if encoder is None:
        raise ValueError("a scorer of vectors is tried with their encoder")

    def score(pictures: Sequence[Picture]) -> NDArray[np.float32]:
        pixels = np.stack([fit(Image.fromarray(picture), encoder.preprocessing) for picture in pictures])
        return reader.score_vectors(encoder.encode_images(pixels))

    return score


def _goes(values: NDArray[Any], way: str, strictly: bool, width: float) -> bool:
    """Whether values move as expected, or by no more than rounding for KEEPS."""
    steps = np.diff(values.astype(np.float64)) if strictly else values[-1:].astype(np.float64) - values[:1]
    if way == RISES:
        return bool((steps > 0).all())
    if way == FALLS:
        return bool((steps < 0).all())
    return not way or bool((abs(steps) <= SAME * width).all())


def _close(first: NDArray[np.float32], second: NDArray[np.float32], width: float) -> bool:
    return bool(np.allclose(first, second, rtol=0, atol=max(SAME * width, 1e-12)))


def _said(values: NDArray[Any], way: str) -> str:
    seen = " ".join(f"{value:.4g}" for value in values)
    return f"{seen} ({way})" if way else seen


def _or_none(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
