"""Lists from the cascade against a slow walk through its definition, resumed after a stop; lists from people."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import rl.lists.cascade as cascade_lists
from indexes import IndexConfig, build_index, load_index
from indexes.building.growth import add_scores
from indexes.errors import BeholderError, ConditionFailed, FormatError
from indexes.records.scores import ScoreColumn
from retrieval.hpir import HpirItem
from retrieval.search.searcher import Searcher
from rl.lists.cascade import Cascade, CascadeConfig, beauty_of, mixed, standard
from rl.lists.people import lists_of_pairs, lists_of_scores, lists_of_votes, read_ranked_rows
from rl.preferences import read_preferences
from tests.indexes.conftest import ENCODER, _embeddings, _vectors
from tests.retrieval.word_encoder import WordEncoder

QUERIES = [f"thing {number}" for number in range(6)]


@pytest.fixture
def searcher(tmp_path):
    encoder = WordEncoder()
    encoder.record = replace(encoder.record, image_fingerprint=ENCODER["image_fingerprint"])
    width = encoder.record.width
    folder = _embeddings(tmp_path / "e", _vectors(200, width))
    build_index(folder, tmp_path / "i", IndexConfig("Flat"))
    index = load_index(tmp_path / "i")
    hashes = index.items_table().column("sha256").to_pylist()
    values = np.random.default_rng(0).normal(size=200).astype(np.float32)
    values[7] = np.nan
    kept = ~np.isnan(values)
    column = ScoreColumn(
        "taste", "f" * 64, {"name": "taste"}, [h for h, k in zip(hashes, kept, strict=True) if k], values[kept]
    )
    add_scores(tmp_path / "i", column)
    return Searcher(load_index(tmp_path / "i"), encoder)


def test_z_scores_and_their_mix():
    assert standard(np.array([5.0, 5.0])).tolist() == [0, 0]
    assert standard(np.array([1.0, 3.0])).tolist() == [-1, 1]
    assert mixed(np.array([1.0, 3.0]), np.array([9.0, 7.0]), 0.25).tolist() == [-0.5, 0.5]
    assert beauty_of([np.array([1.0, 3.0]), np.array([1.0, 3.0])], [3, -1]).tolist() == [-0.5, 0.5]


def test_a_list_is_what_a_slow_walk_gives(searcher):
    config = CascadeConfig((("taste", 1.0),), u=3, v=4, stride=2, mix=0.3)
    cascade = Cascade(searcher, config)
    made = list(cascade.lists(QUERIES))
    assert [one.query for one in made] == QUERIES
    index, depth = searcher.index, config.needed
    for one in made:
        vector = searcher.encoder.encode_texts([one.query])
        found = index.search(vector, 200)
        taste = index.score_values("taste", found.ids[0])
        known = [place for place in range(200) if not np.isnan(taste[place])][:depth]
        a, r = taste[known].astype(float), found.scores[0][known].astype(float)
        rho = 0.7 * (r - r.mean()) / r.std() + 0.3 * (a - a.mean()) / a.std()
        ordered = [known[place] for place in sorted(range(depth), key=lambda place: (-rho[place], place))]
        picks = [ordered[place] for place in range(0, 24, 2)]
        rows = [sorted(picks[row * 4 : row * 4 + 4], key=lambda place: -taste[place]) for row in range(3)]
        hashes = index.items(found.ids[0]).column("sha256").to_pylist()
        assert list(one.pictures) == [hashes[place] for row in rows for place in row]
        assert one.provenance["ranks"] == [place for row in rows for place in row]
    assert cascade.rejected["pictures without a score"] == sum(
        7 in index.search(searcher.encoder.encode_texts([q]), 2 * depth).ids for q in QUERIES
    )


def test_semantics_alone_are_the_order_of_the_rewritten_query(searcher):
    """One column, no scorer: every 9th picture found, each before all later ones; strangers below all of them."""
    config = CascadeConfig((), u=5, v=1, stride=9, rewrite="suffix:by night", random=3)
    cascade = Cascade(searcher, config)
    made = list(cascade.lists(QUERIES))
    for one in made:
        found = searcher.index.search(searcher.encoder.encode_texts([f"{one.query}, by night"]), 200)
        hashes = searcher.index.items(found.ids[0]).column("sha256").to_pylist()
        assert one.pictures[:5] == tuple(hashes[:37:9])
        assert not set(one.pictures[5:]) & set(hashes[:37])
        assert len(set(one.pictures)) == 8
        wanted = np.zeros((8, 8), bool)
        wanted[:5, :5], wanted[:5, 5:] = np.triu(np.ones((5, 5), bool), 1), True
        assert (one.prefer() == wanted).all()
        assert one.chains == ((0, 1, 2, 3, 4),)
    assert not cascade.rejected  # no score is needed
    again = list(Cascade(searcher, config).lists(QUERIES[::-1]))[::-1]
    assert [one.pictures for one in again] == [one.pictures for one in made]  # drawn by the query's words
    with pytest.raises(BeholderError, match="200 pictures; expected 241"):
        Cascade(searcher, replace(config, random=204))


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(searcher, tmp_path, monkeypatch):
    monkeypatch.setattr(cascade_lists, "BATCH", 2)
    config = CascadeConfig((("taste", -1.0),), u=2, v=2, stride=3, rewrite="suffix:by night")
    assert Cascade(searcher, config).write(tmp_path / "whole.parquet", QUERIES) == 6

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cascade(searcher, config).write(tmp_path / "p.parquet", QUERIES, stop)
    assert not (tmp_path / "p.parquet").exists()
    asked = []
    again = Cascade(searcher, config)
    monkeypatch.setattr(again, "_batch", lambda queries, make=again._batch: asked.append(queries) or make(queries))
    again.write(tmp_path / "p.parquet", QUERIES)
    assert asked == [QUERIES[4:]]
    assert (tmp_path / "p.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob(".p.parquet*"))
    table = read_preferences(tmp_path / "p.parquet")
    assert table.lists[0].query == "thing 0"
    assert table.lists[0].provenance["rewrite"] == "thing 0, by night"
    assert table.origin["config"]["scorers"] == {"taste": -1.0}
    assert table.lists[0].provenance["scorers"] == {"taste": -1.0}
    assert table.lists[0].provenance["index"] == searcher.index.manifest.embeddings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"u": 0}, "u 0"),
        ({"scorers": ()}, "no scorer"),
        ({"scorers": (("taste", 1), ("taste", 2))}, "taste twice"),
        ({"mix": 1.5}, "mix 1.5"),
        ({"variant": "columns"}, "columns"),
        ({"depth": 10}, "needs 241"),
        ({"u": 1, "v": 1}, "one picture"),
        ({"v": 1, "variant": "rows"}, "rows of one picture"),
        ({"random": -1}, "random -1"),
    ],
)
def test_settings_that_make_no_lists_are_named(changes, message):
    with pytest.raises(BeholderError, match=message):
        CascadeConfig(**{"scorers": (("taste", 1.0),), **changes})


def test_an_index_without_the_scores_or_too_small_is_refused(searcher):
    with pytest.raises(BeholderError, match="no scores of beauty"):
        Cascade(searcher, CascadeConfig((("beauty", 1.0),), u=2, v=2, stride=1))
    with pytest.raises(BeholderError, match="200 pictures; expected 241"):
        Cascade(searcher, CascadeConfig((("taste", 1.0),)))


def test_no_list_at_all_fails_and_says_why(searcher, tmp_path):
    config = CascadeConfig((("taste", 1.0),), u=5, v=5, stride=2, where="id < 20")
    with pytest.raises(ConditionFailed, match="queries with too few pictures"):
        Cascade(searcher, config).write(tmp_path / "p.parquet", QUERIES)


def test_scores_make_lists_with_ties_and_gaps():
    scores = {f"{n:02d}": float(n // 2) for n in range(10)} | {"none": float("nan")}
    made = list(lists_of_scores(scores, ["a nice page", "a good page"], length=6, lists=4, gap=1.0, seed=3))
    assert [one.query for one in made] == ["a nice page", "a good page"] * 2
    for one in made:
        assert len(one.pictures) == 6
        assert "none" not in one.pictures
        pairs = {(one.pictures[b], one.pictures[w]) for b, w in zip(one.better, one.worse, strict=True)}
        assert pairs == {(a, b) for a in one.pictures for b in one.pictures if scores[a] - scores[b] > 1}
    assert made == list(lists_of_scores(scores, ["a nice page", "a good page"], length=6, lists=4, gap=1.0, seed=3))
    with pytest.raises(BeholderError, match="1 pictures"):
        next(lists_of_scores({"a": 1.0}, ["q"]))


def test_choices_are_counted_in_both_orders_and_circles_are_kept_apart():
    pairs = [("a", "b", 1), ("b", "a", 3), ("b", "c", 2), ("c", "a", 1), ("a", "d", 1), ("d", "a", 1)]
    made = list(lists_of_pairs(pairs, ["nice"], {"from": "pairs"}))
    assert [one.pictures for one in made] == [("b", "a"), ("c", "a"), ("b", "c")]


def test_votes_prefer_a_row_to_the_other():
    def item(votes, a=("1", "2", "3"), b=("3", "4")):
        return HpirItem("q1", "boats", {}, a, b, (), {"aesthetics": votes}, (None,) * len(votes), (None,) * len(votes))

    rejected: Counter[str] = Counter()
    items = [item(("b", "b", "a", "same")), item(("a", "b")), item(("a",), ("1",), ("1",))]
    (one,) = lists_of_votes(items, "aesthetics", rejected)
    assert one.pictures == ("4", "1", "2")  # 3 lies in both rows
    assert list(zip(one.better, one.worse, strict=True)) == [(0, 1), (0, 2)]
    assert rejected == {"items without a majority": 1, "items whose rows hold the same pictures": 1}


@pytest.mark.parametrize("lines", [False, True])
def test_rows_in_the_style_of_the_public_sets(tmp_path, lines):
    rows = [
        {"prompt": "a cat", "generations": ["x", "y", "z"], "ranking": [2, 1, 2]},
        {"prompt": "a dog", "image_path": ["x", "gone"], "human_preference": [1, 0]},
        {"prompt": "a fox", "image_path": ["x", "y"], "rank": [1, 0]},
        {"prompt": "a cow", "image_path": ["x", "y", "z"], "rank": [1, float("nan"), 0]},
    ]
    path = tmp_path / "rows.json"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    rejected: Counter[str] = Counter()
    made = list(read_ranked_rows(path, {"x": "1", "y": "2", "z": "3"}.get, rejected))
    assert [one.query for one in made] == ["a cat", "a fox", "a cow"]
    assert list(zip(made[0].better, made[0].worse, strict=True)) == [(1, 0), (1, 2)]
    assert list(zip(made[1].better, made[1].worse, strict=True)) == [(1, 0)]
    assert made[2].pictures == ("1", "3")
    left_out = {"pictures that are not at hand": 1, "rows without a pair": 1, "pictures whose rank is no number": 1}
    assert rejected == left_out


def test_a_row_without_its_fields_is_named(tmp_path):
    (tmp_path / "rows.json").write_text('[{"prompt": "a cat", "generations": ["x"], "ranking": [1]}, {"prompt": "b"}]')
    with pytest.raises(FormatError, match="row 2 has prompt"):
        list(read_ranked_rows(tmp_path / "rows.json", {"x": "1"}.get, Counter()))
