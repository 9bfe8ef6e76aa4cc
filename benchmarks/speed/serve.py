"""`bench speed serve`: requests/s, latency, memory and start of our service beside clip-retrieval's back end.

Both serve the same vectors behind the same endpoint (clip-retrieval's /knn-service) to the same bodies, in one run, in
turns, on the same cores as the load, whose own CPU is printed. clip-retrieval serves what autofaiss builds for it, as
it comes, and the same graph at the least effort that reaches the target; ratios are to the better of the two.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measures.metrics import knn_recall
from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine
from indexes.records.exact import exact_search

from .clusters import Clusters
from .index import write_embeddings
from .index_sides import build_autofaiss, build_ours, least_effort
from .load import LoadMaker, compiled
from .serve_config import SpeedServeConfig
from .serve_sides import K, Server, clip_retrieval, free_port, in_turns, knn_bodies, ours, running, told, write_peer
from .serve_texts import shared_tower_numbers, text_numbers
from .soak import soak

TUNING, ASKED = 1000, 1000  # text-like queries for tuning, and others for recall and load
MEMORY = 4 << 30  # bytes that either build may use
PATH = "/knn-service"


def measure(config: SpeedServeConfig) -> Run:
    """The run record. Raises ConditionFailed where a service answered with errors."""
    numbers: dict[str, Number] = {}
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="beholder-bench-") as folder, compiled() as maker, ExitStack() as stack:
        place = Path(folder)
        queries, exact, started = _started(config, place, stack)
        numbers |= _vectors(config, place, maker, started, queries, exact)
        if config.architecture is not None and config.texts is not None:
            numbers |= shared_tower_numbers(config, place, maker, config.architecture, config.texts)
        if config.text_index is not None and config.texts is not None:
            numbers |= text_numbers(config, place, maker, config.text_index, config.texts)
        if config.soak:
            capacity = numbers[f"concurrency {max(config.concurrency)}, ours"].value
            numbers |= soak(maker, started[0], PATH, place / "bodies", seconds=config.soak, capacity=capacity)
    return Run(
        name=config.name,
        command=command_of("bench speed serve", config),
        machine=describe_machine(),
        seed=config.seed,
        data={"vectors": config.count, "width": config.width, "queries": ASKED, "generator": "clusters.py"},
        numbers=numbers,
        notes=(_protocol(config), _shared(busy)),
    )


def _started(
    config: SpeedServeConfig, place: Path, stack: ExitStack
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], list[Server]]:
    """Queries, the exact answers to them, and the services, ours first, all running."""
    clusters = Clusters(config.width, seed=config.seed)
    texts = clusters.texts(TUNING + ASKED)
    tuning, asked = texts[:TUNING], texts[TUNING:]
    embeddings = write_embeddings(clusters, config.count, place / "embeddings")
    exact = exact_search(asked, embeddings.blocks(), K).ids
    build_ours(embeddings.folder, place, tuning, config.knn_recall, MEMORY)
    (place / "bodies").write_bytes(b"\n".join(knn_bodies(asked)) + b"\n")
    started = [_start(stack, place, "ours", ours([str(place / "index")], port := free_port()), port, "/ready")]
    if config.clip_retrieval is not None:
        python = config.clip_retrieval
        side = build_autofaiss(python, [vectors for _, vectors in embeddings.blocks()], place, MEMORY)
        effort, _ = least_effort(side, asked, exact, config.knn_recall)
        for name, value in (("clip-retrieval", side.default), ("clip-retrieval swept", effort)):
            peer = _with_effort(place / "autofaiss.index", side.parameter, value)
            folder = write_peer(place / name.replace(" ", "-"), peer, config.count)
            command = clip_retrieval(python, folder, port := free_port())
            started.append(_start(stack, place, name, command, port, "/indices-list"))
    return asked, exact, started


def _start(stack: ExitStack, place: Path, name: str, command: list[str], port: int, path: str) -> Server:
    return stack.enter_context(running(name, command, port, path, place / f"{name.replace(' ', '-')}.log"))


def _with_effort(file: Path, parameter: str | None, value: int | None) -> Any:
    """A FAISS index whose own search parameter is set: what is written with it is how it is served."""
    import faiss

    index = faiss.read_index(str(file))
    if parameter is not None:
        space: Any = faiss.ParameterSpace()
        space.set_index_parameters(index, f"{parameter}={value}")
    return index


def _vectors(
    config: SpeedServeConfig,
    place: Path,
    maker: LoadMaker,
    servers: list[Server],
    queries: npt.NDArray[np.float32],
    exact: npt.NDArray[np.int64],
) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    bodies = place / "bodies"
    for server in servers:
        found = [[one["id"] for one in server.post(PATH, body)] for body in bodies.read_bytes().splitlines()]
        recall = knn_recall(np.array(found, np.int64), exact, K)
        numbers[f"knn_recall@{K}, {server.name}"] = Number.of(bootstrap_mean(recall, seed=config.seed))
        numbers[f"ready after start, {server.name}"] = Number(server.ready_s, "s")
        numbers[f"in memory at start, {server.name}"] = Number(server.memory() / 1e6, "MB")
    for connections in config.concurrency:
        turns = in_turns(
            maker, servers, PATH, bodies, connections=connections, seconds=config.seconds, repeats=config.repeats
        )
        numbers |= told(f"concurrency {connections}", turns)
        if len(servers) > 1:
            others = zip(*(turns[server.name] for server in servers[1:]), strict=True)
            ratios = [
                mine.rate / max(one.rate for one in theirs)
                for mine, theirs in zip(turns[servers[0].name], others, strict=True)
            ]
            numbers[f"concurrency {connections}, ours / best of clip-retrieval"] = Number.of_repeats(ratios, "")
    for server in servers:
        numbers[f"in memory after the load, {server.name}"] = Number(server.memory() / 1e6, "MB")
    return numbers


def _shared(before: float) -> str:
    """What else ran: the load average before the first process of the run was started."""
    return f"Load average of the machine before the run: {before:.1f} (idle: 0; above its cores: timings are too slow)."


def _protocol(config: SpeedServeConfig) -> str:
    asked = f"{ASKED:,} text-like queries as JSON, k = {K}, {config.seconds:g} s a turn, in turns"
    peer = "clip-retrieval 2.45.0 with its CLIP model left out, which it loads before it answers"
    swept = f"swept: the least efSearch whose knn_recall@{K} reaches {config.knn_recall:g}"
    return f"{asked}; {peer}; {swept}; memory: resident, mapped files included."
