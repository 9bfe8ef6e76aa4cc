"""clip-retrieval's dialect: its own client, unchanged, and recorded bodies of it where it is not installed."""

import base64
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from retrieval.encoding.encoders import load_encoder
from retrieval.service.config import ServeConfig
from retrieval.service.serve import application, open_service
from retrieval.sources.images import decode, fit
from tests.conftest import write_pictures
from tests.retrieval.served import make_index, unit_rows

PEER = os.environ.get("BEHOLDER_CLIP_RETRIEVAL", "")
LONG = 60.0
# What ClipClient of clip-retrieval 2.45.0 sends, with its defaults.
SENT = {
    "text": None,
    "image": None,
    "image_url": None,
    "embedding_input": None,
    "deduplicate": True,
    "use_safety_model": True,
    "use_violence_detector": True,
    "indice_name": "noise",
    "use_mclip": False,
    "aesthetic_score": 9,
    "aesthetic_weight": 0.5,
    "modality": "image",
    "num_images": 40,
    "num_result_ids": 40,
}
CLIENT = """
import json, sys
from clip_retrieval.clip_client import ClipClient, Modality
url, vector, text = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
client = ClipClient(url=url, indice_name="noise", num_images=5, modality=Modality.IMAGE)
print(json.dumps([client.query(embedding_input=vector), client.query(text=text)]))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServeConfig:
    place = tmp_path_factory.mktemp("knn")
    names = write_pictures(place / "pictures", 20)
    index = make_index(place / "noise.index", place / "pictures", names)
    return ServeConfig(indexes=(("noise", index),), hosts=("testserver",), watch_s=0, timeout_s=60)


@pytest.fixture(scope="module")
def client(config: ServeConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(application(open_service(config), tmp_path_factory.mktemp("votes") / "v")) as client:
        yield client


def sent(client: TestClient, **fields: Any) -> Any:
    """The answer to a body as ClipClient sends it: JSON, under no media type."""
    return client.post("/knn-service", content=json.dumps(SENT | fields), headers={"content-type": ""})


def test_an_embedding_finds_its_picture_with_metadata(client: TestClient) -> None:
    vector = (3 * unit_rows(20)[4]).tolist()  # of any length
    found = sent(client, embedding_input=vector, num_images=3, num_result_ids=3).json()
    assert found[0]["id"] == 4
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert found[0]["image_path"] == "p004.jpg"
    assert found[0]["caption"] == "picture 4"
    assert client.get(found[0]["url"]).status_code == 200


def test_more_ids_than_pictures_come_without_metadata(client: TestClient) -> None:
    found = sent(client, embedding_input=unit_rows(1)[0].tolist(), num_images=2, num_result_ids=6).json()
    assert [set(one) >= {"url", "image_path"} for one in found] == [True, True, False, False, False, False]
    assert all({"id", "similarity"} <= set(one) for one in found)


def test_texts_and_pictures_are_encoded_as_search_encodes_them(client: TestClient) -> None:
    found = sent(client, text="a red boat", num_images=4, num_result_ids=4, deduplicate=False).json()
    expected = client.post("/search", json={"query": "a red boat", "config": {"k": 4}}).json()["results"]
    assert [(one["id"], one["similarity"]) for one in found] == [(one["id"], one["relevance"]) for one in expected]


def test_a_picture_is_encoded_as_the_index_encodes_pictures(client: TestClient, config: ServeConfig) -> None:
    content = (config.indexes[0][1].parent / "pictures" / "p003.jpg").read_bytes()
    data = base64.b64encode(content).decode()
    found = sent(client, image=data, num_images=4, num_result_ids=4, deduplicate=False).json()
    query = {"image": [{"data": f"data:image/jpeg;base64,{data}", "weight": 2}]}
    same = client.post("/search", json={"query": query, "config": {"k": 4}}).json()["results"]
    encoder = load_encoder("beholder-mini")
    vector = encoder.encode_images(fit(decode(content), encoder.preprocessing)[None])[0]
    expected = np.argsort(-unit_rows(20).astype(np.float16).astype(np.float32) @ vector)[:4]
    assert [one["id"] for one in found] == [one["id"] for one in same] == expected.tolist()


def test_repetitions_are_left_out_where_asked(client: TestClient) -> None:
    vector = unit_rows(20)[2].tolist()
    plain = sent(client, embedding_input=vector, num_result_ids=20, deduplicate=False).json()
    assert len(plain) == 20
    assert [one["id"] for one in sent(client, embedding_input=vector, num_result_ids=20).json()] == [
        one["id"] for one in plain
    ], "made-up vectors are far from each other: nothing repeats"


def test_indices_and_metadata(client: TestClient) -> None:
    assert client.get("/indices-list").json() == ["noise"]
    found = client.post("/metadata", json={"ids": [3, 0, 3], "indice_name": "noise"}).json()
    assert [one["id"] for one in found] == [3, 0, 3]
    assert [one["metadata"]["image_path"] for one in found] == ["p003.jpg", "p000.jpg", "p003.jpg"]
    assert client.post("/metadata", json={"ids": [], "indice_name": "noise"}).json() == []


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 400, "no query"),
        ({"embedding_input": [1.0, 2.0]}, 400, "512"),
        ({"embedding_input": [0.0] * 512}, 400, "not all 0"),
        ({"text": "sea", "modality": "text"}, 400, "no index of texts"),
        ({"text": "sea", "use_mclip": True}, 400, "use_mclip"),
        ({"text": "sea", "indice_name": "laion5B"}, 404, "laion5B"),
        ({"text": "sea", "num_result_ids": 100_000}, 400, "1 to 1,000"),
        ({"text": "sea", "num_result_ids": 0}, 400, "1 to 1,000"),
        ({"image_url": "http://127.0.0.1/x.jpg"}, 400, "fetch-from"),
        ({"image": base64.b64encode(b"no picture").decode()}, 400, "no picture"),
    ],
)
def test_what_cannot_be_answered_is_refused(client: TestClient, fields: Any, status: int, said: str) -> None:
    answer = sent(client, **fields)
    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.skipif(not PEER, reason="BEHOLDER_CLIP_RETRIEVAL is not the python of an environment with clip-retrieval")
def test_clip_retrievals_own_client_works_unchanged(config: ServeConfig, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application(open_service(config), tmp_path / "v"), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + LONG
        while not server.started and time.monotonic() < until:
            time.sleep(0.05)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/knn-service"
        vector = json.dumps(np.round(unit_rows(20)[7].astype(float), 6).tolist())
        done = subprocess.run([PEER, "-c", CLIENT, url, vector, "a boat"], capture_output=True, text=True, check=False)
        server.should_exit = True
        thread.join(LONG)
    assert done.returncode == 0, done.stderr
    by_vector, by_text = json.loads(done.stdout.splitlines()[-1])
    assert by_vector[0]["id"] == 7
    assert (by_vector[0]["image_path"], by_vector[0]["caption"]) == ("p007.jpg", None)
    assert len(by_vector) == len(by_text) == 5
    assert all({"id", "similarity", "url"} <= set(one) for one in by_text)
