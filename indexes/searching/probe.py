"""Opening an INDEX folder in a child process that may crash, hang or run out of memory in the caller's stead.

The child does all that a caller may do: verifies, opens, checks the structure (structure.py), searches, reads
items. It
is limited in memory, CPU and wall time by the size of the files, can write no file, and takes nothing from
the working folder. It guards against damage, not against code that a hand-made file might smuggle into FAISS:
that would run as the user.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from indexes.errors import FormatError
from indexes.records.segments import IndexManifest

# Address space, not resident: on top of what Python and the libraries take. A row of items may take 4 KiB
# unpacked (a path, a digest, a caption, some columns); vectors and FAISS's file are mapped or read, and held
# twice while they are read.
MEMORY_FIXED = 768 << 20
MEMORY_PER_ROW = 4096
CPU_FIXED_S = 60.0
CPU_BYTES_PER_S = 20 << 20  # sha256, unit lengths and a search: a slow core; it takes a fraction of this
WALL_PER_CPU = 3  # a slow disk, and a machine whose cores others use
REMEDY = "Do not use it; get it again, or build it here."
CHILD = "import sys; sys.path.append(sys.argv[1]); from indexes.searching.probe_child import child; child()"


def probe(folder: Path, mapped: bool) -> None:
    """Returns when a child process has opened and searched the index. Raises FormatError with its complaint,
    or how it ended.
    """
    manifest = IndexManifest.read(folder)
    size = sum(record.bytes for record in manifest.files)
    rows = sum(segment.count for segment in manifest.segments)
    memory = MEMORY_FIXED + MEMORY_PER_ROW * rows + 3 * size
    seconds = CPU_FIXED_S + size / CPU_BYTES_PER_S
    patience = WALL_PER_CPU * seconds
    package = str(Path(__file__).resolve().parents[2])
    # -P: the working folder may be the stranger's, with a numpy.py in it.
    command = [sys.executable, "-P", "-c", CHILD, package, str(folder), str(int(mapped)), str(memory), str(seconds)]
    # Arrow's own pools reserve address space by the gigabyte; each thread of OpenMP and BLAS a stack and buffers.
    environment = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=patience,
            env={**os.environ, **environment},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(folder, f"opening it did not end in {patience:.0f} s") from error
    said = _last_line(done.stdout)
    if done.returncode == 0 and said == {"opened": True}:
        return
    if done.returncode == 0 and isinstance(said, dict) and isinstance(said.get("refused"), list):
        raise FormatError(*(str(part) for part in said["refused"][:3]))
    raise _refused(folder, f"opening it ended a test process ({_ending(done.returncode)})")


def _refused(folder: Path, found: str) -> FormatError:
    return FormatError(f"{folder}: {found}", "an index that beholder wrote", REMEDY)


def _last_line(output: bytes) -> Any:
    try:
        return json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return None


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
