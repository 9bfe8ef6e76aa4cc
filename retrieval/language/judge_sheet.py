"""Rows of pictures as one sheet for a model that looks at them: equal squares, letterboxed, on neutral grey.

Nothing is cropped, as composition is judged; nothing but "Row 1" and "Row 2" is written, so that no name gives a side
away.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from indexes.errors import BeholderError

GREY = 119, 119, 119  # sRGB of half the lightness (L* 50): neither frames bright pictures nor lifts dark ones
TILE = 320  # pixels; two rows of five make 1,664 x 720, which models that cut pictures into tiles of 512 still resolve
GAP = 16
CAPTION = 24
Picture = NDArray[np.uint8]


def sheet(rows: Sequence[Sequence[Picture]], *, tile: int = TILE) -> bytes:
    """A PNG of rows of pictures (uint8 (H, W, 3)), each in a square of `tile` pixels. The same pictures give the same
    bytes. Raises BeholderError for a row without pictures."""
    if not rows or not all(len(row) for row in rows):
        raise BeholderError("a row without pictures", "at least one picture in each", "Leave the query out.")
    columns = max(len(row) for row in rows)
    caption = CAPTION if len(rows) > 1 else 0
    height = GAP + len(rows) * (caption + tile + GAP)
    page = Image.new("RGB", (GAP + columns * (tile + GAP), height), GREY)
    draw = ImageDraw.Draw(page)
    for place, row in enumerate(rows):
        top = GAP + place * (caption + tile + GAP)
        if caption:
            draw.text((GAP, top), f"Row {place + 1}", fill=(255, 255, 255), font=ImageFont.load_default(18))
        for column, pixels in enumerate(row):
            page.paste(_letterboxed(pixels, tile), (GAP + column * (tile + GAP), top + caption))
    stream = io.BytesIO()
    page.save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def _letterboxed(pixels: Picture, side: int) -> Image.Image:
    fitted = ImageOps.contain(Image.fromarray(pixels), (side, side), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), GREY)
    square.paste(fitted, ((side - fitted.width) // 2, (side - fitted.height) // 2))
    return square
