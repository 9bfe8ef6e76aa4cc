"""One unit of an embedding run: its pictures read, decoded and encoded, on this machine or as a task on another.

The batches hold good pictures only and end with the unit, so what comes out depends on the pictures, the encoder, the
batch size, the device and its threads, and on nothing else: not on who does it, or when.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexes.engine.memory import give_back
from indexes.errors import BeholderError
from retrieval.sources.archives import Picture
from retrieval.sources.images import Preprocessing
from retrieval.sources.sources import Uris, pictures, stamp
from retrieval.sources.workers import Decoded, DecodeHere, DecodePool

from .encoder import Encoder
from .encoders import load_encoder

# The C library keeps what batches of other sizes, and pixels out of another thread, leave between its blocks: 270 MB
# were seen with the encoder in the box. Giving it back costs milliseconds.
TRIM_BATCHES = 8


class Decoder(Protocol):
    """Reads and decodes pictures in order; its seconds add up."""

    read_s: float
    decode_s: float

    def decoded(self, pictures: Iterable[Picture], preprocessing: Preprocessing, ahead: int) -> Iterator[Decoded]: ...


@dataclass(frozen=True)
class Encoded:
    """What became of the pictures of a unit, in their order."""

    good: list[Decoded]  # without their pixels
    vectors: NDArray[np.float32]  # (n, D), unit rows, one for each good picture; (0, 0) for none
    rejected: list[list[str]]  # [uri, reason]
    seen: dict[str, list[int]]  # as plan.Seen
    seconds: dict[str, float]  # read, decode, encode


def encode_unit(
    root: Path,
    uris: Sequence[str],
    encoder: Encoder,
    decoder: Decoder,
    batch_size: int,
    looked_at: Callable[[int], None] = lambda count: None,
) -> Encoded:
    """The vectors of the pictures `uris` under `root`. looked_at(n) hears of n more pictures, a batch at a time."""
    good: list[Decoded] = []
    rejected: list[list[str]] = []
    vectors: list[Any] = []
    batch: list[Any] = []
    waiting, encoding = 0, 0.0
    before = decoder.read_s, decoder.decode_s
    # Before the first read: an archive that changes from here on is looked at again by the next run.
    places = Uris(root)
    seen = {name: list(stamp(root / name)) for name in places.archives(uris)}

    def encode() -> float:
        started = time.perf_counter()
        vectors.append(encoder.encode_images(np.stack(batch)))
        batch.clear()
        spent = time.perf_counter() - started
        if len(vectors) % TRIM_BATCHES == 0:
            give_back()
        return spent

    for picture in decoder.decoded(pictures(root, uris), encoder.preprocessing, 3 * batch_size):
        waiting += 1
        if picture.pixels is None:
            rejected.append([picture.uri, picture.reason])
            continue
        batch.append(picture.pixels)
        good.append(replace(picture, pixels=None))
        if len(batch) == batch_size:
            encoding += encode()
            looked_at(waiting)
            waiting = 0
    if batch:
        encoding += encode()
    give_back()
    looked_at(waiting)
    files = [picture for picture in good if not places.split(picture.uri)[0]]
    seen |= {picture.uri: [picture.bytes, picture.mtime_ns] for picture in files}
    seconds = {"read": decoder.read_s - before[0], "decode": decoder.decode_s - before[1], "encode": encoding}
    together = np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32)
    return Encoded(good, together, rejected, seen, seconds)


@dataclass(frozen=True)
class UnitTask:
    """A unit for another machine: it sees the same pictures under the same path, and loads the same encoder."""

    root: str
    uris: tuple[str, ...]
    model: str
    image_fingerprint: str  # that the encoder must have there
    device: str
    threads: int  # of the encoder on a CPU
    workers: int  # decode processes; 0: the task's own
    batch_size: int
    max_pixels: int


def run_unit(task: UnitTask) -> Encoded:
    """The unit, done in this process. Raises BeholderError where the machine lacks the pictures or the encoder."""
    import torch

    root = Path(task.root)
    if not root.is_dir():  # else each picture would be rejected as unreadable
        raise BeholderError(f"a machine of the cluster has no folder {root}", "the pictures under one path on all")
    torch.set_num_threads(task.threads)
    encoder = _encoder(task.model, task.device)
    found = encoder.record.image_fingerprint
    if found != task.image_fingerprint:
        raise BeholderError(
            f"a machine of the cluster has another encoder {task.model} (pictures {found[:12]})",
            f"pictures {task.image_fingerprint[:12]}",
            "Install the same beholder and the same weights on all.",
        )
    if not task.workers:
        return encode_unit(root, task.uris, encoder, DecodeHere(task.max_pixels), task.batch_size)
    with DecodePool(task.workers, task.max_pixels) as pool:
        return encode_unit(root, task.uris, encoder, pool, task.batch_size)


@lru_cache(1)
def _encoder(model: str, device: str) -> Encoder:
    return load_encoder(model, device)
