"""A service in this process for tests, and what is asked of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from retrieval.service.config import ServeConfig
from retrieval.service.serve import application, open_service
from retrieval.service.service import Service


@contextmanager
def opened(index: Path, tmp_path: Path, **settings: Any) -> Iterator[tuple[TestClient, Service]]:
    config = ServeConfig(
        **{"indexes": (("noise", index),), "hosts": ("testserver",), "watch_s": 0, "timeout_s": 60, **settings}
    )
    service = open_service(config)
    with TestClient(application(service, tmp_path / "votes.jsonl")) as client:
        yield client, service


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
