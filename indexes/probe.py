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

from .errors import BeholderError, FormatError
from .segments import IndexManifest

# Address space, not resident: on top of what Python and the libraries take. A row of items may take 4 KiB
# unpacked (a path, a digest, a caption, some columns); vectors and FAISS's file are mapped or read, and held
# twice while they are read.
MEMORY_FIXED = 768 << 20
MEMORY_PER_ROW = 4096
CPU_FIXED_S = 60.0
CPU_BYTES_PER_S = 20 << 20  # sha256, unit lengths and a search: a slow core; it takes a fraction of this
WALL_PER_CPU = 3  # a slow disk, and a machine whose cores others use
QUERIES = 16
REMEDY = "Do not use it; get it again, or build it here."
CHILD = "import sys; sys.path.append(sys.argv[1]); from indexes.probe import child; child()"


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
    package = str(Path(__file__).resolve().parents[1])
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


def child() -> None:
    """The child process: prints one line of JSON, {"opened": true} or {"refused": [found, expected, remedy]}."""
    folder, mapped, memory, seconds = Path(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4]), float(sys.argv[5])
    import faiss  # noqa: F401  before the limits: the libraries' own size differs from build to build
    import pyarrow.parquet  # noqa: F401

    from . import search  # noqa: F401

    _limit(memory, seconds)
    answer: dict[str, Any] = {"opened": True}
    try:
        exercise(folder, mapped)
    except BeholderError as error:
        answer = {"refused": [error.found, error.expected, error.remedy]}
    except MemoryError:
        answer = {"refused": [f"{folder}: opening it takes over {memory >> 20} MiB", "what its size allows", REMEDY]}
    except Exception as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        answer = {"refused": [f"{folder} cannot be searched ({reason})", "an index that beholder wrote", REMEDY]}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # destructors of damaged objects may still crash; the answer is what counts


def _limit(memory: int, seconds: float) -> None:
    """Limits this process, for good. Where the system has no such limits (Windows) only the caller's time
    limit holds.
    """
    try:
        import resource
    except ImportError:
        return
    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CPU, int(seconds))]
    status = Path("/proc/self/statm")
    if status.is_file():  # macOS has neither this nor a limit of address space that holds
        used = int(status.read_text().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, used + memory))
    for limit, value in limits:
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def exercise(folder: Path, mapped: bool) -> None:
    """Does with the index all that a caller may: raises whatever is wrong. Only for a process that may die."""
    import numpy as np

    from .query_file import kept_queries
    from .search import Index
    from .segments import verify_index
    from .structure import check_structure

    verify_index(folder)  # sha256 first
    manifest = IndexManifest.read(folder)
    index = Index(folder, "cpu", mapped)
    for part in index._segments:
        check_structure(part.faiss, part.record.count)
    ids = index.live_ids()
    chosen = ids[np.unique(np.linspace(0, max(len(ids) - 1, 0), min(QUERIES, len(ids))).astype(np.int64))]
    noise = np.random.default_rng(0).standard_normal((QUERIES, manifest.dimension), dtype=np.float32)
    queries = np.concatenate([index.vectors(chosen), noise / np.linalg.norm(noise, axis=1, keepdims=True)])
    for rows in (queries[:1], queries):
        found = index.search(rows, 10)
        index.items(np.unique(found.ids))
    for record in manifest.in_index if manifest.spread is not None else ():
        for beauty in (1.0, -4.0, 100.0):
            index.search(queries, 10, beauty={record.name: beauty})
    index.items_table()
    kept_queries(folder, manifest)
