"""What the judges of chat_server.py see: a query of colours ("red", "green", "blue"), pictures of flat colours.

accuracy: how much of the row has the query's colour; aesthetics: how bright it is; diversity: how unlike its pictures
are. What of a row is the sheet's own grey is no picture. Nothing is known of the rows but the PNG.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY, GAP, TILE, CAPTION = 119, 16, 320, 24
COLOURS = "red", "green", "blue"


def rows_of(png: bytes) -> list[NDArray[np.float64]]:
    """Of each row of a sheet the mean colour of its pictures (K, 3)."""
    page = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float64)
    if len(page) < TILE:  # a picture alone
        return [page.mean((0, 1))[None]]
    rows = 2 if len(page) > 2 * TILE else 1
    found = []
    for place in range(rows):
        top = GAP + place * ((CAPTION if rows > 1 else 0) + TILE + GAP) + (CAPTION if rows > 1 else 0)
        tiles = [
            page[top + 40 : top + TILE - 40, left + 40 : left + TILE - 40]  # inside of any letterbox of 4 : 3
            for left in range(GAP, page.shape[1] - TILE, TILE + GAP)
        ]
        found.append(np.array([tile.mean((0, 1)) for tile in tiles]))
    return found


def seen(png: bytes, query: str) -> list[dict[str, float]]:
    """Of each row its three aspects, higher is better."""
    wanted = np.array([float(colour in query) for colour in COLOURS])
    answers = []
    for row in rows_of(png):
        pictures = row[np.abs(row - GREY).max(1) > 2]
        if not len(pictures):
            answers.append({"accuracy": -999.0, "aesthetics": -999.0, "diversity": -999.0})
            continue
        colours = pictures - pictures.mean(1, keepdims=True)
        answers.append(
            {
                "accuracy": float((colours @ wanted).mean()),
                "aesthetics": float(pictures.mean()),
                "diversity": float(pictures.std(0).sum()),
            }
        )
    return answers
