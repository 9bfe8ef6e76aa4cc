"""The service's routes, in one process: answers are the searcher's, pictures the index's, and it says what it has."""

import hashlib
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexes import load_index
from indexes.building.growth import add_scores
from indexes.errors import BeholderError
from indexes.records.critiques import FILE, Critique, write_critiques
from indexes.records.scores import ScoreColumn
from retrieval.search.config import SearchConfig
from retrieval.search.query import Part, Query
from retrieval.service.served_index import lane_of
from retrieval.service.service import Service
from tests.conftest import write_pictures
from tests.retrieval.served import make_index, unit_rows
from tests.retrieval.service_client import opened, searched


def test_vectors_are_searched_without_an_encoder(noise_index: Path, tmp_path: Path) -> None:
    with opened(noise_index, tmp_path) as (client, service):
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


def test_a_picture_is_sent_as_it_is_and_kept_by_browsers(client: TestClient, noise: Path) -> None:
    one = searched(client, "sea", k=1)[0]
    answer = client.get(one["image"])
    assert answer.content == (noise / one["uri"]).read_bytes()
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


def test_an_item_is_what_the_index_knows(client: TestClient, noise: Path) -> None:
    item = client.get("/items/4").json()
    assert item["uri"] == "p004.jpg"
    assert item["sha256"] == hashlib.sha256((noise / "p004.jpg").read_bytes()).hexdigest()
    assert client.get("/items/24").status_code == 404
    assert client.get("/items/-1").status_code == 404
    assert client.get(f"/items/{2**64}").status_code == 404


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


def test_info_has_columns_of_scores_and_of_critics(noise: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "scored.index", noise, ["p000.jpg", "p001.jpg"])
    first = load_index(index).items_table().column("sha256").to_pylist()[0]
    card = {"unit": "bits"}
    add_scores(index, ScoreColumn("fine-detail", "f", card, [first], np.array([2.5], np.float32)))
    with opened(index, tmp_path) as (client, _):
        described = client.get("/info").json()["indexes"][0]
        assert described["critiques"] == []
        write_critiques(
            index, [Critique(first, "light", "x", "1", "How?", "Soft."), Critique(first, *["critique"] * 5)]
        )
        described = client.get("/info").json()["indexes"][0]
        table = load_index(index).items_table()
        assert described["columns"] == {one.name: str(one.type) for one in table.schema}
        assert {"fine_detail", "fine_detail_percentile", "critique", "critique_light"} <= set(described["columns"])
        assert described["critiques"] == ["critique", "light"]
        assert client.get("/search?q=sea&where=fine_detail > 2").json()["results"][0]["id"] == 0
        (index / FILE).write_bytes(b"cut")
        assert client.get("/info").json()["indexes"][0]["critiques"] == [], "the page can be searched all the same"


def test_the_description_has_examples_that_work(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    body = description["paths"]["/search"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/search", json=body["examples"]["words"]["value"]).status_code == 200
    assert client.post("/search", json=body["examples"]["words and a picture"]["value"]).status_code == 200
    assert "$ref" not in json.dumps(body["schema"])


def test_several_indexes_answer_by_name(noise_index: Path, noise: Path, tmp_path: Path) -> None:
    other = make_index(tmp_path / "few.index", noise, ["p000.jpg", "p001.jpg"])
    with opened(noise_index, tmp_path, indexes=(("noise", noise_index), ("few", other))) as (client, _):
        assert client.get("/indices-list").json() == ["noise", "few"]
        found = client.post("/search", json={"query": "sea", "index": "few", "config": {"k": 9}}).json()["results"]
        assert len(found) == 2
        assert client.get(found[0]["thumbnail"]).status_code == 200


def test_a_changed_index_is_opened_again_and_keeps_its_encoder(noise_index: Path, noise: Path, tmp_path: Path) -> None:
    grown = make_index(tmp_path / "grown.index", noise, ["p000.jpg", "p001.jpg"])
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


def test_a_damaged_index_leaves_what_was_open(noise: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "hurt.index", noise, ["p000.jpg"])
    with opened(index, tmp_path) as (client, service):
        (index / "manifest.json").write_text("{}")
        with pytest.raises(BeholderError):
            service.index(None).reload()
        assert len(searched(client, "sea", k=9)) == 1
        assert 'beholder_reloads_total{index="noise",outcome="failed"} 1.0' in client.get("/metrics").text
