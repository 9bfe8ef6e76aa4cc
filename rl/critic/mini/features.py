"""What the frozen tower sees in each picture, computed once and kept as float16: training runs the rest alone.

features.npy: (pictures, versions, tokens, layers x width); version 0 as it is, 1 mirrored. rows.json says whose rows
they are and how many are whole, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import write_json_atomic
from retrieval.sources.images import BadPicture, decode
from rl.disk import new_array

FILE, ROWS = "features.npy", "rows.json"
AT_ONCE = 32
Progress = Callable[[int, int], None]
Features = NDArray[np.float16]


def picture_features(tower: Any, pixels: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """(B, 1 + patches, layers x width): hidden states of these layers side by side, as LLaVA takes them with the
    strategy `full`."""
    with torch.inference_mode():
        states = tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    return torch.cat([states[layer] for layer in layers], dim=-1)


def keep_features(
    folder: Path, pictures: Sequence[tuple[str, str]], data: Path, tower: Any, image_processor: Any,
    layers: Sequence[int], *, flips: bool, identity: str, progress: Progress | None = None,
) -> Features:  # fmt: skip
    """Features of pictures (path under data, sha256), in this order. `identity`: of what makes them. Raises FormatError
    for a folder of others, BeholderError for a picture that cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"identity": identity, "sha256s": [sha256 for _, sha256 in pictures]}
    path, rows = folder / FILE, folder / ROWS
    done = 0
    array: np.memmap[Any, np.dtype[np.float16]]
    if rows.is_file():
        kept = json.loads(rows.read_bytes())
        done = kept.pop("done")
        if kept != told:
            raise FormatError(
                f"{folder} holds features of others", "the same pictures and tower", "Use another folder."
            )
        array = np.load(path, mmap_mode="r+")
    else:
        first = _features(tower, image_processor, [data / pictures[0][0]], layers, False)
        array = new_array(path, np.float16, (len(pictures), 1 + flips, *first.shape[1:]))
        write_json_atomic(rows, {**told, "done": 0})
    for start in range(done, len(pictures), AT_ONCE):
        block = [data / one for one, _ in pictures[start : start + AT_ONCE]]
        for version in range(1 + flips):
            array[start : start + len(block), version] = _features(tower, image_processor, block, layers, bool(version))
        if (start // AT_ONCE) % 16 == 15 or start + AT_ONCE >= len(pictures):
            array.flush()
            write_json_atomic(rows, {**told, "done": start + len(block)})
        if progress is not None:
            progress(start + len(block), len(pictures))
    return array


def spread(features: Features, rows: Sequence[int], seed: int, most: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (D,) of the tokens of up to `most` of these rows."""
    drawn = np.random.default_rng(seed).permutation(np.asarray(rows))[:most]
    values = np.asarray(features[np.sort(drawn), 0], np.float32).reshape(-1, features.shape[-1])
    return torch.from_numpy(values.mean(axis=0)), torch.from_numpy(values.std(axis=0))


def _features(tower: Any, processor: Any, paths: Sequence[Path], layers: Sequence[int], mirrored: bool) -> Features:
    opened = []
    for path in paths:
        try:
            opened.append(decode(path.read_bytes()))
        except (OSError, BadPicture) as error:
            raise BeholderError(f"{path.name} cannot be read ({error})", "a picture", "Leave its set out.") from error
    pixels = processor(images=opened, return_tensors="pt")["pixel_values"]
    found = picture_features(tower, pixels.flip(-1) if mirrored else pixels, layers)
    return np.asarray(found.float().numpy(), np.float16)
