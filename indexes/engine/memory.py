"""Sizes of memory: as people write them, and the most that a piece of work held."""

import importlib
import re
import resource
import sys
import threading
from pathlib import Path

from indexes.errors import BeholderError

_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?B)?", re.IGNORECASE)
EVERY_S = 0.01


def parse_size(text: str) -> int:
    """The bytes of "4GiB", "500MB" or "1073741824". Raises BeholderError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise BeholderError(f"memory {text!r}", "a size such as 4GiB or 500MB")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def shown(size: float) -> str:
    """ "3.2 GiB": three digits at most."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


class PeakMemory:
    """Context: `bytes` is the most anonymous memory that the process held beyond what it held at the start.

    Memory-mapped files do not count: the system takes their pages back when it needs them. FAISS itself (some
    100 MB once loaded) does not count either. Sampled every EVERY_S on Linux; elsewhere the rise of the whole
    process's peak, mapped files included.
    """

    def __enter__(self) -> "PeakMemory":
        importlib.import_module("faiss")
        self.bytes, self._start, self._done = 0, _held(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self.bytes = max(self.bytes, _held() - self._start)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        self.bytes = max(self.bytes, _held() - self._start)


def _held() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Returns freed memory to the system: Arrow's pool, and the C library's where that is glibc, which else
    keeps freed lists of an index for itself (read back to be tuned, the index would be held twice)."""
    import ctypes

    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)
