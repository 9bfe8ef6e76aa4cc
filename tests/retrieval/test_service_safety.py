"""Who may ask the service, and that nothing but its pictures is shown, fetched or told to anybody."""

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexes.errors import BeholderError
from retrieval.service.state import without_folder
from tests.conftest import write_pictures
from tests.retrieval.served import items_of, make_index
from tests.retrieval.service_client import opened, refused


def test_a_token_is_asked_for_and_a_browser_may_bring_it_once(noise_index: Path, tmp_path: Path) -> None:
    with opened(noise_index, tmp_path, token="s3cret-token") as (client, _):
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


def test_other_origins_may_ask_only_where_allowed(noise_index: Path, tmp_path: Path) -> None:
    with opened(noise_index, tmp_path, origins=("https://example.org",)) as (client, _):
        for origin, expected in (("https://example.org", "https://example.org"), ("https://evil.example", None)):
            answer = client.get("/health", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == expected


def test_clients_are_told_names_not_places(noise_index: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/v1"  # nobody listens there
    settings = {"rewriters": (("big", f"llm:model@{url}#detail"),), "slow_timeout_s": 60}
    with opened(noise_index, tmp_path, **settings) as (client, _):
        assert client.get("/info").json()["rewriters"] == ["none", "template", "big"]
        answer = client.post("/search", json={"query": "sea", "config": {"rewrite": "big"}})
        rewrite = client.get("/rewrite?q=sea&rewrite=big")
        said = refused(client, {"query": {"like": [999]}})
    assert answer.json()["query"]["fallback"], "a rewriter that is down is told of"
    assert rewrite.json()["text"] == "sea"
    for text in (answer.text, rewrite.text, said):
        assert "127.0.0.1:1" not in text
        assert str(noise_index.parent) not in text


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


def test_an_encoders_folder_is_not_told() -> None:
    names = ["beholder-mini", "ViT-B-32:openai", "hf-hub:timm/ViT-B-16-SigLIP", "/home/me/models/mine", "../mine/"]
    told = ["beholder-mini", "ViT-B-32:openai", "hf-hub:timm/ViT-B-16-SigLIP", "mine", "mine"]
    assert [without_folder(name) for name in names] == told
