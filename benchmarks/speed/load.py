"""A compiled load of requests (load.c): Python cannot ask as fast as a service answers on the same cores."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexes.errors import BeholderError

SOURCE = Path(__file__).parent / "load.c"


@dataclass(frozen=True)
class Load:
    """What one run of the load saw; milliseconds from request (open loop: from when it was due) to answer."""

    requests: int
    errors: int  # other statuses than 200, and broken connections
    bytes: int
    seconds: float
    cpu_seconds: float  # of the load itself
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        """Requests/s."""
        return self.requests / self.seconds


class LoadMaker:
    """The compiled program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, port: int, path: str, bodies: Path, *, connections: int, seconds: float, rate: float = 0.0) -> Load:
        """POSTs the bodies (one a line) to this machine. rate: requests/s that are due whatever the answers do; 0: each
        connection asks again when it is answered. Raises BeholderError for bodies that cannot be read."""
        command = [self._program, "127.0.0.1", port, path, bodies, connections, seconds, rate]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode:
            raise BeholderError(
                f"the load of requests ended with {done.returncode} ({done.stderr.strip()})", "an answer"
            )
        return Load(**json.loads(done.stdout))


@contextmanager
def compiled() -> Iterator[LoadMaker]:
    """The load, compiled for as long as it is needed. Raises BeholderError without a C compiler or off Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BeholderError("no C compiler", "cc, gcc or clang", "Install one: the load of requests is compiled.")
    with tempfile.TemporaryDirectory(prefix="beholder-load-") as place:
        program = Path(place) / "load"
        done = subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise BeholderError(f"{SOURCE.name} does not compile ({last})", "Linux with its headers")
        yield LoadMaker(program)
