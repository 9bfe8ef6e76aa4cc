"""Parts here and behind a real service: the answers of one index, and no picture that is missing without a word."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes import load_index
from indexes.building.build import IndexConfig, build_index
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, write_shard
from retrieval.search import remote_part
from retrieval.search.config import SearchConfig
from retrieval.search.parts_search import PartsSearcher, name_parts
from retrieval.search.query import Part, Query
from retrieval.search.remote_part import RemotePart
from retrieval.search.searcher import Searcher
from tests.conftest import ROOT, write_pictures
from tests.retrieval.served import RECORD, items_of, unit_rows

COUNTS = (9, 1, 14)


def make_part(place: Path, name: str, uris: list[str], rows: np.ndarray) -> Path:
    embeddings = place / f"{name}.emb"
    embeddings.mkdir()
    shard = write_shard(embeddings, 0, np.arange(len(uris)), rows, items_of(place / "pictures", uris))
    (embeddings / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(embeddings, "rejected.jsonl")
    EmbeddingsManifest(RECORD, "../pictures", len(uris), rejected, (shard,), len(uris), {}).write(embeddings)
    build_index(embeddings, place / f"{name}.index", IndexConfig(factory="Flat"))
    return place / f"{name}.index"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """whole.index and its parts 0.index, 1.index, 2.index of the same pictures."""
    folder = tmp_path_factory.mktemp("parts")
    uris = write_pictures(folder / "pictures", sum(COUNTS))
    rows = unit_rows(len(uris))
    make_part(folder, "whole", uris, rows)
    for number, (start, end) in enumerate(bounds()):
        make_part(folder, str(number), uris[start:end], rows[start:end])
    return folder


def bounds() -> list[tuple[int, int]]:
    ends = np.cumsum(COUNTS).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


@contextmanager
def served(index: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`beholder serve` in a process of its own: its address, and the process."""
    command = [sys.executable, "-m", "retrieval", "serve", f"part={index}", "--port", "0", "--watch", "0"]
    votes = str(index.parent / "votes.jsonl")
    process = subprocess.Popen([*command, "--votes", votes], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://\S+/", line)
        assert address, line
        yield f"{address[0]}?index=part", process
    finally:
        process.kill()
        process.wait()


QUERIES = [Query((Part("vector", row),)) for row in unit_rows(3, seed=7)]


def shown(results: list[Any]) -> list[tuple[str, float]]:
    return [(result.sha256, round(result.relevance, 5)) for result in results]


def test_parts_here_and_elsewhere_answer_as_the_whole(place: Path, tmp_path: Path) -> None:
    whole = Searcher(load_index(place / "whole.index"))
    with served(place / "2.index") as (address, process):
        manifest = name_parts(tmp_path / "all.index", [str(place / "0.index"), str(place / "1.index"), address])
        assert manifest.count == sum(COUNTS)
        parts = PartsSearcher(tmp_path / "all.index")
        assert parts.down() == ()
        for config in (
            SearchConfig(k=7),
            SearchConfig(k=1000),
            SearchConfig(k=5, where="caption IS NOT NULL"),
            SearchConfig(k=9, min_relevance=0.02),
            SearchConfig(k=4, near=0.99),
        ):
            for mine, theirs in zip(parts.search(QUERIES, config), whole.search(QUERIES, config), strict=True):
                assert shown(mine.results) == shown(theirs.results)
                assert [result.rank for result in mine.results] == list(range(1, len(mine.results) + 1))
                assert len({result.id for result in mine.results}) == len(mine.results)
                here = [result.uri for result in mine.results if "://" not in result.uri]
                assert all((parts.pictures / uri).is_file() for uri in here)
        one = next(result for result in mine.results if "://" in result.uri)
        assert one.uri.startswith(address.split("?")[0] + "images/")
        with urllib.request.urlopen(one.uri) as picture:
            assert hashlib.sha256(picture.read()).hexdigest() == one.sha256
        assert one.uri.endswith(".jpg")
        text = parts.search(["a quiet harbour"], SearchConfig(k=3))[0]
        assert shown(text.results) == shown(whole.search(["a quiet harbour"], SearchConfig(k=3))[0].results)
        config = SearchConfig(k=3, rewrite="template")
        mine, theirs = (searcher.search(["a boat"], config)[0] for searcher in (parts, whole))
        assert (shown(mine.results), mine.rewrites) == (shown(theirs.results), theirs.rewrites)
        with pytest.raises(BeholderError, match="refuses the search"):
            parts.search(QUERIES, SearchConfig(k=5000))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(ConditionFailed, match=r"1 of 3 parts did not answer: http.*--partial"):
            parts.search(QUERIES, SearchConfig(k=5))
        rest = PartsSearcher(tmp_path / "all.index", partial=True).search(QUERIES, SearchConfig(k=1000))
        assert [len(answer.results) for answer in rest] == [10, 10, 10]
        assert all("its 14 pictures are missing" in answer.notes[0] for answer in rest)
        assert "notes" in rest[0].to_dict()
        assert [down.number for down in parts.down()] == [2]


def test_a_folder_that_is_gone_is_down_and_damage_is_said(place: Path, tmp_path: Path) -> None:
    name_parts(tmp_path / "all", [str(place / "0.index"), str(place / "1.index")])
    os.rename(place / "1.index", place / "gone")
    try:
        with pytest.raises(ConditionFailed, match=r"1 of 2 parts did not answer: .*there is no folder"):
            PartsSearcher(tmp_path / "all").search(QUERIES)
        found = PartsSearcher(tmp_path / "all", partial=True).search(QUERIES)
        assert [len(answer.results) for answer in found] == [9, 9, 9]
        with pytest.raises(ConditionFailed, match="cannot be asked"):
            name_parts(tmp_path / "new", [str(place / "1.index")])
    finally:
        os.rename(place / "gone", place / "1.index")
    os.rename(place / "0.index", place / "gone")
    os.rename(place / "1.index", place / "gone too")
    try:
        with pytest.raises(ConditionFailed, match="2 of 2 parts"):  # nothing at all is no partial answer
            PartsSearcher(tmp_path / "all", partial=True).search(QUERIES)
    finally:
        os.rename(place / "gone", place / "0.index")
        os.rename(place / "gone too", place / "1.index")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"beauty": (("", 1.0),)}, "beauty"),
        ({"sort": "width"}, "sort"),
        ({"rerank": ("mmr",)}, "rerank"),
        ({"min_relevance": "auto"}, "min-relevance auto"),
    ],
)
def test_what_needs_the_whole_corpus_is_refused(
    place: Path, tmp_path: Path, config: dict[str, Any], named: str
) -> None:
    name_parts(tmp_path / "all", [str(place / "0.index")])
    with pytest.raises(BeholderError, match=f"{named} over an index of parts"):
        PartsSearcher(tmp_path / "all").search(QUERIES, SearchConfig(**config))


@contextmanager
def answering(body: bytes, status: int = 200, wait_s: float = 0.0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            time.sleep(wait_s)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


RESULT = {"id": 1, "rank": 1, "uri": "a", "relevance": 0.5, "sha256": "s", "width": 1, "height": 1, "caption": None}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"no JSON", 200, "cannot be read"),
        (b"{}", 200, "cannot be read"),
        (b"[]", 200, "cannot be read"),
        (json.dumps({"results": [{**RESULT, "id": "x"}]}).encode(), 200, "cannot be read"),
        (b'{"error": "too busy"}', 503, "status 503: too busy"),
        (b'{"error": "no token"}', 401, "status 401"),
        (b'{"error": "no index"}', 404, "status 404"),
    ],
)
def test_a_service_that_makes_no_sense_is_down(body: bytes, status: int, reason: str) -> None:
    from indexes.searching.parts import PartDown

    with answering(body, status) as address, pytest.raises(PartDown, match=reason):
        RemotePart(address).search(unit_rows(2), SearchConfig())


def test_a_service_that_never_answers_is_down_in_time() -> None:
    from indexes.searching.parts import PartDown

    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(PartDown, match=r"no answer in 0\.5 s"):
            RemotePart(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.5).search(unit_rows(1), SearchConfig())
        assert time.monotonic() - started < 5
        with pytest.raises(PartDown, match="timed out"):
            RemotePart(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.5).described()


def test_the_token_of_parts_is_sent_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHOLDER_TOKEN", "secret-secret")
    assert remote_part._headers() == {}
    monkeypatch.setenv(remote_part.TOKEN, "for-the-parts")
    assert remote_part._headers() == {"Authorization": "Bearer for-the-parts"}


@pytest.mark.parametrize("wrong", ["ftp://host/", "http:///x", "http://u:p@host/", "http://host/?k=1", "http://h/#a"])
def test_addresses_that_name_no_service_are_refused(wrong: str) -> None:
    with pytest.raises(BeholderError, match="the part"):
        RemotePart(wrong)


def test_the_command_line_names_searches_and_looks_at_parts(
    place: Path, tmp_path: Path, beholder: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    made = beholder("index", "parts", tmp_path / "all", place / "0.index", place / "2.index")
    assert f"{tmp_path / 'all'}: 23 pictures in 2 parts, beholder-mini" in made.stdout
    assert beholder("index", "parts", tmp_path / "all").stdout.count("there") == 2
    found = beholder("search", tmp_path / "all", "a boat", "-k", 3, "--paths").stdout.splitlines()
    assert len(found) == 3
    assert all(Path(line).is_file() for line in found)
    os.rename(place / "2.index", place / "gone")
    try:
        down = beholder("search", tmp_path / "all", "a boat", check=False)
        assert (down.returncode, down.stdout) == (1, "")
        assert down.stderr.count("\n") == 1
        rest = beholder("search", tmp_path / "all", "a boat", "--partial", "--json")
        assert len(json.loads(rest.stdout)["results"]) == 9
        assert "its 14 pictures are missing" in rest.stdout + rest.stderr
        assert beholder("index", "parts", tmp_path / "all", check=False).returncode == 1
    finally:
        os.rename(place / "gone", place / "2.index")
    wrong = beholder("search", place / "0.index", "a boat", "--partial", check=False)
    assert (wrong.returncode, "no index of parts" in wrong.stderr) == (2, True)
