"""The two sides of `bench speed index`: an INDEX of ours and what autofaiss built, each behind one search with
one number, its effort (nprobe or efSearch), that trades time for recall.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measures.metrics import knn_recall
from indexes.errors import BeholderError

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
K = 10
PEER = Path(__file__).parent / "peers" / "autofaiss" / "build.py"
EFFORT = re.compile(r"(nprobe|efSearch)=(\d+)")
# Efforts that a sweep tries; between the two about the target, every one is tried by halving.
LADDER = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)


@dataclass(frozen=True)
class Side:
    """`search(queries, effort, threads)` -> ids (Q, K); effort and threads None: as the tool does by itself."""

    name: str
    factory: str
    parameter: str | None  # what the effort is called; None where there is nothing to turn
    default: int | None
    most: int  # effort beyond which nothing changes
    search: Callable[[Vectors, int | None, int | None], Ids]
    built: dict[str, Any]  # seconds, core_seconds and peak_bytes of the build
    index_bytes: int


def build_ours(
    embeddings: Path, place: Path, queries: Vectors, target: float, memory: int, factory: str = "auto"
) -> Side:
    from indexes.searching.search import load_index

    np.save(place / "queries.npy", queries)
    index = place / "index"
    command = [sys.executable, "-m", "benchmarks.speed.timed_build", str(embeddings), str(index)]
    answer = _child([*command, str(place / "queries.npy"), str(target), str(memory), factory])
    opened = load_index(index)
    held = opened.manifest.parameters
    parameter: str | None = next((name for name in ("nprobe", "efSearch") if name in held), None)

    def search(batch: Vectors, effort: int | None, threads: int | None) -> Ids:
        given: dict[str, int] = {} if effort is None or parameter is None else {parameter: effort}
        return opened.search(batch, K, parameters=given, threads=threads).ids

    size = sum(segment.faiss.bytes for segment in opened.manifest.segments)
    lists = re.search(r"IVF(\d+)", answer["factory"])
    most = int(lists[1]) if lists else LADDER[-1]
    default = int(held[parameter]) if parameter else None
    return Side("ours", answer["factory"], parameter, default, most, search, answer, size)


def build_autofaiss(python: Path, blocks: Sequence[npt.NDArray[Any]], place: Path, memory: int) -> Side:
    """Raises BeholderError with its last line where autofaiss fails."""
    import faiss

    vectors, file = place / "autofaiss", place / "autofaiss.index"
    vectors.mkdir()
    for number, rows in enumerate(blocks):
        np.save(vectors / f"{number:05d}.npy", rows)
    answer = _child([str(python), str(PEER), str(vectors), str(file), str(memory)])
    index = faiss.read_index(str(file))
    space: Any = faiss.ParameterSpace()
    space.set_index_parameters(index, answer["parameters"])
    found = EFFORT.search(answer["parameters"])
    threads_before = faiss.omp_get_max_threads()
    threshold_before = faiss.cvar.distance_compute_blas_threshold  # as FAISS comes: ours sets another
    now: list[int | None] = [None]  # the effort that is set

    def search(batch: Vectors, effort: int | None, threads: int | None) -> Ids:
        faiss.omp_set_num_threads(threads or threads_before)
        faiss.cvar.distance_compute_blas_threshold = threshold_before
        if found and effort != now[0]:
            wanted = EFFORT.sub(f"{found[1]}={effort}", answer["parameters"]) if effort else answer["parameters"]
            space.set_index_parameters(index, wanted)
            now[0] = effort
        return np.asarray(index.search(batch, K)[1], dtype=np.int64)

    lists = re.search(r"IVF(\d+)", answer["factory"])
    return Side(
        "autofaiss",
        answer["factory"],
        found[1] if found else None,
        int(found[2]) if found else None,
        int(lists[1]) if lists else LADDER[-1],
        search,
        answer,
        file.stat().st_size,
    )


def least_effort(side: Side, queries: Vectors, exact: Ids, target: float) -> tuple[int | None, float]:
    """(the least effort whose knn_recall@K over the queries meets the target, that recall); the most effort
    and its recall where none does, None where the side has nothing to turn.
    """

    def recall(effort: int | None) -> float:
        return float(knn_recall(side.search(queries, effort, None), exact, K).mean())

    if side.parameter is None:
        return None, recall(None)
    low, found = 0, 0.0
    for high in (effort for effort in (*LADDER, side.most) if effort <= side.most):
        found = recall(high)
        if found >= target:
            break
        low = high
    else:
        return high, found
    while high - low > 1:
        middle = (low + high) // 2
        tried = recall(middle)
        if tried >= target:
            high, found = middle, tried
        else:
            low = middle
    return high, found


def _child(command: list[str]) -> dict[str, Any]:
    """The JSON of a child process's last line."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], env=dict(os.environ))
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BeholderError(f"{Path(command[0]).name} {command[1]} ended with {done.returncode} ({last})", "an index")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
