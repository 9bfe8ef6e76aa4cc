"""One writer per folder. Readers take no lock: they see the old manifest or the new one."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexes.errors import BeholderError

LOCK = ".lock"
# A child process that another thread starts holds our open files for a moment, locks included.
PATIENCE_S = 2.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the kernel lets go of it when the process ends, however it ends.

    Raises BeholderError while another process (or another call of this one) writes the folder.
    """
    with (folder / LOCK).open("w") as lock:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise BeholderError(f"another run is writing {folder}", "one at a time", "Wait for it.") from error
                time.sleep(PATIENCE_S / 40)
        yield
