"""The service's routes, in one process: answers are the searcher's, limits hold, nothing but items is shown."""

import base64
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexes.errors import BeholderError
from retrieval.search.config import SearchConfig
from retrieval.search.query import Part, Query
from retrieval.service.config import ServeConfig, named_folder, named_spec
from retrieval.service.serve import application, open_service
from retrieval.service.served_index import lane_of
from retrieval.service.service import Service, _without_folder
from tests.conftest import write_pictures
from tests.retrieval.served import items_of, make_index, unit_rows

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "pictures"
    write_pictures(folder, 24)
    return folder


@pytest.fixture(scope="module")
def index(pictures: Path) -> Path:
    return make_index(pictures.parent / "noise.index", pictures, sorted(os.listdir(pictures)))


@contextmanager
def opened(index: Path, tmp_path: Path, **settings: Any) -> Iterator[tuple[TestClient, Service]]:
    config = ServeConfig(
        **{"indexes": (("noise", index),), "hosts": ("testserver",), "watch_s": 0, "timeout_s": 60, **settings}
    )
    service = open_service(config)
    with TestClient(application(service, tmp_path / "votes.jsonl")) as client:
        yield client, service


@pytest.fixture(scope="module")
def served(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Service]]:
    with opened(index, tmp_path_factory.mktemp("votes")) as pair:
        yield pair


@pytest.fixture
def client(served: tuple[TestClient, Service]) -> TestClient:
    return served[0]


def searched(client: TestClient, query: Any, **config: Any) -> list[dict[str, Any]]:
    answer = client.post("/search", json={"query": query, "config": config})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def refused(client: TestClient, body: Any, status: int = 400) -> str:
    answer = client.post("/search", json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: str = answer.json()["error"]
    assert "\n" not in error
    return error


# Searching


def test_vectors_are_searched_without_an_encoder(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path) as (client, service):
        results = searched(client, {"vector": unit_rows(24)[5].tolist()}, k=3)
        assert results[0]["id"] == 5
        assert results[0]["relevance"] == pytest.approx(1, abs=1e-3)
        assert service.index(None).opened.searcher.encoder.loaded == "none"


def test_answers_are_the_searchers(served: tuple[TestClient, Service]) -> None:
    client, service = served
    searcher = service.index(None).opened.searcher
    query = Query((Part("text", "a red boat"), Part("like", 3, 0.5), Part("text", "people", -0.7)))
    expected = searcher.search([query], SearchConfig(k=5))[0]
    body = {"text": ["a red boat"], "like": [{"id": 3, "weight": 0.5}], "not": [{"text": "people", "weight": 0.7}]}
    found = searched(client, body, k=5)
    assert [(one["id"], one["relevance"]) for one in found] == [(one.id, one.relevance) for one in expected.results]


def test_a_query_may_be_plain_words(client: TestClient) -> None:
    found = searched(client, "a red boat", k=4)
    assert [one["id"] for one in client.get("/search?q=a+red+boat&k=4").json()["results"]] == [
        one["id"] for one in found
    ]


def test_pages_by_offset_are_the_one_long_list(client: TestClient) -> None:
    whole = searched(client, "sea", k=9)
    pages = []
    for offset in (0, 3, 6):
        answer = client.post("/search", json={"query": "sea", "config": {"k": 3}, "offset": offset}).json()
        pages += answer["results"]
    assert pages == whole


def test_similar_leaves_the_picture_itself_out(client: TestClient) -> None:
    found = client.get("/similar?id=7&k=24").json()["results"]
    assert sorted(one["id"] for one in found) == [number for number in range(24) if number != 7]


def test_a_condition_is_kept(client: TestClient) -> None:
    assert {one["id"] for one in searched(client, "sea", k=24, where="id < 5")} == set(range(5))


def test_an_answer_explains_itself_where_asked(client: TestClient) -> None:
    answer = client.post("/search", json={"query": "sea", "config": {"rerank": ["mmr:0.2"]}, "explain": True}).json()
    explain = {"pictures": 24, "index": "Flat", "encoder": "LightTextEncoder", "candidates": 100, "lane": "filtered"}
    assert answer["explain"] == explain
    assert {"encode", "search", "rerank", "items"} <= set(answer["seconds"])
    assert "explain" not in client.post("/search", json={"query": "sea"}).json()


@pytest.mark.parametrize(
    ("config", "lane"),
    [
        (SearchConfig(), "quick"),
        (SearchConfig(rewrite="template"), "quick"),
        (SearchConfig(beauty=(("look", 4.0),)), "quick"),
        (SearchConfig(beauty=(("look", 3.0), ("other", -2.0))), "filtered"),
        (SearchConfig(where="id < 3"), "filtered"),
        (SearchConfig(near=0.9), "filtered"),
        (SearchConfig(rerank=("rank-mix:0.3@look", "mmr")), "filtered"),
        (SearchConfig(rerank=("mmr", "lmm:m")), "slow"),
        (SearchConfig(rewrite="llm:m"), "slow"),
        (SearchConfig(rewrite="hf:m", where="id < 3"), "slow"),
    ],
)
def test_slow_searches_wait_in_lanes_of_their_own(config: SearchConfig, lane: str) -> None:
    assert lane_of(config) == lane


def test_a_rewrite_is_shown_before_and_after(client: TestClient) -> None:
    answer = client.post("/search", json={"query": "a boat", "config": {"rewrite": "template"}}).json()
    rewritten = client.get("/rewrite?q=a+boat").json()
    assert answer["query"]["original"] == "a boat"
    assert rewritten["text"].startswith("a boat, ")
    assert answer["query"]["rewritten"] == rewritten["text"]
    assert answer["query"]["fallback"] is None


def test_a_setting_that_a_get_does_not_take_is_refused(client: TestClient) -> None:
    for path, strange in (("/search?q=a+boat&beauty=1", "beauty"), ("/similar?id=1&sort=width", "sort")):
        answer = client.get(path)
        assert answer.status_code in (400, 422)
        assert strange in answer.json()["error"]


def test_concurrent_requests_each_get_their_own_answer(client: TestClient) -> None:
    rows, answers = unit_rows(24), {}

    def ask(number: int) -> None:
        answers[number] = searched(client, {"vector": rows[number].tolist()}, k=1)[0]["id"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number for number in range(24)}


# What is refused


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"query": ""}, "empty"),
        ({"query": {}}, "without parts"),
        ({"query": "x" * 1001}, "1,001 characters"),
        ({"query": {"text": ["sea"] * 17}}, "17 parts"),
        ({"query": "sea", "config": {"k": 1001}}, "1,001 results"),
        ({"query": "sea", "config": {"k": 900}, "offset": 200}, "1,100 results"),
        ({"query": "sea", "config": {"k": 0}}, "k is 0"),
        ({"query": "sea", "config": {"kk": 5}}, "kk is not known"),
        ({"query": "sea", "config": {"where": "no_such_column = 1"}}, "no_such_column"),
        ({"query": "sea", "config": {"where": "x" * 4001}}, "4,001 characters"),
        ({"query": "sea", "confg": {}}, "confg"),
        ({"query": {"texts": ["sea"]}}, "texts"),
        ({"query": {"vector": [1.0, 2.0]}}, "2 dimensions"),
        ({"query": {"like": [999]}}, "id 999 is not in noise;"),
        ({"query": {"like": [2**70]}}, "less than 9223372036854775808"),
        ({"query": {"like": [-1]}}, "greater than or equal to 0"),
        ({"query": {"vector": [1e39] * 512}}, "finite"),
        ({"query": "sea", "config": {"beauty": {"look": 1}}}, "noise has no scores of look"),
        ({"query": "sea", "config": {"min_relevance": "auto"}}, "noise has no calibration"),
        ({"query": {"image": [{"data": "!!!"}]}}, "base64"),
        ({"query": {"image": [{"data": base64.b64encode(b"hello").decode()}]}}, "no picture"),
        ({"query": {"image": [{"url": "http://169.254.169.254/latest"}]}}, "fetch-from"),
        ({"query": "sea", "config": {"rewrite": "file:/etc/passwd"}}, "no rewriter"),
        ({"query": "sea", "config": {"rewrite": "llm:m@http://10.0.0.1"}}, "no rewriter"),
        ({"query": "sea", "config": {"rewrite": "hf:/models"}}, "no rewriter"),
        ({"query": "sea", "config": {"rerank": ["lmm:m@http://10.0.0.1"]}}, "no re-ranker"),
    ],
)
def test_bad_requests_are_refused_in_one_line(client: TestClient, body: Any, said: str) -> None:
    assert said in refused(client, body)


def test_clients_are_told_names_not_places(index: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/v1"  # nobody listens there
    settings = {"rewriters": (("big", f"llm:model@{url}#detail"),), "slow_timeout_s": 60}
    with opened(index, tmp_path, **settings) as (client, _):
        assert client.get("/info").json()["rewriters"] == ["none", "template", "big"]
        answer = client.post("/search", json={"query": "sea", "config": {"rewrite": "big"}})
        rewrite = client.get("/rewrite?q=sea&rewrite=big")
        said = refused(client, {"query": {"like": [999]}})
    assert answer.json()["query"]["fallback"], "a rewriter that is down is told of"
    assert rewrite.json()["text"] == "sea"
    for text in (answer.text, rewrite.text, said):
        assert "127.0.0.1:1" not in text
        assert str(index.parent) not in text


def test_a_body_that_is_no_json_is_refused(client: TestClient) -> None:
    answer = client.post("/search", content=b"{nope")
    assert answer.status_code == 400
    assert "Invalid JSON" in answer.json()["error"]


def test_an_unknown_index_or_route_is_404(client: TestClient) -> None:
    assert "there is no index 'other'" in refused(client, {"query": "sea", "index": "other"}, 404)
    assert client.get("/nothing").status_code == 404


def png(side: int) -> str:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_pictures_that_are_too_large_are_refused_unread(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path, max_pixels=10_000, max_picture_mb=0.001) as (client, _):
        assert "101 x 101 pixels" in refused(client, {"query": {"image": [{"data": png(101)}]}})
        long = base64.b64encode(b"\xff" * 1001).decode()
        assert "1,001 bytes" in refused(client, {"query": {"image": [{"data": long}]}})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(index: Path, tmp_path: Path, chunked: bool) -> None:
    with opened(index, tmp_path, max_picture_mb=0.001) as (client, service):
        content = b" " * (service.config.max_body_bytes + 1)
        parts = (content[at : at + 65536] for at in range(0, len(content), 65536))
        answer = client.post("/search", content=parts if chunked else content)
    assert answer.status_code == 413
    assert "longer than" in answer.json()["error"]


def test_a_full_queue_answers_503_with_retry_after(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path, waiting=1) as (client, service):
        begun, go = threading.Event(), threading.Event()
        served = service.index(None)
        search = served._vectors._work

        def held(asked: Any) -> Any:
            begun.set()
            go.wait(30)
            return search(asked)

        served._vectors._work = held
        body = {"embedding_input": unit_rows(1)[0].tolist(), "num_images": 1}
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(client.post("/knn-service", json=body).status_code))
            for _ in range(2)
        ]
        threads[0].start()
        assert begun.wait(30)
        threads[1].start()
        while not len(served._vectors):
            pass
        answer = client.post("/knn-service", json=body)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        go.set()
        for thread in threads:
            thread.join()
        assert statuses == [200, 200]


def test_a_request_without_an_answer_in_time_gets_504(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path, timeout_s=0.05) as (client, service):
        go = threading.Event()
        service.index(None)._vectors._work = lambda asked: [go.wait(30) or ValueError()] * len(asked)
        answer = client.post("/knn-service", json={"embedding_input": unit_rows(1)[0].tolist()})
        go.set()
    assert answer.status_code == 504


def test_a_fault_is_500_and_says_nothing_of_the_inside(index: Path, tmp_path: Path) -> None:
    service = open_service(ServeConfig(indexes=(("noise", index),), hosts=("testserver",), watch_s=0))

    def broken(asked: Any) -> Any:
        raise RuntimeError("secret")

    service.index(None)._vectors._work = broken
    with TestClient(application(service, tmp_path / "v"), raise_server_exceptions=False) as client:
        answer = client.post("/knn-service", json={"embedding_input": unit_rows(1)[0].tolist()})
    assert answer.status_code == 500
    assert "secret" not in answer.text


# Who may ask


def test_a_token_is_asked_for_and_a_browser_may_bring_it_once(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path, token="s3cret-token") as (client, _):
        assert client.get("/health").status_code == 200
        assert client.get("/info").status_code == 401
        assert client.get("/").status_code == 401
        assert client.get("/info", headers={"authorization": "Bearer s3cret-toke"}).status_code == 401
        assert client.get("/info", headers={"cookie": "beholder_token=other"}).status_code == 401
        assert client.get("/info?token=s3cret-token").status_code == 401, "only the page's address may hold it"
        assert client.get("/info", headers={"authorization": "Bearer s3cret-token"}).status_code == 200
        opened_page = client.get("/?token=s3cret-token", follow_redirects=False)
        assert opened_page.status_code == 303
        assert opened_page.headers["location"] == "/"
        assert "HttpOnly" in opened_page.headers["set-cookie"]
        assert client.get("/info").status_code == 200, "the cookie is kept by the client"


def test_another_host_name_is_refused_on_loopback(client: TestClient) -> None:
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/health", headers={"host": "localhost:8000"}).status_code == 200
    assert client.get("/health", headers={"host": "[::1]:8000"}).status_code == 200


def test_other_origins_may_ask_only_where_allowed(index: Path, tmp_path: Path) -> None:
    with opened(index, tmp_path, origins=("https://example.org",)) as (client, _):
        for origin, expected in (("https://example.org", "https://example.org"), ("https://evil.example", None)):
            answer = client.get("/health", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == expected


def test_wrong_settings_are_told_all_at_once(index: Path) -> None:
    with pytest.raises(BeholderError, match=r"two indexes named a.*port 70000.*short.*waiting 0"):
        ServeConfig(indexes=(("a", index), ("a", index)), port=70000, token="short", waiting=0)


def test_names_of_indexes_and_rewriters(tmp_path: Path) -> None:
    assert named_folder("family=/x/y.index") == ("family", Path("/x/y.index"))
    assert named_folder("/x/pictures.index") == ("pictures", Path("/x/pictures.index"))
    (tmp_path / "a=b.index").mkdir()
    assert named_folder(str(tmp_path / "a=b.index"))[0] == "a=b"
    assert named_spec("llm:model@http://host/v1") == ("llm", "llm:model@http://host/v1")
    assert named_spec("big=llm:model@http://host/v1?a=b") == ("big", "llm:model@http://host/v1?a=b")


# Pictures


def test_a_picture_is_sent_as_it_is_and_kept_by_browsers(client: TestClient, pictures: Path) -> None:
    one = searched(client, "sea", k=1)[0]
    answer = client.get(one["image"])
    assert answer.content == (pictures / one["uri"]).read_bytes()
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert client.get(f"/images/{one['id']}").headers["cache-control"] == "private, no-cache"
    assert client.get(one["image"], headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_a_thumbnail_is_as_high_as_asked(client: TestClient) -> None:
    image = Image.open(io.BytesIO(client.get("/thumbnails/3?height=20").content))
    assert image.format == "JPEG"
    assert image.height == 48, "the least height is 64: this picture is smaller and is not blown up"


def test_thumbnails_of_large_jpegs_are_no_smaller_than_asked(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    write_pictures(folder, 1, side=1600)
    index = make_index(tmp_path / "large.index", folder, ["p000.jpg"])
    with opened(index, tmp_path) as (client, _):
        for height in (100, 333, 1024):
            answer = client.get(f"/thumbnails/0?height={height}")
            assert Image.open(io.BytesIO(answer.content)).size == (height, height)


def test_an_item_is_what_the_index_knows(client: TestClient, pictures: Path) -> None:
    item = client.get("/items/4").json()
    assert item["uri"] == "p004.jpg"
    assert item["sha256"] == hashlib.sha256((pictures / "p004.jpg").read_bytes()).hexdigest()
    assert client.get("/items/24").status_code == 404
    assert client.get("/items/-1").status_code == 404
    assert client.get(f"/items/{2**64}").status_code == 404


@pytest.mark.parametrize("route", ["items", "images", "thumbnails", "page"])
@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%5c..%5cetc%5cpasswd",
        "..%252f..%252fetc%252fpasswd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "p000.jpg",
        "0/../../etc/passwd",
        "0%00.jpg",
        "....//etc/passwd",
        "service.py",
    ],
)
def test_no_path_in_an_address_leads_to_a_file(client: TestClient, route: str, path: str) -> None:
    answer = client.get(f"/{route}/{path}")
    assert answer.status_code in (404, 422)
    assert b"root:" not in answer.content


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path, str]:
    """Pictures, an index whose items were made to point elsewhere, and the sha256 of what they point at."""
    folder = tmp_path / "source"
    write_pictures(folder, 1)
    outside = tmp_path / "outside"
    write_pictures(outside, 1, seed=5)
    secret = outside / "p000.jpg"
    (folder / "link.jpg").symlink_to(secret)
    (folder / "below").symlink_to(outside)
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    uris = [
        "p000.jpg",
        "../outside/p000.jpg",
        str(secret),
        "link.jpg",
        "below/p000.jpg",
        "p000.jpg/../link.jpg",
        "a\0b",
    ]
    items = items_of(folder, [""] * len(uris))
    items = items.set_column(1, "uri", [uris])
    hashes = [hashlib.sha256((folder / "p000.jpg").read_bytes()).hexdigest()] + [digest] * 6
    items = items.set_column(2, "sha256", [hashes])
    return make_index(tmp_path / "trap.index", folder, uris, items=items), secret, digest


def test_an_index_from_elsewhere_shows_nothing_outside_of_its_pictures(
    trap: tuple[Path, Path, str], tmp_path: Path
) -> None:
    index, secret, _ = trap
    with opened(index, tmp_path) as (client, _):
        assert client.get("/images/0").status_code == 200
        for number in range(1, 7):
            answer = client.get(f"/images/{number}")
            assert answer.status_code == 404, number
            assert str(secret.parent) not in answer.text
            assert client.get(f"/thumbnails/{number}").status_code == 404


def test_links_are_followed_where_the_owner_says_so(trap: tuple[Path, Path, str], tmp_path: Path) -> None:
    index, secret, _ = trap
    with opened(index, tmp_path, follow_links=True) as (client, _):
        assert client.get("/images/3").content == secret.read_bytes()
        assert client.get("/images/1").status_code == 404, "`..` is no link"


def test_a_file_put_in_a_pictures_place_is_not_shown(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    write_pictures(folder, 2)
    index = make_index(tmp_path / "changed.index", folder, ["p000.jpg", "p001.jpg"])
    (folder / "p000.jpg").write_bytes((folder / "p001.jpg").read_bytes())
    with opened(index, tmp_path) as (client, _):
        answer = client.get("/images/0")
        assert answer.status_code == 404
        assert "changed since it was embedded" in answer.json()["error"]
        assert client.get("/images/1").status_code == 200


# Fetching


class Elsewhere(BaseHTTPRequestHandler):
    """/picture: a picture; /away: a redirection; /long: more than allowed."""

    def do_GET(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40), (200, 30, 30)).save(buffer, "PNG")
        content = b"\xff" * 60_000 if self.path == "/long" else buffer.getvalue()
        self.send_response(302 if self.path == "/away" else 200)
        if self.path == "/away":
            self.send_header("Location", "http://127.0.0.1:1/secret")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_addresses_are_fetched_only_from_named_hosts(elsewhere: str) -> None:
    from retrieval.sources.fetch import fetch_picture

    assert fetch_picture(f"http://{elsewhere}/picture", [elsewhere], 50_000).startswith(b"\x89PNG")
    for url, hosts, said in [
        (f"http://{elsewhere}/picture", [], "fetch-from"),
        (f"http://{elsewhere}/picture", ["example.org"], "not fetched from 127.0.0.1"),
        (f"http://{elsewhere}/picture", ["127.0.0.1"], "not fetched from 127.0.0.1:"),
        (f"http://example.org@{elsewhere}/picture", [elsewhere], "another kind"),
        (f"http://{elsewhere}\\@example.org/", ["example.org"], "another kind"),
        ("file:///etc/passwd", [elsewhere], "another kind"),
        (f"http://{elsewhere}/away", [elsewhere], "leads to another"),
        (f"http://{elsewhere}/long", [elsewhere], "more than 50,000 bytes"),
        ("http://[bad", [elsewhere], "cannot be read"),
    ]:
        with pytest.raises(BeholderError) as error:
            fetch_picture(url, hosts, 50_000)
        assert said in str(error.value), url


# What it says of itself


def test_metrics_count_answers_batches_and_pictures(client: TestClient) -> None:
    searched(client, {"vector": unit_rows(24)[0].tolist()}, k=1)
    text = client.get("/metrics").text
    assert 'beholder_requests_total{route="/search",status="200"}' in text
    assert 'beholder_index_pictures{index="noise"} 24.0' in text
    assert 'beholder_batch_size_count{index="noise",lane="quick"}' in text


def test_info_names_columns_rewriters_and_limits(client: TestClient) -> None:
    info = client.get("/info").json()
    assert info["indexes"][0]["name"] == "noise"
    assert info["indexes"][0]["columns"]["width"] == "int32"
    assert info["rewriters"] == ["none", "template"]
    assert info["limits"]["max_k"] == 1000


def test_an_encoders_folder_is_not_told() -> None:
    names = ["beholder-mini", "ViT-B-32:openai", "hf-hub:timm/ViT-B-16-SigLIP", "/home/me/models/mine", "../mine/"]
    told = ["beholder-mini", "ViT-B-32:openai", "hf-hub:timm/ViT-B-16-SigLIP", "mine", "mine"]
    assert [_without_folder(name) for name in names] == told


def test_the_description_has_examples_that_work(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    body = description["paths"]["/search"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/search", json=body["examples"]["words"]["value"]).status_code == 200
    assert client.post("/search", json=body["examples"]["words and a picture"]["value"]).status_code == 200
    assert "$ref" not in json.dumps(body["schema"])


def test_several_indexes_answer_by_name(index: Path, pictures: Path, tmp_path: Path) -> None:
    other = make_index(tmp_path / "few.index", pictures, ["p000.jpg", "p001.jpg"])
    with opened(index, tmp_path, indexes=(("noise", index), ("few", other))) as (client, _):
        assert client.get("/indices-list").json() == ["noise", "few"]
        found = client.post("/search", json={"query": "sea", "index": "few", "config": {"k": 9}}).json()["results"]
        assert len(found) == 2
        assert client.get(found[0]["thumbnail"]).status_code == 200


def test_a_changed_index_is_opened_again_and_keeps_its_encoder(index: Path, pictures: Path, tmp_path: Path) -> None:
    grown = make_index(tmp_path / "grown.index", pictures, ["p000.jpg", "p001.jpg"])
    with opened(grown, tmp_path) as (client, service):
        served = service.index(None)
        searched(client, "sea", k=1)
        encoder = served.opened.searcher.encoder.held()
        assert not served.reload()
        from indexes.building.growth import remove

        remove(grown, np.array([0]))
        assert served.reload()
        assert [one["id"] for one in searched(client, "sea", k=9)] == [1]
        assert served.opened.searcher.encoder.held() is encoder


def test_a_damaged_index_leaves_what_was_open(pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "hurt.index", pictures, ["p000.jpg"])
    with opened(index, tmp_path) as (client, service):
        (index / "manifest.json").write_text("{}")
        with pytest.raises(BeholderError):
            service.index(None).reload()
        assert len(searched(client, "sea", k=9)) == 1
        assert 'beholder_reloads_total{index="noise",outcome="failed"} 1.0' in client.get("/metrics").text
