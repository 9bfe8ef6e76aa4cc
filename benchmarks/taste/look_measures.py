"""The six attributes of a look by a second formula each, which nothing is ranked by and nothing trains on.

A system that was taught with the formulas of `retrieval/scoring/look.py` could have learned their quirks; these are
built on other quantities. Pure functions of a picture, uint8 (H, W, 3) sRGB, to one number in the formula's own unit;
`measures` shrinks first. Sources: Reinhard, Stark, Shirley and Ferwerda, SIGGRAPH 2002, eq. 1 (brightness); Ke, Tang
and Jing, CVPR 2006, section 2.5 (contrast); Luebbe, "Colours in the Mind", 2008 (saturation, S+); Martin et al. 2020,
the colourfulness index as in the R package rcaiman; McCamy, Color Research & Application 17(2), 1992 (warmth);
Machado et al., Acta Psychologica 160, 2015 (complexity by JPEG compression).

Deliberate differences are in the docstrings. Ours in `retrieval/scoring/look.py`, for comparison: mean L*, deviation of
luma, mean HSV saturation, Hasler and Suesstrunk's M, warm - cool of CIE hue and chroma, and a head trained on ratings.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval.scoring.look import TO_XYZ, lab
from retrieval.sources.images import Picture, shrink

SIDE = 256  # px: the longest side of what is measured
LOG_FLOOR = 1e-3  # of luminance in [0, 1], so that black pixels have a logarithm
TAILS = 0.01  # of the histogram, left out on either side
CELL = 5.0  # width of a cell of the a*b* plane; rcaiman draws single dots, which count the noise of JPEG
CELL_SHARE = 5e-4  # of the pixels that a cell must hold to count
KELVIN = (1667.0, 25000.0)  # the range in which a colour temperature means anything
JPEG_QUALITY = 75


def log_luminance(picture: Picture) -> float:
    """The key of a picture: mean natural logarithm of its linear luminance in [0, 1]; -6.9 (black) to 0.0 (white)."""
    return float(np.log(LOG_FLOOR + linear(picture) @ TO_XYZ[1]).mean())


def tonal_width(picture: Picture) -> float:
    """The width of the middle 98 % of the joint histogram of R, G and B, as a share of the scale: 0 (one tone) to 1."""
    low, high = np.quantile(picture, [TAILS, 1 - TAILS])
    return float(high - low) / 255


def relative_chroma(picture: Picture) -> float:
    """Mean of chroma / sqrt(chroma^2 + L*^2) in CIELAB, 0 (greys) to 1; black counts as 0."""
    lightness, first, second = np.moveaxis(lab(picture), 2, 0)
    chroma = np.hypot(first, second)
    length = np.hypot(chroma, lightness)
    return float(np.divide(chroma, length, out=np.zeros_like(chroma), where=length > 1).mean())


def colour_area(picture: Picture) -> float:
    """The area of the a*b* plane that the picture's colours cover, in cells of 5 x 5; one for a grey picture.

    The index is this area by that of all of sRGB, a constant, which is left out.
    """
    cells = np.floor(lab(picture)[..., 1:].reshape(-1, 2) / CELL).astype(np.int64)
    counts = np.unique(cells[:, 0] * 1000 + cells[:, 1], return_counts=True)[1]
    return float((counts >= CELL_SHARE * len(cells)).sum())


def inverse_temperature(picture: Picture) -> float:
    """Mired (10^6 / K) of the correlated colour temperature of the mean colour: 154 for greys of sRGB, more is warmer.

    McCamy's polynomial of the mean's chromaticity; temperatures are cut to 1,667 to 25,000 K. Black is a grey.
    """
    x, y, z = TO_XYZ @ linear(picture).mean(axis=(0, 1)) if picture.any() else TO_XYZ.sum(axis=1)
    total = x + y + z
    slope = (x / total - 0.3320) / (0.1858 - y / total)
    kelvin = 449 * slope**3 + 3525 * slope**2 + 6823.3 * slope + 5520.33
    return float(1e6 / np.clip(kelvin, *KELVIN))


def jpeg_bytes(picture: Picture) -> float:
    """Bytes per pixel of the picture as a JPEG of quality 75: what does not repeat costs bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=JPEG_QUALITY)
    return float(buffer.tell() / (picture.shape[0] * picture.shape[1]))


def linear(picture: Picture) -> npt.NDArray[np.float64]:
    """(H, W, 3) linear light in [0, 1] (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    table = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(table[picture])


MEASURES = {
    "brightness": (log_luminance, "mean log luminance (Reinhard et al. 2002)"),
    "contrast": (tonal_width, "width of the middle 98 % of tones (Ke et al. 2006)"),
    "saturation": (relative_chroma, "chroma / sqrt(chroma^2 + L*^2) (Luebbe 2008)"),
    "colourfulness": (colour_area, "area of the a*b* plane (Martin et al. 2020)"),
    "warmth": (inverse_temperature, "inverse colour temperature of the mean (McCamy 1992)"),
    "complexity": (jpeg_bytes, "JPEG bytes per pixel (Machado et al. 2015)"),
}


def measures(picture: Picture) -> npt.NDArray[np.float64]:
    """(6,) in the order of MEASURES, of the picture shrunk to a longest side of 256 px."""
    small = shrink(picture, SIDE)
    return np.array([formula(small) for formula, _ in MEASURES.values()])
