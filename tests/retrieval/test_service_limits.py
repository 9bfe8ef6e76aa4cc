"""What the service refuses, and how: one line, with the status that fits; and the settings that are wrong."""

import base64
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexes.errors import BeholderError
from retrieval.service.config import ServeConfig, named_folder, named_spec
from retrieval.service.serve import application, open_service
from tests.retrieval.served import unit_rows
from tests.retrieval.service_client import opened, refused


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


def test_pictures_that_are_too_large_are_refused_unread(noise_index: Path, tmp_path: Path) -> None:
    with opened(noise_index, tmp_path, max_pixels=10_000, max_picture_mb=0.001) as (client, _):
        assert "101 x 101 pixels" in refused(client, {"query": {"image": [{"data": png(101)}]}})
        long = base64.b64encode(b"\xff" * 1001).decode()
        assert "1,001 bytes" in refused(client, {"query": {"image": [{"data": long}]}})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(noise_index: Path, tmp_path: Path, chunked: bool) -> None:
    with opened(noise_index, tmp_path, max_picture_mb=0.001) as (client, service):
        content = b" " * (service.config.max_body_bytes + 1)
        parts = (content[at : at + 65536] for at in range(0, len(content), 65536))
        answer = client.post("/search", content=parts if chunked else content)
    assert answer.status_code == 413
    assert "longer than" in answer.json()["error"]


def test_a_full_queue_answers_503_with_retry_after(noise_index: Path, tmp_path: Path) -> None:
    with opened(noise_index, tmp_path, waiting=1) as (client, service):
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


def test_a_request_without_an_answer_in_time_gets_504(noise_index: Path, tmp_path: Path) -> None:
    with opened(noise_index, tmp_path, timeout_s=0.05) as (client, service):
        go = threading.Event()
        service.index(None)._vectors._work = lambda asked: [go.wait(30) or ValueError()] * len(asked)
        answer = client.post("/knn-service", json={"embedding_input": unit_rows(1)[0].tolist()})
        go.set()
    assert answer.status_code == 504


def test_a_fault_is_500_and_says_nothing_of_the_inside(noise_index: Path, tmp_path: Path) -> None:
    service = open_service(ServeConfig(indexes=(("noise", noise_index),), hosts=("testserver",), watch_s=0))

    def broken(asked: Any) -> Any:
        raise RuntimeError("secret")

    service.index(None)._vectors._work = broken
    with TestClient(application(service, tmp_path / "v"), raise_server_exceptions=False) as client:
        answer = client.post("/knn-service", json={"embedding_input": unit_rows(1)[0].tolist()})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_wrong_settings_are_told_all_at_once(noise_index: Path) -> None:
    with pytest.raises(BeholderError, match=r"two indexes named a.*port 70000.*short.*waiting 0"):
        ServeConfig(indexes=(("a", noise_index), ("a", noise_index)), port=70000, token="short", waiting=0)


def test_names_of_indexes_and_rewriters(tmp_path: Path) -> None:
    assert named_folder("family=/x/y.index") == ("family", Path("/x/y.index"))
    assert named_folder("/x/pictures.index") == ("pictures", Path("/x/pictures.index"))
    (tmp_path / "a=b.index").mkdir()
    assert named_folder(str(tmp_path / "a=b.index"))[0] == "a=b"
    assert named_spec("llm:model@http://host/v1") == ("llm", "llm:model@http://host/v1")
    assert named_spec("big=llm:model@http://host/v1?a=b") == ("big", "llm:model@http://host/v1?a=b")
