"""Progress of long work: one line on stderr, only where that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_line(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function (done, total) that redraws the line at most ten times a second."""
    started, drawn = time.perf_counter(), 0.0

    def show(done: int, total: int) -> None:
        nonlocal drawn
        now = time.perf_counter()
        if not sys.stderr.isatty() or (now - drawn < 0.1 and done < total):
            return
        drawn = now
        rate = done / max(now - started, 1e-9)
        left = (total - done) / rate if rate else 0.0
        line = f"\r{done:,} of {total:,} {unit}  {rate:,.0f}/s  {left:,.0f} s left"
        print(f"{line:<70}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if drawn:
            print(file=sys.stderr)
