"""The ways of the experiment beauty: lists like the cascade's, ends of each sweep, what is chosen on dev."""

import numpy as np
import pytest

from benchmarks.quality.pareto import PERCENTILE
from benchmarks.tables.judgements import Judgements, Query
from indexes.errors import BeholderError
from indexes.records.percentiles import percentiles
from rl.experiments.beauty import BeautyConfig
from rl.experiments.beauty_numbers import Swept, chosen_numbers, direction_of_beauty
from rl.experiments.beauty_sides import BASE, HIT, best_inside, curves, means, untrained
from rl.experiments.flickr import Gallery
from rl.experiments.grid_lists import Grid, grid_lists

NAMES = tuple(f"{number:064x}" for number in range(40))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def gallery() -> Gallery:
    generator = np.random.default_rng(0)
    queries = tuple(Query((f"caption {number}",), (number % 40,), "caption") for number in range(60))
    files = tuple(f"{number}.jpg" for number in range(40))
    vectors = unit(generator.normal(size=(40, 8)))
    scores = {"colourfulness": vectors[:, 0].astype(float), "saturation": generator.normal(size=40)}
    return Gallery(files, NAMES, vectors, scores, Judgements(files, queries))


def test_lists_are_strided_grids_of_the_nearest(gallery: Gallery) -> None:
    queries = unit(np.random.default_rng(1).normal(size=(3, 8)))
    beauty = gallery.scores["colourfulness"]
    lists = list(grid_lists(["a", "b", "c"], queries, gallery.vectors, NAMES, beauty, Grid(2, 3, 4, mix=0.0)))
    assert [one.query for one in lists] == ["a", "b", "c"]
    nearest = np.argsort(-(queries[0] @ gallery.vectors.T))
    picked = nearest[[0, 4, 8, 12, 16, 20]]  # without a share of beauty the order is the retriever's own
    rows = [sorted(row, key=lambda place: -beauty[place]) for row in (picked[:3], picked[3:])]
    assert lists[0].pictures == tuple(NAMES[place] for row in rows for place in row)
    assert len(lists[0].better) == 2 * 3 + 3 * 1  # u C(v, 2) + v C(u, 2)


def test_a_copy_is_taken_once_and_a_small_gallery_refused(gallery: Gallery) -> None:
    copies = (NAMES[0],) * 20 + NAMES[20:]
    beauty, query = gallery.scores["colourfulness"], gallery.vectors[:1]
    (one,) = grid_lists(["a"], query, gallery.vectors, copies, beauty, Grid(1, 21, 1))
    assert len(set(one.pictures)) == 21
    with pytest.raises(BeholderError, match="21 pictures"):
        list(grid_lists(["a"], query, gallery.vectors, copies, beauty, Grid(1, 22, 1)))


def test_sweeps_start_at_the_base_and_end_at_beauty_alone(gallery: Gallery) -> None:
    shares = gallery.shares([("colourfulness", 1.0)])
    queries = unit(np.random.default_rng(2).normal(size=(60, 8)))
    direction = np.eye(8)[0]
    found = means({one.name: point for one, point in untrained(gallery, queries, shares, 0.3, direction)})
    best = 100 * float(np.sort(shares)[-10:].mean())
    assert found["rank-mix, K = 100, share 1"][PERCENTILE] == pytest.approx(best)  # K holds all 40
    assert found[BASE][PERCENTILE] < found["sum, b = 1"][PERCENTILE] < found["sum, b = 4"][PERCENTILE] <= best
    assert found["constant shift, lam = 0.02"][PERCENTILE] < found["constant shift, lam = 0.8"][PERCENTILE]


def test_the_direction_finds_a_beauty_that_is_linear(gallery: Gallery) -> None:
    direction = direction_of_beauty(gallery, gallery, [("colourfulness", 1.0)])
    assert np.argmax(np.abs(direction)) == 0
    assert np.linalg.norm(direction) == pytest.approx(1.0)


def test_a_blend_of_one_is_its_own_percentile_and_of_two_lies_between(gallery: Gallery) -> None:
    alone = gallery.shares([("saturation", 1.0)])
    np.testing.assert_allclose(alone, percentiles(gallery.scores["saturation"]))
    both = gallery.shares([("saturation", 0.5), ("colourfulness", 0.5)])
    assert np.corrcoef(both, alone)[0, 1] > 0.4


def test_the_strongest_setting_inside_the_budget_is_chosen() -> None:
    def point(percentile: float, hit: float) -> dict[str, float]:
        return {PERCENTILE: percentile, HIT: hit}

    points = {BASE: point(50, 80), "a1": point(60, 79.5), "a2": point(70, 79), "a3": point(90, 70), "b1": point(99, 60)}
    ways = {BASE: [BASE], "a": ["a1", "a2", "a3"], "b": ["b1"]}
    assert best_inside(points, ways, 1.0) == {BASE: BASE, "a": "a2"}


def test_a_tuned_tower_that_is_a_constant_shift_is_explained_by_one_vector(gallery: Gallery) -> None:
    generator = np.random.default_rng(3)
    queries = unit(generator.normal(size=(60, 8)))
    point = {name: generator.uniform(size=60) for name in (PERCENTILE, HIT, "hit_rate@1")}
    shift = Swept(gallery, queries, {BASE: point, "text, alpha = 1": point})
    shift.moved["text, alpha = 1"] = [unit(queries + 0.3 * np.eye(8)[0])]
    chosen = {BASE: BASE, "text": "text, alpha = 1"}
    numbers = chosen_numbers(shift, chosen, "saturation")
    (explained,) = (one for name, one in numbers.items() if "one shared vector" in name)
    assert explained.value > 0.99
    shift.moved["text, alpha = 1"] = [unit(queries + 0.3 * generator.normal(size=(60, 8)))]
    numbers = chosen_numbers(shift, chosen, "saturation")
    (explained,) = (one for name, one in numbers.items() if "one shared vector" in name)
    assert explained.value < 0.2


def test_curves_start_at_the_base_and_end_at_the_most() -> None:
    def point(hit: float, percentile: float) -> dict[str, float]:
        return {HIT: hit, PERCENTILE: percentile}

    points = {
        BASE: point(80, 50),
        "rank-mix, K = 20, share 0.1": point(79, 55),
        "rank-mix, K = 20, share 1": point(60, 90),
    }
    points |= {"text, alpha = 1": point(79, 60), "text, shuffled lists, alpha = 1": point(78, 50)}
    mix, text = curves(points)
    assert (mix.name, mix.points) == ("rank-mix, K = 20", ((80, 50, ""), (79, 55, "0.1"), (60, 90, "1")))
    assert (text.name, text.points) == ("text", ((80, 50, ""), (79, 60, "1")))


def test_the_held_out_scorer_may_not_teach() -> None:
    from pathlib import Path

    with pytest.raises(BeholderError, match="saturation held out of saturation"):
        BeautyConfig(Path("run"), teacher="saturation", held_out="saturation")
