"""What the service tells of critics: the texts that the index keeps, apart from scores; none are made for a visitor."""

from pathlib import Path

import numpy as np
from served import make_index
from starlette.testclient import TestClient

from indexes import load_index
from indexes.building.growth import add_scores
from indexes.records.critiques import FILE, Critique, write_critiques
from indexes.records.scores import ScoreColumn
from retrieval.service.config import ServeConfig
from retrieval.service.serve import application, open_service


def test_a_critics_text_is_told_apart_from_what_was_measured(pictures: Path, tmp_path: Path) -> None:
    index = make_index(tmp_path / "index", pictures, ["p000.jpg", "p001.jpg"])
    first, second = load_index(index).items_table().column("sha256").to_pylist()
    card = {"unit": "L*"}
    add_scores(index, ScoreColumn("brightness", "f", card, [first], np.array([62.5], np.float32)))
    write_critiques(index, [Critique(first, "light", "llm:x", "1", "How is the light?", "Soft <b>light</b>.")])
    service = open_service(ServeConfig((("noise", index),), hosts=("testserver",), watch_s=0, timeout_s=60))
    with TestClient(application(service, tmp_path / "votes.jsonl")) as client:
        told = client.get("/critique/0").json()
        assert told["said"] == [
            {"asked": "light", "question": "How is the light?", "critic": "llm:x", "text": "Soft <b>light</b>."}
        ]
        assert told["measured"]["brightness"]["value"] == 62.5
        assert told["measured"]["brightness"]["unit"] == "L*"
        assert client.get("/critique/1?index=noise").json() == {"id": 1, "said": [], "measured": {}}
        write_critiques(index, [Critique(second, "critique", "llm:x", "1", "How?", "Calm.")])
        assert client.get("/critique/1").json()["said"][0]["text"] == "Calm."  # at once
        for path, status in (("/critique/7", 404), ("/critique/x", 400), ("/critique/0?index=no", 404)):
            assert client.get(path).status_code in (status, 422), path
        (index / FILE).write_bytes(b"cut")
        broken = client.get("/critique/0")
        assert broken.status_code >= 400
        assert str(tmp_path) not in broken.text
