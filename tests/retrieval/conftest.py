"""What tests of the service and of its page share: an index of noise and a service over it that no test changes; a
collection, a process that serves it, and a browser that opens its page."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import write_pictures

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from retrieval.service.service import Service
    from tests.retrieval.page_client import Open


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 pictures."""
    folder = tmp_path_factory.mktemp("served") / "pictures"
    write_pictures(folder, 24)
    return folder


@pytest.fixture(scope="session")
def noise_index(noise: Path) -> Path:
    """Their index, ids in the order of names."""
    from tests.retrieval.served import make_index

    return make_index(noise.parent / "noise.index", noise, sorted(os.listdir(noise)))


@pytest.fixture(scope="module")
def served(noise_index: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[TestClient, Service]]":
    from tests.retrieval.service_client import opened

    with opened(noise_index, tmp_path_factory.mktemp("votes")) as pair:
        yield pair


@pytest.fixture
def client(served: "tuple[TestClient, Service]") -> "TestClient":
    return served[0]


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pictures` and `pictures.index` (browser.py)."""
    from tests.retrieval.browser import make_collection

    folder = tmp_path_factory.mktemp("page")
    make_collection(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.retrieval.browser import FLAGS, chromium

    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    if chromium() is None:
        pytest.skip("no Chromium on this machine (Debian's package chromium)")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=chromium(), args=FLAGS)


@pytest.fixture(scope="module")
def address(browser: Any, page_folder: Path) -> Iterator[str]:
    """A service with the collection, twice: `pictures` and `again`."""
    from tests.retrieval.browser import serving

    index = page_folder / "pictures.index"
    with serving(f"pictures={index}", f"again={index}", "--votes", page_folder / "votes.jsonl") as address:
        yield address


@pytest.fixture
def open_page(browser: Any, address: str) -> "Iterator[Open]":
    """Opens the page; at the end no script has failed and nothing was asked of another host."""
    contexts, wrong = [], []

    def opened(path: str = "/", *, width: int = 1280, height: int = 800, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        # Requests are intercepted from the start: where a test's own route is the first, what the page asks at once
        # after it can still go past (one time in ten).
        context.route("**/none-asks-for-this", lambda route: route.abort())
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security" in line.text else None)
        ours = (address, "blob:", "data:")
        page.on("request", lambda asked: None if asked.url.startswith(ours) else wrong.append(asked.url))
        page.goto(address + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
