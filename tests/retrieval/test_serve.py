"""`beholder serve` as a process: it starts, keeps answering while an index is replaced, and ends without a loss."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.building.growth import add, compact, remove
from tests.conftest import ROOT, write_pictures
from tests.retrieval.served import make_index, unit_rows

LONG = 120.0  # seconds: far above what anything here takes, even on a busy machine
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "pictures"
    write_pictures(folder, 12)
    return folder


@contextmanager
def serving(*arguments: object, place: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of `beholder serve`; ended by SIGTERM where the test did not."""
    command = [sys.executable, "-m", "retrieval", "serve", *map(str, arguments), "--port", "0"]
    command += ["--votes", str(place / "votes.jsonl")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        yield found[0], process
    finally:
        process.terminate()
        process.wait(LONG)


def asked(address: str, number: int = 0, k: int = 20) -> list[int]:
    body = json.dumps({"query": {"vector": unit_rows(12)[number].tolist()}, "config": {"k": k}}).encode()
    request = urllib.request.Request(f"{address}/search", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LONG) as answer:
        return [one["id"] for one in json.loads(answer.read())["results"]]


def test_vectors_alone_load_neither_torch_nor_pandas(pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "noise.index", pictures, sorted(os.listdir(pictures)))
    with serving(index, place=tmp_path) as (address, process):
        assert asked(address, 3, k=1) == [3]
        with urllib.request.urlopen(f"{address}/images/3", timeout=LONG) as answer:
            assert answer.read() == (pictures / "p003.jpg").read_bytes()
        mapped = Path(f"/proc/{process.pid}/maps")
        if mapped.exists():
            loaded = mapped.read_text()
            assert "libfaiss" in loaded or "faiss" in loaded
            assert "libtorch" not in loaded
            assert "pandas/_libs" not in loaded


def test_an_index_is_replaced_under_load_without_a_failed_request(pictures: Path, tmp_path: Path) -> None:
    names = sorted(os.listdir(pictures))
    index = make_index(tmp_path / "grown.index", pictures, names[:8])
    more = tmp_path / "more.emb"
    make_index(tmp_path / "more.index", pictures, names[8:])
    assert more.is_dir()
    failed: list[Exception] = []
    seen: set[int] = set()
    done = threading.Event()

    with serving(index, "--watch", "0.1", place=tmp_path) as (address, process):

        def hammer() -> None:
            while not done.is_set():
                try:
                    seen.add(len(asked(address)))
                except Exception as error:
                    failed.append(error)

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for change, expected in (
            (lambda: add(index, more), 12),
            (lambda: remove(index, np.arange(5)), 7),
            (lambda: compact(index), 7),
        ):
            change()
            if change is not None:
                process.send_signal(signal.SIGHUP)
            until = time.monotonic() + LONG
            while len(asked(address)) != expected and time.monotonic() < until:
                time.sleep(0.05)
            assert len(asked(address)) == expected
        done.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert {8, 12, 7} <= seen


def test_what_is_being_answered_at_the_end_is_answered(pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "end.index", pictures, sorted(os.listdir(pictures)))
    body = json.dumps({"query": "so many words that reading them takes a while " * 8}).encode()
    with serving(index, "--preload", "--timeout", "100", place=tmp_path) as (address, process):
        host, port = address.removeprefix("http://").split(":")
        lines = [b"POST /search HTTP/1.1", b"Host: localhost", b"Content-Type: application/json"]
        lines += [b"Content-Length: %d" % len(body), b"", body]
        clients = [socket.create_connection((host, int(port)), timeout=LONG) for _ in range(8)]
        for client in clients:
            client.sendall(b"\r\n".join(lines))
        asked(address)  # the others have arrived
        process.send_signal(signal.SIGTERM)
        answers = [b"".join(iter(lambda client=client: client.recv(65536), b"")) for client in clients]
        assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 8
        assert process.wait(LONG) == 0
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"{address}/health", timeout=5)


def test_help_shows_an_example(beholder: Run) -> None:
    said = beholder("serve", "--help").stdout
    assert "beholder serve pictures.index" in said
    assert "--host" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such.index"], "no/such.index"),
        (["{index}", "--port", "70000"], "port 70000"),
        (["{index}", "{index}"], "two indexes named"),
        (["{index}", "--token", "short"], "token"),
        (["{index}", "--rewrite", "llm:a", "--rewrite", "llm:b"], "two rewriters named llm"),
    ],
)
def test_a_wrong_call_is_one_line(
    beholder: Run, pictures: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    index = make_index(tmp_path / "one.index", pictures, ["p000.jpg"])
    done = beholder("serve", *(word.format(index=index) for word in arguments), check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_one_line(beholder: Run, pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "one.index", pictures, ["p000.jpg"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = beholder("serve", index, "--port", taken.getsockname()[1], check=False)
    assert done.returncode == 2
    assert "cannot be listened on" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("token", "lines"), [([], 2), (["--token", "a-long-token"], 1)])
def test_an_open_service_is_warned_of(beholder: Run, tmp_path: Path, token: list[str], lines: int) -> None:
    done = beholder("serve", tmp_path / "no.index", "--host", "0.0.0.0", *token, check=False)
    said = done.stderr.strip().splitlines()
    assert len(said) == lines
    assert ("may search" in said[0]) == (lines == 2)


def test_the_extra_is_named_where_it_is_missing(pictures: Path, tmp_path: Path) -> None:
    program = (
        "import importlib.util as u, sys; real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'uvicorn' else real(name, *more)\n"
        "from retrieval.__main__ import main; sys.argv = ['beholder', 'serve', 'x']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'beholder[serve]'" in done.stderr


def read(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}", timeout=LONG) as answer:
        return json.loads(answer.read())


def test_the_description_is_served(pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "one.index", pictures, ["p000.jpg"])
    with serving(index, place=tmp_path) as (address, _):
        paths = read(address, "/openapi.json")["paths"]
        wanted = {"/search", "/similar", "/rewrite", "/items/{id}", "/images/{id}", "/thumbnails/{id}", "/health"}
        wanted |= {"/ready", "/metrics", "/info", "/knn-service", "/indices-list", "/metadata", "/compare", "/votes"}
        assert wanted <= set(paths)
