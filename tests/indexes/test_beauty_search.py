"""Protects search with beauty: Flat is exact for any weight against a slow oracle, weight 0 changes nothing,
approximate indexes meet their target at every step, and beyond the steps search is exact."""

import json

import numpy as np
import pytest

from indexes import IndexConfig, build_index, load_index
from indexes.building.tune import tune_index
from indexes.errors import BeholderError, FormatError
from indexes.records.beauty import STEPS
from indexes.records.exact import exact_search
from indexes.records.percentiles import normal_scores, percentiles
from indexes.records.scores import ScoreColumn, scores_path, write_scores
from indexes.records.shards import Embeddings
from indexes.searching.search import verify_index
from indexes.searching.where import matching_ids

SIZE, WIDTH = 2000, 24
NAMES = "appeal", "noise"


def score(folder, name, values, **card):
    """Writes scores (n,) of the folder's pictures in row order; NaN for none."""
    digests = np.array(Embeddings(folder).items().column("sha256").to_pylist())
    known = ~np.isnan(values)
    kept = np.asarray(values, np.float32)[known]
    write_scores(scores_path(folder, name), ScoreColumn(name, f"f-{name}", card, digests[known].tolist(), kept))
    return values


@pytest.fixture(scope="module")
def texts(vectors):
    return vectors(300, WIDTH, seed=5)


@pytest.fixture(scope="module")
def scored(tmp_path_factory, vectors, embeddings):
    """(EMBEDDINGS with three scorers, stored vectors, normal scores (n, 2) of the two that become dimensions)."""
    rows, rng = vectors(SIZE, WIDTH), np.random.default_rng(0)
    rows[1000:1030] = rows[5]
    folder = embeddings(tmp_path_factory.mktemp("scored") / "e", rows, shard=700, first_id=100)
    first = score(folder, "appeal", rng.normal(size=SIZE).round(1), higher_is_better=True)  # with ties
    second = score(folder, "noise", rng.gamma(1, size=SIZE), higher_is_better=False)
    score(folder, "width-look", rng.normal(size=SIZE))
    z = [normal_scores(percentiles(first.astype(np.float32)))]
    z.append(normal_scores(percentiles(second.astype(np.float32), lower_is_better=True)))
    return folder, rows.astype(np.float16).astype(np.float64), np.stack(z, axis=1).astype(np.float64)


def built(scored, texts, tmp_path_factory, factory, **more):
    folder = tmp_path_factory.mktemp("i") / "i"
    config = IndexConfig(factory, threads=1, scorers=NAMES, default_scorer="noise")
    build_index(scored[0], folder, config, query_vectors=texts, query_kind="text", **more)
    return folder


@pytest.fixture(scope="module")
def flat(scored, texts, tmp_path_factory):
    return built(scored, texts, tmp_path_factory, "Flat")


@pytest.fixture(scope="module")
def lists(scored, texts, tmp_path_factory):
    return built(scored, texts, tmp_path_factory, "IVF40,Flat")


def oracle(scored, index, queries, beauty, k, allowed=None):
    """(ids, scores) of s + b * spread * z, the slow way; ties by lower id."""
    _, rows, z = scored
    spread = index.manifest.spread["value"]
    scores = queries.astype(np.float64) @ rows.T
    for name, b in beauty.items():
        scores = scores + float(np.float32(b * spread)) * z[:, NAMES.index(name)]
    scores = scores.astype(np.float32)
    if allowed is not None:
        scores[:, ~np.isin(np.arange(len(rows)), allowed)] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(scores, ids, 1)


WEIGHTS = [{"appeal": 1}, {"appeal": -0.37}, {"noise": 40.0}, {"appeal": 2.5, "noise": -1}, {"appeal": 1e-4}]


@pytest.mark.parametrize("beauty", WEIGHTS)
@pytest.mark.parametrize("factory", ["Flat", "SQfp16"])
def test_exact_kinds_answer_as_the_oracle_for_any_weight(scored, texts, tmp_path_factory, factory, beauty, request):
    folder = request.getfixturevalue("flat") if factory == "Flat" else built(scored, texts, tmp_path_factory, factory)
    index = load_index(folder)
    queries = np.concatenate([texts[:20], scored[1][[5, 1010]].astype(np.float32)])
    for k in (1, 10, 45):
        found = index.search(queries, k, beauty=beauty)
        ids, scores = oracle(scored, index, queries, beauty, k)
        np.testing.assert_array_equal(found.ids, ids)
        np.testing.assert_allclose(found.scores, scores, atol=2e-7)
    assert index.exact_searches == 0, "what is exact anyway is not said to be"
    assert not index.searches_exactly(beauty)


def test_weights_of_random_sizes_and_signs_are_exact_over_flat(scored, flat, vectors):
    index, rng = load_index(flat), np.random.default_rng(7)
    for trial in range(30):
        beauty = {name: float(rng.normal() * 10 ** rng.uniform(-3, 2)) for name in NAMES}
        queries = vectors(3, WIDTH, seed=100 + trial)
        np.testing.assert_array_equal(
            index.search(queries, 10, beauty=beauty).ids, oracle(scored, index, queries, beauty, 10)[0]
        )


@pytest.mark.parametrize("beauty", [None, {}, {"appeal": 0}, {"": 0.0, "appeal": -0.0}])
def test_weight_0_gives_the_answers_of_an_index_without_scorers(scored, flat, texts, tmp_path, beauty):
    build_index(scored[0], tmp_path / "i", IndexConfig("Flat", threads=1))
    plain, ours = load_index(tmp_path / "i"), load_index(flat)
    for queries, k in ((texts, 10), (texts[:1], 50)):
        wanted, found = plain.search(queries, k), ours.search(queries, k, beauty=beauty)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)
        again = exact_search(queries, ours.blocks(), k)
        np.testing.assert_array_equal(found.ids, again.ids)


def test_a_great_weight_sorts_by_beauty_alone(scored, flat, texts):
    index = load_index(flat)
    found = index.search(texts[:5], 20, beauty={"noise": 1e6})
    assert (index.percentiles("noise", found.ids) >= 0.99).all()
    found = index.search(texts[:5], 20, beauty={"noise": -1e6})
    assert (index.percentiles("noise", found.ids) <= 0.01).all()


@pytest.mark.parametrize("share", [0.002, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["flat", "lists"])
def test_filters_and_beauty_together_are_exact_where_search_is(scored, request, texts, kind, share):
    index, beauty = load_index(request.getfixturevalue(kind)), {"appeal": 2}
    allowed = np.flatnonzero(np.random.default_rng(1).random(SIZE) < share)
    found = index.search(texts[:20], 10, beauty=beauty, allowed=allowed)
    ids, _ = oracle(scored, index, texts[:20], beauty, 10, allowed)
    assert np.isin(found.ids, allowed).all()
    np.testing.assert_array_equal(found.ids, ids[:, : found.ids.shape[1]])


def test_a_bare_weight_means_the_default_scorer(flat, texts):
    index = load_index(flat)
    np.testing.assert_array_equal(
        index.search(texts[:5], 10, beauty={"": 1}).ids, index.search(texts[:5], 10, beauty={"noise": 1}).ids
    )


@pytest.mark.parametrize("factory", ["IVF40,Flat", "IVF40,PQ16x4fs", "HNSW16", "RaBitQ"])
def test_every_step_meets_the_target_or_is_searched_exactly(scored, texts, tmp_path_factory, factory, vectors):
    index = load_index(built(scored, texts, tmp_path_factory, factory))
    others = vectors(100, WIDTH, seed=31)
    for record in index.manifest.in_index:
        assert sorted(record.steps) == sorted(STEPS)
        for b, step in record.steps.items():
            beauty = {record.name: float(b)}
            found = index.search(others, 10, beauty=beauty).ids
            wanted, _ = oracle(scored, index, others, beauty, 10)
            share = np.mean([len(set(a) & set(c)) / 10 for a, c in zip(found, wanted, strict=True)])
            assert (step.parameters is None) == index.searches_exactly(beauty)
            if step.parameters is None:
                assert share == 1
            else:
                assert step.knn_recall >= 0.95
                assert share >= 0.91, "other queries of the same kind: within 4 points of the measured ones"


def test_beyond_the_steps_search_is_exact_and_counted(scored, lists, texts):
    index, beauty = load_index(lists), {"appeal": -4.5}
    found = index.search(texts[:7], 10, beauty=beauty)
    np.testing.assert_array_equal(found.ids, oracle(scored, index, texts[:7], beauty, 10)[0])
    assert index.searches_exactly(beauty)
    assert index.exact_searches == 7
    assert not index.searches_exactly({"appeal": -4})
    assert index.searches_exactly({"appeal": 3, "noise": 3}), "their sum is past the steps"


def test_scores_and_percentiles_are_columns_that_filters_read(scored, flat):
    index = load_index(flat)
    items = index.items_table()
    names = {"appeal", "appeal_percentile", "noise_percentile", "width_look", "width_look_percentile"}
    assert names < set(items.column_names)
    best = matching_ids(items, "noise_percentile > 0.9 AND appeal >= 0")
    assert len(best) > 20
    assert (index.percentiles("noise", best) > 0.9).all()
    values = index.score_values("appeal", np.arange(SIZE))
    np.testing.assert_allclose(index.percentiles("appeal", np.arange(SIZE)), percentiles(values), atol=1e-6)
    assert np.isnan(index.score_values("appeal", np.array([10**6]))).all()


def test_a_column_of_the_source_keeps_its_name(tmp_path, vectors, embeddings):
    folder = embeddings(tmp_path / "e", vectors(50, 8))
    score(folder, "caption", np.arange(50.0))
    build_index(folder, tmp_path / "i")
    items = load_index(tmp_path / "i").items_table()
    assert items.column("caption")[0].as_py() == "picture 0"
    assert items.column("caption_score")[49].as_py() == 49


def test_relevance_is_the_plain_cosine_whatever_the_weight(flat, texts):
    index = load_index(flat)
    plain = index.search(texts[:5], 10)
    np.testing.assert_allclose(index.relevance(texts[:5], plain.ids), plain.scores, atol=1e-7)
    leaning = index.search(texts[:5], 10, beauty={"appeal": 3})
    assert (index.relevance(texts[:5], leaning.ids) <= plain.scores[:, :1] + 1e-6).all()
    with pytest.raises(BeholderError, match="a row of ids per query"):
        index.relevance(texts[:2], plain.ids)


def test_pictures_without_a_score_stand_in_the_middle_and_are_counted(tmp_path, vectors, embeddings):
    folder, values = embeddings(tmp_path / "e", vectors(100, 8)), np.arange(100.0)
    values[::4] = np.nan
    score(folder, "some", values)
    build_index(folder, tmp_path / "i", IndexConfig(scorers=("some",)), text_vectors=vectors(50, 8, seed=3))
    index = load_index(tmp_path / "i")
    assert index.scorers[0].count == 75
    query = vectors(1, 8, seed=2)
    found, plain = (index.search(query, 100, beauty={"some": b}) for b in (5, 0))
    gained = dict(zip(found.ids[0].tolist(), found.scores[0], strict=True))
    before = dict(zip(plain.ids[0].tolist(), plain.scores[0], strict=True))
    assert all(gained[picture] == pytest.approx(before[picture], abs=1e-6) for picture in range(0, 100, 4))
    assert np.isnan(index.percentiles("some", np.array([0, 4]))).all()
    assert index.items_table().column("some")[0].as_py() is None


@pytest.mark.parametrize(
    ("beauty", "message"),
    [
        ({"width-look": 1}, r"width-look is not among the dimensions.*index compact"),
        ({"beauty": 1}, r"no scores of beauty; expected one of appeal, noise, width-look"),
        ({"appeal": float("nan")}, "beauty appeal:nan"),
        ({"": 1, "noise": 1}, "two beauty weights for noise"),
    ],
)
def test_weights_that_cannot_be_searched_with_are_refused(flat, texts, beauty, message):
    with pytest.raises(BeholderError, match=message):
        load_index(flat).search(texts[:1], 3, beauty=beauty)


def test_without_a_default_a_bare_weight_is_refused_with_the_list(scored, texts, tmp_path):
    build_index(scored[0], tmp_path / "i", IndexConfig("Flat", scorers=NAMES), text_vectors=texts)
    with pytest.raises(BeholderError, match=r"no default scorer.*\(appeal, noise\); Example: --beauty appeal:1"):
        load_index(tmp_path / "i").search(texts[:1], 3, beauty={"": 1})


def test_without_text_queries_beauty_is_refused_until_tuned_on_some(scored, texts, tmp_path):
    build_index(scored[0], tmp_path / "i", IndexConfig("IVF20,Flat", scorers=NAMES))
    index = load_index(tmp_path / "i")
    assert index.manifest.spread is None
    with pytest.raises(BeholderError, match=r"how far relevance spreads.*index tune"):
        index.search(texts[:1], 3, beauty={"appeal": 1})
    index.search(texts[:1], 3, beauty={"appeal": 0})
    manifest = tune_index(tmp_path / "i", text_vectors=texts)
    assert manifest.spread["kind"] == "generic"
    assert sorted(manifest.in_index[0].steps) == sorted(STEPS)
    assert len(load_index(tmp_path / "i").search(texts[:1], 3, beauty={"appeal": 1}).ids) == 1


def test_spread_comes_from_text_queries_and_not_from_other_vectors(scored, texts, vectors, tmp_path):
    config = IndexConfig("Flat", scorers=NAMES)
    others = vectors(40, WIDTH, seed=77)
    one = build_index(scored[0], tmp_path / "1", config, query_vectors=others, text_vectors=texts)
    two = build_index(scored[0], tmp_path / "2", config, query_vectors=texts, query_kind="text", text_vectors=others)
    assert one.spread == {**two.spread, "kind": "generic"}
    assert two.spread["kind"] == "text"


def test_a_scorer_without_scores_is_refused_with_the_remedy(scored, tmp_path):
    with pytest.raises(BeholderError, match=r"no scores of sharpness.*beholder score .* --scorer sharpness"):
        build_index(scored[0], tmp_path / "i", IndexConfig(scorers=("sharpness",)))
    with pytest.raises(BeholderError, match="default_scorer 'x'"):
        IndexConfig(scorers=("appeal",), default_scorer="x")


def test_new_scores_of_the_same_pictures_build_the_index_again(tmp_path, vectors, embeddings, bytes_of):
    folder, texts = embeddings(tmp_path / "e", vectors(200, 8)), vectors(50, 8, seed=3)
    score(folder, "s", np.arange(200.0))
    config = IndexConfig("Flat", scorers=("s",))
    build_index(folder, tmp_path / "i", config, text_vectors=texts)
    before = bytes_of(tmp_path / "i")
    build_index(folder, tmp_path / "i", config, text_vectors=texts)
    build_index(folder, tmp_path / "j", config, text_vectors=texts)
    ours = {name: digest for name, digest in bytes_of(tmp_path / "j").items() if name != "manifest.json"}
    assert bytes_of(tmp_path / "i") == before
    assert ours.items() <= before.items()
    score(folder, "s", -np.arange(200.0))
    build_index(folder, tmp_path / "i", config, text_vectors=texts)
    found = load_index(tmp_path / "i").search(texts[:1], 1, beauty={"s": 1e6})
    assert found.ids[0, 0] == 0
    assert len(list((tmp_path / "i/scores").iterdir())) == 1
    verify_index(tmp_path / "i")


@pytest.mark.parametrize("name", ["beauty.arrow", "appeal-*.parquet"])
def test_damaged_scores_are_found(scored, texts, tmp_path, name):
    build_index(scored[0], tmp_path / "i", IndexConfig("Flat", scorers=NAMES), text_vectors=texts)
    files = verify_index(tmp_path / "i")
    assert files == 4 + 3
    path = next((tmp_path / "i").rglob(name))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError):
        load_index(tmp_path / "i")
    path.write_bytes(bytes([content[0]]) + bytes(len(content) - 1))
    with pytest.raises(FormatError):
        verify_index(tmp_path / "i")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["scores"].reverse(),
        lambda content: content["scores"][0].update(name="noise"),
        lambda content: content["scores"][0].update(default=True),
        lambda content: content["scores"][0]["file"].update(path="../../x"),
        lambda content: content["scores"][0]["percentiles"].update(values=[1, 0]),
        lambda content: content["scores"][0].pop("card"),
        lambda content: content["segments"][0].update(beauty=None),
        lambda content: content.update(spread={"value": float("nan")}),
        lambda content: content["scores"][0].update(steps={"x": 1}),
    ],
)
def test_a_manifest_whose_scores_do_not_fit_is_refused(flat, tmp_path, change):
    import shutil

    shutil.copytree(flat, tmp_path / "i")
    content = json.loads((tmp_path / "i/manifest.json").read_bytes())
    change(content)
    (tmp_path / "i/manifest.json").write_text(json.dumps(content))
    with pytest.raises(FormatError):
        load_index(tmp_path / "i")


def test_an_index_of_format_2_is_read(tmp_path, vectors, embeddings):
    build_index(embeddings(tmp_path / "e", vectors(60, 8)), tmp_path / "i")
    wanted = load_index(tmp_path / "i").search(vectors(3, 8, seed=1), 5)
    content = json.loads((tmp_path / "i/manifest.json").read_bytes())
    for name in ("scores", "spread", "calibration"):
        content.pop(name)
    for name in ("scorers", "default_scorer", "scores"):
        content["settings"].pop(name)
    content["format"] = 2
    for segment in content["segments"]:
        segment.pop("beauty")
    (tmp_path / "i/manifest.json").write_text(json.dumps(content))
    index = load_index(tmp_path / "i")
    np.testing.assert_array_equal(index.search(vectors(3, 8, seed=1), 5).ids, wanted.ids)
    assert (index.scorers, index.manifest.spread, index.manifest.calibration) == ((), None, None)
