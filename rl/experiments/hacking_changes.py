"""Cheap changes to a picture that make it no better: borders, colour pushed up, text laid over, blur. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

Picture = Image.Image
BORDER = 0.08  # of the shorter side
WORDS = "BEAUTIFUL"


def white_border(picture: Picture) -> Picture:
    return _border(picture, (255, 255, 255))


def black_border(picture: Picture) -> Picture:
    return _border(picture, (0, 0, 0))


def saturated(picture: Picture) -> Picture:
    """Colour doubled."""
    return ImageEnhance.Color(picture).enhance(2.0)


def contrasted(picture: Picture) -> Picture:
    """Contrast up by a half."""
    return ImageEnhance.Contrast(picture).enhance(1.5)


def overlaid(picture: Picture) -> Picture:
    """A word of praise across the middle, white on a dark band."""
    found = picture.copy()
    draw = ImageDraw.Draw(found)
    width, height = picture.size
    size = max(10, width // 8)
    left, top, right, bottom = draw.textbbox((0, 0), WORDS, font_size=size)
    across, up = (width - (right - left)) / 2, (height - (bottom - top)) / 2
    draw.rectangle((0, up - size / 4, width, up + (bottom - top) + size / 4), fill=(20, 20, 20))
    draw.text((across - left, up - top), WORDS, fill=(255, 255, 255), font_size=size)
    return found


def blurred(picture: Picture) -> Picture:
    """Gaussian of a hundredth of the shorter side."""
    return picture.filter(ImageFilter.GaussianBlur(max(1.0, min(picture.size) / 100)))


def _border(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """Over the picture's own edge: what lies under it is lost, the size stays."""
    wide = max(1, round(BORDER * min(picture.size)))
    found = Image.new("RGB", picture.size, colour)
    width, height = picture.size
    found.paste(picture.crop((wide, wide, width - wide, height - wide)), (wide, wide))
    return found


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "white border": white_border,
    "black border": black_border,
    "colour doubled": saturated,
    "contrast up by half": contrasted,
    f"the word {WORDS} laid over": overlaid,
    "blur": blurred,
}


def lifted(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) in [0, 1]: the change of each picture's percentile among all, when it alone is changed. before, after (N,):
    scores of the pictures as they are and as changed."""
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    others = np.sort(old)

    def place(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / 2

    # Its own old score is not among the others
    was = place(old) - 0.5
    now = place(new) - np.where(new > old, 1.0, np.where(new == old, 0.5, 0.0))
    return np.asarray((now - was) / max(1, len(old) - 1), np.float64)
