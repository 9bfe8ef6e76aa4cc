"""Pictures: found, decoded to upright RGB, fitted to an encoder's input. A bad file is a record, not a crash.

No torch here: decode workers import only this module, Pillow and NumPy.
"""

import io
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from indexes.errors import BeholderError

Picture = NDArray[np.uint8]  # (H, W, 3), upright RGB

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".avif",
        ".ico",
        ".jp2",
        ".tga",
    ]
)
# Raster formats only: Pillow would also hand EPS to an external program.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "AVIF", "ICO", "JPEG2000", "TGA")
UNREAD_FOLDER = "folder cannot be read"  # a reason's beginning
MAX_PIXELS = 200_000_000  # 600 MB as RGB; a larger picture is refused from its header, before it is decoded


class BadPicture(Exception):
    """A file that is no usable picture; the text is the reason, for `rejected.jsonl`."""


@dataclass(frozen=True)
class Preprocessing:
    """How an upright RGB picture becomes an encoder's input, as open_clip's own transform does it."""

    size: int  # pixels, height and width
    mean: tuple[float, ...]  # per channel, of values in [0, 1]
    std: tuple[float, ...]
    interpolation: str = "bicubic"  # or bilinear
    resize_mode: str = "shortest"  # shortest + centre crop, longest + padding, or squash
    fill_color: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Preprocessing":
        size = content.get("size", 224)
        if isinstance(size, list | tuple):
            if len(set(size)) != 1:
                raise BeholderError(f"the encoder wants pictures of {size}", "a square input", "Use another encoder.")
            size = size[0]
        mean, std = content["mean"], content["std"]
        return cls(
            size=int(size),
            mean=tuple(mean) if isinstance(mean, list | tuple) else (float(mean),) * 3,
            std=tuple(std) if isinstance(std, list | tuple) else (float(std),) * 3,
            interpolation="bilinear" if content.get("interpolation") == "bilinear" else "bicubic",
            resize_mode=content.get("resize_mode") or "shortest",
            fill_color=int(content.get("fill_color") or 0),
        )


def list_pictures(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Sorted uris (paths under the folder, with /) of files with a picture's suffix; (name, reason) of unusable ones.

    Links to folders are not followed and hidden names are left out. Raises BeholderError where there is no folder.
    """
    if not folder.is_dir():
        raise BeholderError(f"there is no folder {folder}", "a folder of pictures", "Check the path.")
    found: list[str] = []
    rejected: list[tuple[str, str]] = []
    waiting = [("", os.fspath(folder))]
    while waiting:
        prefix, place = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            rejected.append((_printable(prefix or "."), f"{UNREAD_FOLDER}: {error.strerror}"))
            continue
        for entry in entries:
            uri = f"{prefix}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{uri}/", entry.path))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir():
                if not _is_utf8(uri):
                    rejected.append((_printable(uri), "name is not UTF-8"))
                elif entry.is_file():
                    found.append(uri)
                else:
                    rejected.append((uri, "not a regular file (a broken link, a pipe or a device)"))
    return sorted(found), sorted(rejected)


def decode(content: bytes, max_pixels: int = MAX_PIXELS, *, least: int = 0) -> Image.Image:
    """The first frame, upright (EXIF), as RGB with transparency over white and 16 bits scaled to 8.

    least: where above 0, a JPEG may come smaller (1/2, 1/4 or 1/8), no side below so many pixels: for thumbnails.
    Raises BadPicture with a reason that names no path.
    """
    if not content:
        raise BadPicture("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning: ours is a limit, below
            picture = Image.open(io.BytesIO(content), formats=known_formats())
            if picture.width * picture.height > max_pixels:
                raise BadPicture(f"{picture.width} x {picture.height} pixels, more than {max_pixels:,}")
            if least:
                picture.draft(None, (least, least))  # other formats do nothing here
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture))
    except BadPicture:
        raise
    except UnidentifiedImageError as error:
        raise BadPicture("not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise BadPicture(f"too many pixels, more than {max_pixels:,}") from error
    except Exception as error:  # decoders raise whatever a damaged file makes them raise: the reason is recorded
        raise BadPicture(f"cannot be decoded: {type(error).__name__}: {error}") from error


@cache
def known_formats() -> list[str]:
    """Those of FORMATS that this Pillow was built with; `Image.open` knows only the commonest before `init`."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _to_rgb(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode == "RGB":
        return picture
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(picture))).convert("RGB")
    if "transparency" in picture.info or mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        if mode in ("La", "RGBa"):
            picture = picture.convert("LA" if mode == "La" else "RGBA")
        layers = picture.convert("RGBA")
        white = Image.new("RGBA", layers.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layers).convert("RGB")
    return picture.convert("RGB")


def _to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """16-bit integers by 1/257; floats are taken as [0, 1] unless they exceed it, then as [0, 255]."""
    if values.dtype.kind == "f":
        scale = 255.0 if np.nanmax(values) <= 1.0 else 1.0
        scaled: NDArray[np.uint8] = np.clip(np.nan_to_num(values) * scale, 0, 255).round().astype(np.uint8)
        return scaled
    bytes_: NDArray[np.uint8] = (np.clip(values.astype(np.int64), 0, 65535) // 257).astype(np.uint8)
    return bytes_


def fit(picture: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """uint8 (S, S, 3), the pixels that open_clip's PIL transform of the same settings would normalise."""
    size = preprocessing.size
    resample = Image.Resampling.BILINEAR if preprocessing.interpolation == "bilinear" else Image.Resampling.BICUBIC
    width, height = picture.size
    if preprocessing.resize_mode == "squash":
        return np.asarray(picture.resize((size, size), resample))
    if preprocessing.resize_mode == "longest":
        ratio = max(height, width) / size
        scaled = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        canvas = Image.new("RGB", (size, size), (preprocessing.fill_color,) * 3)
        canvas.paste(picture.resize(scaled, resample), ((size - scaled[0]) // 2, (size - scaled[1]) // 2))
        return np.asarray(canvas)
    short, long = min(width, height), max(width, height)
    other = int(size * long / short)
    scaled = (size, other) if width <= height else (other, size)
    picture = picture if scaled == picture.size else picture.resize(scaled, resample)
    left, top = round((scaled[0] - size) / 2.0), round((scaled[1] - size) / 2.0)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def shrink(picture: Picture, longest: int) -> Picture:
    """uint8 (h, w, 3) with no side above `longest` px (box filter); the picture itself where it fits or that is 0."""
    height, width = picture.shape[:2]
    if not longest or max(height, width) <= longest:
        return picture
    ratio = longest / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the name's bytes came in as surrogates
        return False
    return True


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
