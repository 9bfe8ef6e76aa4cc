"""The two sides of `bench speed serve`: a service of ours and clip-retrieval's back end, each a process on a port."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.runs import Number
from indexes.errors import BeholderError, ConditionFailed

from .load import Load, LoadMaker

PEER = Path(__file__).parent / "peers" / "clip_retrieval" / "run_back.py"
BOOT_S = 300.0  # longest wait for a service to answer
POLL_S = 0.01
WARM_S = 1.0  # of load before anything is measured
K = 10


@dataclass(frozen=True)
class Server:
    """A running service. ready_s: from the start of the process to its first answer."""

    name: str
    port: int
    pid: int
    ready_s: float

    def memory(self) -> int:
        """Bytes in memory of the process and its children, mapped files included: what `ps` shows as RSS."""
        return sum(_resident(pid) for pid in _family(self.pid))

    def post(self, path: str, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def told(what: str, turns: Mapping[str, Sequence[Load]]) -> dict[str, Number]:
    """Numbers of the turns by side. Raises ConditionFailed where an answer was an error."""
    numbers = {}
    for name, loads in turns.items():
        failed = sum(load.errors for load in loads)
        if failed:
            raise ConditionFailed(f"{what}: {name} failed {failed} of {sum(load.requests for load in loads)} requests")
        numbers[f"{what}, {name}"] = Number.of_repeats([load.rate for load in loads], "requests/s")
        numbers[f"{what}, {name}, p50"] = Number.of_repeats([load.p50_ms for load in loads], "ms")
        numbers[f"{what}, {name}, p99"] = Number.of_repeats([load.p99_ms for load in loads], "ms")
        cores = [load.cpu_seconds / load.seconds for load in loads]
        numbers[f"{what}, {name}, CPU of the load"] = Number.of_repeats(cores, "cores")
    return numbers


def in_turns(
    maker: LoadMaker,
    servers: Sequence[Server],
    path: str,
    bodies: Path,
    *,
    connections: int,
    seconds: float,
    repeats: int,
) -> dict[str, list[Load]]:
    """Turns of load by side, each warmed up first."""
    turns: dict[str, list[Load]] = {server.name: [] for server in servers}
    for server in servers:
        maker.run(server.port, path, bodies, connections=connections, seconds=WARM_S)
    for _ in range(repeats):
        for server in servers:
            turn = maker.run(server.port, path, bodies, connections=connections, seconds=seconds)
            turns[server.name].append(turn)
    return turns


@contextmanager
def running(name: str, command: Sequence[str], port: int, ready_path: str, log: Path) -> Iterator[Server]:
    """The service that a command starts, once GET ready_path answers 200; ended afterwards. Raises BeholderError with
    its last line where it ends by itself or takes longer than BOOT_S."""
    with log.open("wb") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, cwd=log.parent)
        try:
            while not _answers(port, ready_path):
                if process.poll() is not None or time.perf_counter() - started > BOOT_S:
                    last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
                    raise BeholderError(f"{name} does not answer ({last})", "a service that starts")
                time.sleep(POLL_S)
            yield Server(name, port, process.pid, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ours(indexes: Sequence[str], port: int, *options: str) -> list[str]:
    """The command of our service."""
    return [sys.executable, "-m", "retrieval", "serve", *indexes, "--port", str(port), *options]


def clip_retrieval(python: Path, folder: Path, port: int, *architecture: str) -> list[str]:
    """The command of clip-retrieval's back end over a folder as `write_peer` makes it, with a text tower of random
    weights where an architecture is named."""
    indices = folder / "indices.json"
    indices.write_text(json.dumps({"index": str(folder)}))
    return [str(python.absolute()), str(PEER), str(indices), str(port), *architecture]


def write_peer(folder: Path, index: Any, count: int) -> Path:
    """A folder that clip-retrieval serves: a FAISS index with its search parameters, and metadata like our items."""
    import faiss

    (folder / "metadata").mkdir(parents=True)
    faiss.write_index(index, str(folder / "image.index"))
    names = [f"{number}.jpg" for number in range(count)]
    table = pa.table({"image_path": names, "caption": pa.nulls(count, pa.string())})
    table = table.append_column("url", pa.array([f"http://127.0.0.1/images/{name}" for name in names]))
    pq.write_table(table, folder / "metadata" / "metadata_0.parquet")
    return folder


def knn_body(**asked: Any) -> bytes:
    """What ClipClient would send, for K results and without its filters."""
    body: dict[str, Any] = {"text": None, "image": None, "image_url": None, "embedding_input": None}
    body |= {"deduplicate": False, "use_safety_model": False, "use_violence_detector": False, "use_mclip": False}
    body |= {"indice_name": "index", "aesthetic_score": "", "aesthetic_weight": "", "modality": "image"}
    return json.dumps({**body, "num_images": K, "num_result_ids": K, **asked}).encode()


def knn_bodies(queries: npt.NDArray[np.float32]) -> list[bytes]:
    """Bodies of /knn-service for queries (Q, D)."""
    return [knn_body(embedding_input=[float(x) for x in row]) for row in queries]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:  # grows while it is walked: children of children
        for task in Path(f"/proc/{one}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile has no children
                found += [int(child) for child in (task / "children").read_text().split()]
    return found
