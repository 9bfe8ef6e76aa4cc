"""Training pixels: each picture decoded once to uint8 in a file; seeded augmentation of a batch of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.manifest import publish
from retrieval.sources.images import BadPicture, Preprocessing, decode, fit

from .disk import new_array

if TYPE_CHECKING:
    from torch import Tensor


def decode_all(
    pictures: Sequence[Path],
    preprocessing: Preprocessing,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """uint8 (N, S, S, 3), memory-mapped from a file in `folder` named by what it holds; made where it is
    missing.

    The name covers paths, sizes and dates of the pictures. Raises BeholderError for a picture that cannot be
    read.
    """
    described = [(os.fspath(path), *_size_and_date(path)) for path in pictures]
    digest = hashlib.sha256(json.dumps([preprocessing.to_dict(), described]).encode()).hexdigest()[:16]
    path = folder / f"pixels-{digest}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{path.name}.{os.getpid()}"
        size = preprocessing.size
        pixels = new_array(temporary, np.uint8, (len(pictures), size, size, 3))
        for number, picture in enumerate(pictures):
            try:
                pixels[number] = fit(decode(picture.read_bytes()), preprocessing)
            except BadPicture as error:
                raise BeholderError(
                    f"{picture} is no usable picture ({error})", "a picture", "Take it out of the table."
                ) from error
            if progress:
                progress(number + 1, len(pictures))
        pixels.flush()
        del pixels
        publish(temporary, path)
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return mapped


def _size_and_date(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise BeholderError(f"there is no picture {path}", "the picture of a table's row", "Check --data.") from error
    return stat.st_size, stat.st_mtime_ns


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """float32 (B, 3, S, S) of uint8 (B, S, S, 3), as the encoder wants it."""
    import torch

    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(1, 3, 1, 1)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def crop_boxes(generator: np.random.Generator, count: int, min_area: float, flip: bool) -> NDArray[np.float32]:
    """float32 (count, 5): centre x, centre y, half width, half height in [-1, 1] of the picture, and flip (1
    or -1).

    The crop's area is uniform in [min_area, 1], its aspect ratio log-uniform in [3/4, 4/3] as far as it fits
    inside.
    """
    area = generator.uniform(min_area, 1, count)
    ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3), count))
    half_width = np.minimum(1, np.sqrt(area * ratio))
    half_height = np.minimum(1, np.sqrt(area / ratio))
    x = generator.uniform(-1, 1, count) * (1 - half_width)
    y = generator.uniform(-1, 1, count) * (1 - half_height)
    mirrored = np.where(flip & (generator.random(count) < 0.5), -1, 1)
    return np.stack([x, y, half_width, half_height, mirrored], 1).astype(np.float32)


def crop(images: Tensor, boxes: NDArray[Any]) -> Tensor:
    """float32 (B, 3, S, S): each image's box enlarged to the whole size, bilinear, mirrored where its flip is
    -1.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    x, y, half_width, half_height, mirrored = torch.from_numpy(boxes).to(images.device).T
    zero = torch.zeros_like(x)
    theta = torch.stack([torch.stack([half_width * mirrored, zero, x], 1), torch.stack([zero, half_height, y], 1)], 1)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
