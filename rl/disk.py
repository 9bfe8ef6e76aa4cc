"""A disk that is full: one line in place of a traceback; room taken before a file is written through memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from indexes.errors import BeholderError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room_needed(remedy: str) -> Iterator[None]:
    """Raises BeholderError for a write that found no room, whichever library wrote; other errors stay as they are."""
    try:
        yield
    except Exception as error:
        if isinstance(error, BeholderError) or not is_full(error):
            raise
        where = getattr(error, "filename", None)
        told = f"the disk is full{f' ({where})' if where else ''}: {str(error).splitlines()[0][:200]}"
        raise BeholderError(told, "room for the run's files", remedy) from error


def is_full(error: Exception) -> bool:
    """Libraries written in Rust pass the system's words on, not its number."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(os.strerror(number) in str(error) for number in NO_ROOM)


def new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """A .npy file to be written through memory. Its blocks are taken now: a disk that fills up later would end the
    process with a signal, and nothing said."""
    array: np.memmap[Any, np.dtype[Any]] = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))
    return array
