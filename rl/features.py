"""What frozen parts of the towers give for every picture and caption, computed once and kept in files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.records.manifest import publish

from .disk import new_array

if TYPE_CHECKING:
    from torch import Tensor

FORWARD = 64  # pictures or captions in one forward without gradients
Progress = Callable[[int, int], None]


def cache_name(kind: str, *parts: Any) -> str:
    """A file's name that changes with what the array was made from."""
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}.npy"


def compute_once(
    path: Path, count: int, forward: Callable[[slice], Tensor], progress: Progress | None = None
) -> NDArray[np.float16]:
    """float16 (count, ...), memory-mapped: `forward` of consecutive slices, computed where the file is
    missing.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        array: np.memmap[Any, np.dtype[np.float16]] | None = None
        for rows, values in _forward(count, forward):
            if array is None:
                array = new_array(temporary, np.float16, (count, *values.shape[1:]))
            array[rows] = values
            if progress:
                progress(rows.stop, count)
        if array is None:
            raise ValueError("there is nothing to compute")
        array.flush()
        del array
        publish(temporary, path)
    mapped: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return mapped


def texts_once(path: Path, tokens: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
    """float32 (T, F): `forward` of token ids (T, context), or of float rows, computed where the file is missing.

    Texts of like length go together: padding to the longest of a batch would cost half.
    """
    import torch

    order = torch.arange(len(tokens)) if tokens.is_floating_point() else (tokens != 0).sum(1).argsort()
    kept = compute_once(path, len(tokens), lambda rows: forward(tokens[order[rows]]))
    return torch.from_numpy(np.array(kept)).float()[order.argsort()]


def _forward(count: int, forward: Callable[[slice], Tensor]) -> Iterator[tuple[slice, NDArray[np.float16]]]:
    import torch

    for start in range(0, count, FORWARD):
        rows = slice(start, min(start + FORWARD, count))
        with torch.inference_mode():
            yield rows, forward(rows).half().cpu().numpy()
