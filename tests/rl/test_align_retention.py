"""Figures of an evaluation: pairs by hand, and the percentile of what plain search finds by an exact oracle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from align_tiny import make_run

from indexes.building.build import build_index
from indexes.building.index_config import IndexConfig
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.searching.search import load_index
from rl.alignment.align import prepare
from rl.alignment.data import RankedList
from rl.alignment.retention import pair_figures

EMPTY = np.zeros(0, np.float32)


def ranked(prefer: list[tuple[int, int]], size: int) -> RankedList:
    matrix = np.zeros((size, size), bool)
    for better, worse in prefer:
        matrix[better, worse] = True
    return RankedList(0, 0, np.arange(size), matrix, (), EMPTY)


def test_pair_figures_by_hand() -> None:
    """A list with pairs right, right, wrong: 2/3 and tau 1/3. One pair that is tied: 1/2 and 0. Means 7/12 and 1/6."""
    lists = [ranked([(0, 1), (0, 2), (1, 2)], 3), ranked([(0, 1)], 2)]
    found = pair_figures([np.array([0.9, 0.1, 0.5]), np.array([0.4, 0.4])], lists)
    assert found == pytest.approx({"pair_accuracy": 100 * 7 / 12, "kendall_tau": 1 / 6})


def test_turning_the_scores_round_turns_the_figures_round() -> None:
    generator = np.random.default_rng(0)
    one = ranked([(i, j) for i in range(6) for j in range(i + 1, 6)], 6)
    scores = generator.normal(size=6)
    there, back = pair_figures([scores], [one]), pair_figures([-scores], [one])
    assert there["pair_accuracy"] + back["pair_accuracy"] == pytest.approx(100)
    assert there["kendall_tau"] == pytest.approx(-back["kendall_tau"])


def test_percentiles_are_those_of_the_nearest_ten(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions)
    embeddings = Path(config.pictures[0])
    from indexes.records.shards import Embeddings

    items = Embeddings(embeddings).items().column("sha256").to_pylist()
    values = np.arange(len(items), dtype=np.float32)
    write_scores(scores_path(embeddings, "liking"), ScoreColumn("liking", "f" * 64, CARD, items, values))
    build_index(embeddings, tmp_path / "i.index", IndexConfig(scorers=("liking",)), query_vectors=queries(embeddings))
    config = replace(config, pictures=(str(tmp_path / "i.index"),))
    ready = prepare(config, None, tmp_path / "cache", lambda line: None)
    figures = ready.measured(ready.model)

    index = load_index(tmp_path / "i.index")
    ids = index.live_ids()
    stored = index.vectors(ids)
    rank = {sha256: (place + 0.5) / len(items) for place, sha256 in enumerate(items)}
    mine = [rank[sha256] for sha256 in index.items(ids).column("sha256").to_pylist()]
    found = []
    for one in ready.data.dev:
        query = ready.encoder.encode_texts([ready.data.texts[one.query]])[0]
        found.append(np.array(mine)[np.argsort(-(stored @ query), kind="stable")[:10]].mean())
    assert figures["liking_percentile@10"] == pytest.approx(100 * np.mean(found), abs=1e-3)


def test_a_tuned_image_tower_is_not_measured_through_the_old_index(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path
) -> None:
    config = make_run(tmp_path, tiny_model, tiny_captions, towers="both")
    ready = prepare(config, None, tmp_path / "cache", lambda line: None)
    assert not any("percentile" in name for name in ready.measured(ready.model))


CARD = {"name": "liking", "kind": "vectors", "higher_is_better": True}


def queries(embeddings: Path) -> np.ndarray:  # type: ignore[type-arg]
    from indexes.records.shards import Embeddings

    return np.concatenate([np.array(rows, np.float32) for _, rows in Embeddings(embeddings).blocks()])
