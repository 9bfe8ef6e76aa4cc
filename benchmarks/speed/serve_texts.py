"""The text queries of `bench speed serve`: ours over an index of pictures, and both services with one text tower."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.runs import Number
from indexes.building.build import IndexConfig, build_index
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, write_shard

from .load import LoadMaker
from .search import made_up_items
from .serve_sides import K, clip_retrieval, free_port, in_turns, knn_body, ours, running, told, write_peer

if TYPE_CHECKING:
    from .serve_config import SpeedServeConfig

ROWS = 10_000  # vectors behind the shared tower: the search is no part of what is compared


def read_texts(path: Path) -> list[str]:
    from retrieval.search.query_file import read_queries

    return read_queries(path)


def text_numbers(
    config: "SpeedServeConfig", place: Path, maker: LoadMaker, index: Path, texts: Path
) -> dict[str, Number]:
    """Text queries by the index's own encoder over an index of pictures."""
    bodies = place / "texts"
    asked = [json.dumps({"query": line, "config": {"k": K}}) for line in read_texts(texts)]
    bodies.write_text("\n".join(asked) + "\n", encoding="utf-8")
    port = free_port()
    command = ours([str(index.absolute())], port, "--preload")
    numbers = {}
    with running("ours", command, port, "/ready", place / "texts.log") as server:
        numbers["texts, ready after start, ours"] = Number(server.ready_s, "s")
        for connections in config.concurrency:
            turns = in_turns(
                maker,
                [server],
                "/search",
                bodies,
                connections=connections,
                seconds=config.seconds,
                repeats=config.repeats,
            )
            numbers |= told(f"texts, concurrency {connections}", turns)
        numbers["texts, in memory after the load, ours"] = Number(server.memory() / 1e6, "MB")
    return numbers


def shared_tower_numbers(
    config: "SpeedServeConfig", place: Path, maker: LoadMaker, architecture: str, texts: Path
) -> dict[str, Number]:
    """Text queries by one architecture of random weights on both sides, through the same route."""
    bodies = place / "shared-texts"
    bodies.write_bytes(b"\n".join(knn_body(text=line) for line in read_texts(texts)) + b"\n")
    index, width = made_up_index(place / "shared", f"{architecture}:random", config.seed)
    numbers: dict[str, Number] = {}
    with ExitStack() as stack:
        port = free_port()
        command = ours([f"index={index}"], port, "--preload", "--timeout", "120")
        servers = [stack.enter_context(running("ours", command, port, "/ready", place / "shared.log"))]
        if config.clip_retrieval is not None:
            import faiss

            peer = faiss.IndexFlatIP(width)
            peer.add(_rows(width, config.seed))
            folder = write_peer(place / "shared-peer", peer, ROWS)
            command = clip_retrieval(config.clip_retrieval, folder, port := free_port(), architecture)
            name, log = "clip-retrieval", place / "shared-peer.log"
            servers.append(stack.enter_context(running(name, command, port, "/indices-list", log)))
        for connections in config.concurrency:
            what = f"texts by {architecture}, concurrency {connections}"
            turns = in_turns(
                maker,
                servers,
                "/knn-service",
                bodies,
                connections=connections,
                seconds=config.seconds,
                repeats=config.repeats,
            )
            numbers |= told(what, turns)
            if len(servers) > 1:
                pairs = zip(turns["ours"], turns["clip-retrieval"], strict=True)
                ratios = [mine.rate / theirs.rate for mine, theirs in pairs]
                numbers[f"{what}, ours / clip-retrieval"] = Number.of_repeats(ratios, "")
    return numbers


def made_up_index(place: Path, model: str, seed: int) -> tuple[Path, int]:
    """A Flat INDEX of ROWS random vectors that says it was made by a model, and the model's width."""
    from retrieval.encoding.encoders import load_encoder

    record = load_encoder(model).record
    embeddings = place / "embeddings"
    embeddings.mkdir(parents=True)
    ids = np.arange(ROWS, dtype=np.int64)
    rows = _rows(record.width, seed).astype(np.float16)
    shard = write_shard(embeddings, 0, ids, rows, made_up_items(ids))
    (embeddings / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(embeddings, "rejected.jsonl")
    EmbeddingsManifest(record, ".", ROWS, rejected, (shard,), ROWS, {}).write(embeddings)
    build_index(embeddings, place / "index", IndexConfig(factory="Flat"))
    return place / "index", record.width


def _rows(width: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rows = np.random.default_rng(seed).standard_normal((ROWS, width), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
