"""`index update` of an index with scores: new pictures are scored by what the index is scored by, old ones are not
scored again, and what nobody can score is counted."""

from pathlib import Path

import numpy as np

from indexes import load_index
from indexes.building.growth import add_scores, compact
from indexes.records.scores import ScoreColumn, read_scores, scores_path
from indexes.records.shards import Embeddings
from indexes.searching.search import verify_index
from retrieval.indexing.update import seed_embeddings
from retrieval.scoring.scoring import ScoreConfig, score_index
from tests.conftest import write_pictures
from tests.retrieval.test_update import updated


def brightness_of(index: Path) -> dict[str, float]:
    opened = load_index(index)
    items = opened.items_table()
    return dict(zip(items.column("uri").to_pylist(), items.column("brightness").to_pylist(), strict=True))


def test_new_pictures_are_scored_as_the_old_ones_were(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    updated(index, pictures)
    score_index(index, ScoreConfig(("brightness",), workers=1))
    compact(index)
    before = brightness_of(index)
    write_pictures(pictures / "more", 3, seed=9)
    report = updated(index, pictures)
    assert (report.added, report.unscored) == (3, {})
    after = brightness_of(index)
    assert len(after) == 23
    assert before.items() <= after.items()
    assert all(value is not None for value in after.values())
    assert load_index(index).scorers[0].in_index
    kept = read_scores(scores_path(index / "embeddings", "brightness"))
    assert len(set(kept.sha256s)) == 23, "seeded from the index, then only the new ones scored"
    # The same pictures, scored all at once.
    updated(tmp_path / "fresh", pictures)
    score_index(tmp_path / "fresh", ScoreConfig(("brightness",), workers=1))
    assert brightness_of(tmp_path / "fresh") == after
    verify_index(index)


def test_scores_that_nobody_here_can_make_are_counted(pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    updated(index, pictures)
    digests = load_index(index).items_table().column("sha256").to_pylist()
    add_scores(index, ScoreColumn("my-own", "f", {}, digests, np.arange(len(digests), dtype=np.float32)))
    write_pictures(pictures / "more", 2, seed=9)
    assert updated(index, pictures).unscored == {"my-own": 2}
    opened = load_index(index)
    assert np.isnan(opened.score_values("my-own", opened.live_ids())).sum() == 2


def test_columns_of_scores_do_not_become_columns_of_the_source(pictures: Path, tmp_path: Path) -> None:
    updated(tmp_path / "index", pictures)
    score_index(tmp_path / "index", ScoreConfig(("brightness",), workers=1))
    seed_embeddings(load_index(tmp_path / "index"), tmp_path / "seeded")
    assert "brightness" not in Embeddings(tmp_path / "seeded").items().column_names
