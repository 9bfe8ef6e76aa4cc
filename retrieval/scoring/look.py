"""How a picture looks, by published formulas: brightness, contrast, saturation, colourfulness, warmth, sharpness.

Pure functions of a picture, uint8 (H, W, 3) sRGB, to one number in the formula's own unit. They say nothing of good or
bad: more is only more. Sources: CIE 1976 L*a*b* over sRGB (IEC 61966-2-1); Peli, JOSA A 7(10), 1990 (RMS contrast);
Smith, SIGGRAPH 1978 (HSV saturation; its mean over a picture as in Datta et al., ECCV 2006, f3); Hasler and Suesstrunk,
SPIE 5007, 2003, eq. 10 (colourfulness); Ou, Luo, Woodcock and Wright, Color Research & Application 29(3), 2004 (warm -
cool); Pech-Pacheco et al., ICPR 2000 (variance of the Laplacian).

Deliberate differences: a formula for one colour is averaged over pixels; luma weights are those of ITU-R BT.601.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from retrieval.sources.images import Picture

LUMA = np.array([0.299, 0.587, 0.114])
TO_XYZ = np.array(  # of linear sRGB
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE_XYZ = TO_XYZ / TO_XYZ.sum(axis=1, keepdims=True)  # relative to the white of sRGB (D65), which becomes (1, 1, 1)
DELTA = 6 / 29  # where CIE's cube root gives way to a line


def brightness(picture: Picture) -> float:
    """Mean CIE lightness L*, 0 (black) to 100 (white)."""
    return float((116 * _curved(_linear()[picture] @ WHITE_XYZ[1]) - 16).mean())


def contrast(picture: Picture) -> float:
    """RMS contrast: standard deviation of luma in [0, 1]; 0 (one grey) to 0.5 (half black, half white)."""
    return float((luma(picture) / 255).std())


def saturation(picture: Picture) -> float:
    """Mean HSV saturation (max - min) / max, 0 (greys) to 1 (pure colours); black counts as 0."""
    highest = picture.max(axis=2).astype(np.float64)
    spread = highest - picture.min(axis=2)
    return float(np.divide(spread, highest, out=np.zeros_like(spread), where=highest > 0).mean())


def colourfulness(picture: Picture) -> float:
    """M = sigma + 0.3 mu of the opponent colours R - G and (R + G) / 2 - B; 0 (greys), 15 slightly, 59 quite, above
    109 extremely colourful (the paper's Table 2)."""
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


def warmth(picture: Picture) -> float:
    """Mean warm - cool: -0.5 + 0.02 C*^1.07 cos(h - 50 degrees) of CIE chroma and hue; above 0 warm, -0.5 for greys."""
    _, first, second = np.moveaxis(lab(picture), 2, 0)
    chroma, hue = np.hypot(first, second), np.arctan2(second, first)
    return float((-0.5 + 0.02 * chroma**1.07 * np.cos(hue - np.deg2rad(50))).mean())


def sharpness(picture: Picture) -> float:
    """Variance of the Laplacian (four neighbours) of luma in [0, 255], borders left out; 0 below 3 pixels."""
    grey = luma(picture)
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())


def luma(picture: Picture) -> NDArray[np.float64]:
    """(H, W) Y' of BT.601 in [0, 255]."""
    grey: NDArray[np.float64] = picture @ LUMA
    return grey


def lab(picture: Picture) -> NDArray[np.float64]:
    """(H, W, 3) CIE L*a*b* for the white of sRGB (D65): L* in [0, 100], a* and b* about -108 to 99."""
    x, y, z = np.moveaxis(_curved(_linear()[picture] @ WHITE_XYZ.T), 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2)


def _curved(relative: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE's f: a cube root, and a line near black."""
    return np.where(relative > DELTA**3, np.cbrt(relative), relative / (3 * DELTA**2) + 4 / 29)


@cache
def _linear() -> NDArray[np.float64]:
    """(256,) linear light of each sRGB value (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
