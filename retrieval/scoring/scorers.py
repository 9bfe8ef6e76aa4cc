"""Scorers: one number per picture, from its vector or its pixels, in a unit, range and direction that a card states.

`load_scorer(name)` knows the names of the table below, `pyiqa:METRIC`, `critic:PATH` and folders of our own heads.
Importing this module is free; what a scorer needs (weights, torch) is loaded when it is.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.sources.images import Picture

from . import look
from .card import CRITIC, PIXELS, PYIQA, Scorer, ScorerCard


class Look:
    """A formula of `look` as a scorer."""

    def __init__(self, card: ScorerCard, formula: Callable[[Picture], float]) -> None:
        self.card, self._formula = card, formula

    def score_pictures(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        from retrieval.sources.images import shrink

        return np.array([self._formula(shrink(one, self.card.max_side_px)) for one in pictures], np.float32)


def _look(name: str) -> Scorer:
    formula, model, unit, low, high, side = LOOK[name]
    card = ScorerCard(
        name=name,
        kind=PIXELS,
        model=model,
        normalisation=f"sRGB; longest side at most {side} px (box filter), never enlarged",
        unit=unit,
        source="see the docstring of retrieval/scoring/look.py",
        licence="Apache-2.0",
        low=low,
        high=high,
        max_side_px=side,
    )
    return Look(card, formula)


# Colour statistics hardly change below 256 px and cost a quarter of those at 512; sharpness needs the fine detail.
LOOK: dict[str, tuple[Callable[[Picture], float], str, str, float, float, int]] = {
    "brightness": (look.brightness, "mean CIE L*", "L*", 0.0, 100.0, 256),
    "contrast": (look.contrast, "RMS contrast of luma (Peli 1990)", "share of full scale", 0.0, 0.5, 256),
    "saturation": (look.saturation, "mean HSV saturation (Smith 1978, Datta et al. 2006)", "share", 0.0, 1.0, 256),
    # The highest is bounded by E[rg^2 + yb^2] <= 1.25 * 255^2 and Cauchy-Schwarz over (1, 0.3).
    "colourfulness": (look.colourfulness, "M of Hasler and Suesstrunk 2003", "M", 0.0, 297.7, 256),
    # Bounds over the corners and a grid of the sRGB cube: (0, 160, 255) is the coolest colour, pure red the warmest.
    "warmth": (look.warmth, "mean warm - cool (Ou et al. 2004)", "warm - cool", -1.67, 2.36, 256),
    "sharpness": (
        look.sharpness,
        "variance of the Laplacian (Pech-Pacheco et al. 2000)",
        "grey^2",
        0.0,
        1040400.0,
        512,
    ),
}


def _head(name: str) -> Scorer:
    from .heads import load_downloaded

    return load_downloaded(name)


def _boxed(name: str) -> Scorer:
    from .own_heads import BOX, load_head

    return load_head(BOX / name, name)


HEADS = (
    "laion-vit-b-32",
    "laion-vit-b-16",
    "laion-vit-l-14",
    "improved-vit-l-14",
    "simulacra-vit-b-32",
    "simulacra-vit-b-16",
    "simulacra-vit-l-14",
)
BOXED = ("beholder-appeal", "complexity")
SCORERS: dict[str, Callable[[str], Scorer]] = {
    **dict.fromkeys(BOXED, _boxed),
    **dict.fromkeys(LOOK, _look),
    **dict.fromkeys(HEADS, _head),
}


def load_scorer(name: str) -> Scorer:
    """A scorer by name: one of SCORERS, `pyiqa:METRIC`, `critic:PATH` (a folder of a model that looks), or a folder
    that `align scorer` wrote.

    Raises BeholderError for another name, and where weights cannot be had.
    """
    if name.startswith(PYIQA):
        from .pyiqa_scorer import load_pyiqa

        return load_pyiqa(name)
    if name.startswith(CRITIC):
        from retrieval.critic.scorer import load_critic_scorer

        return load_critic_scorer(name)
    if name not in SCORERS and os.sep in name:
        from .own_heads import load_head

        return load_head(Path(name))
    if name not in SCORERS:
        raise BeholderError(
            f"there is no scorer {name!r}",
            f"{', '.join(SCORERS)}, pyiqa:METRIC, critic:PATH or a folder",
            "Check the name.",
        )
    return SCORERS[name](name)
