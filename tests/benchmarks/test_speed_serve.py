"""Protects `bench speed serve`: the compiled load counts right, both sides get the same; never the speed."""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.runs import read_run
from benchmarks.speed.load import compiled
from benchmarks.speed.serve_config import SpeedServeConfig
from benchmarks.speed.serve_sides import clip_retrieval, free_port, knn_bodies, running, write_peer
from benchmarks.speed.soak import grown
from indexes.errors import BeholderError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="the load of requests needs Linux and a C compiler",
)


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; 500 to the body "bad"; /old closes each connection, as HTTP/1.0 does."""

    protocol_version = "HTTP/1.1"
    seen: list[bytes] = []  # noqa: RUF012
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            self.seen.append(body)
        if self.path == "/old":
            self.protocol_version = "HTTP/1.0"
            self.close_connection = True
        self.send_response(500 if body == b"bad" else 200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body)))
        else:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    Echo.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/new", "/old", "/endless"])
def test_the_load_counts_what_the_server_saw(echo: int, tmp_path: Path, path: str) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text('{"a": 1}\n{"b": [1, 2]}\n')
    with compiled() as maker:
        load = maker.run(echo, path, bodies, connections=3, seconds=0.3)
    assert load.errors == 0
    assert load.requests == len(Echo.seen)
    assert set(Echo.seen) == {b'{"a": 1}', b'{"b": [1, 2]}'}
    assert 0 < load.p50_ms <= load.p90_ms <= load.p99_ms <= load.max_ms


def test_the_load_counts_errors_apart(echo: int, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text("bad\ngood\n")
    with compiled() as maker:
        load = maker.run(echo, "/", bodies, connections=1, seconds=0.3)
    assert load.errors == Echo.seen.count(b"bad") > 0
    assert load.requests == Echo.seen.count(b"good") > 0


def test_an_open_load_keeps_its_rate_whatever_the_connections(echo: int, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text("x\n")
    with compiled() as maker:
        load = maker.run(echo, "/", bodies, connections=8, seconds=1.0, rate=40)
    assert load.requests == 40


def test_requests_that_nobody_takes_are_errors(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_text("x\n")
    with compiled() as maker:
        load = maker.run(free_port(), "/", bodies, connections=1, seconds=0.2)
    assert load.requests == 0
    assert load.errors > 0


def test_bodies_are_what_the_client_sends() -> None:
    body = json.loads(knn_bodies(np.eye(3, dtype=np.float32))[1])
    assert body["embedding_input"] == [0.0, 1.0, 0.0]
    assert body["num_images"] == body["num_result_ids"] == 10
    assert body["indice_name"] == "index"


def test_the_peers_folder_keeps_the_effort_and_names_itself(tmp_path: Path) -> None:
    import faiss
    import pyarrow.parquet as pq

    index = faiss.index_factory(8, "HNSW8", faiss.METRIC_INNER_PRODUCT)
    index.add(np.eye(8, dtype=np.float32))
    faiss.ParameterSpace().set_index_parameters(index, "efSearch=77")
    folder = write_peer(tmp_path / "peer", index, 8)
    assert faiss.downcast_index(faiss.read_index(str(folder / "image.index"))).hnsw.efSearch == 77
    assert pq.read_table(folder / "metadata" / "metadata_0.parquet").num_rows == 8
    command = clip_retrieval(Path("/somewhere/python"), folder, 1234)
    assert json.loads(Path(command[2]).read_text()) == {"index": str(folder)}


def test_a_service_that_ends_by_itself_is_told_with_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no room')"]
    with pytest.raises(BeholderError, match="no room"), running("it", command, free_port(), "/", tmp_path / "log"):
        pass


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100] * 20, 0.0),
        ([500, 900, 100, 100, 100, 100], 0.0),  # the first half warms up
        ([100 + place for place in range(20)], 9 / 110),
        ([100], 0.0),
    ],
)
def test_growth_is_that_of_the_second_half(sizes: list[int], expected: float) -> None:
    assert grown(sizes) == pytest.approx(expected, abs=1e-9)


def test_a_run_over_few_vectors_holds_all_figures(tmp_path: Path) -> None:
    out = tmp_path / "serve.json"
    arguments = ["--count", "400", "--width", "32", "--seconds", "0.3", "--repeats", "1", "--soak", "4"]
    done = CliRunner().invoke(app, ["speed", "serve", *arguments, "--out", str(out)])
    assert done.exit_code == 0, done.output
    numbers = read_run(out).numbers
    assert numbers["knn_recall@10, ours"].value == 1  # so few are searched exactly
    assert numbers["soak, errors"].value == 0
    for name in ("ready after start, ours", "concurrency 1, ours", "concurrency 32, ours, p50"):
        assert numbers[name].value > 0


def test_the_likeliest_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="python of its environment"):
        SpeedServeConfig(clip_retrieval=tmp_path / "none")
    with pytest.raises(BeholderError, match="without texts"):
        SpeedServeConfig(text_index=tmp_path)
    with pytest.raises(BeholderError, match=r"count 5.*concurrency 0"):
        SpeedServeConfig(count=5, concurrency=(0,))
