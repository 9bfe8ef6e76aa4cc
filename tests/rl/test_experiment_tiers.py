"""Lists from a teacher's scores: places by tier, pairs that follow the teacher, doubles out, the same seed the same."""

import numpy as np
import pytest

from indexes.errors import BeholderError
from rl.experiments.tiers import Tiers, drawn_places, tiered_lists

SMALL = Tiers(taken=(2, 2, 1), ends=(4, 10), gap=2)


def test_each_tier_gives_its_number_of_places() -> None:
    places = drawn_places(SMALL, 30, np.random.default_rng(0))

    assert [(places < 4).sum(), ((places >= 4) & (places < 10)).sum(), (places >= 10).sum()] == [2, 2, 1]
    assert len(set(places.tolist())) == 5


def test_pairs_follow_the_teacher_and_lie_a_gap_apart() -> None:
    scores = np.random.default_rng(1).normal(size=(2, 40))
    sha256s = [f"{number:03}" for number in range(40)]

    for one in tiered_lists(["a", "b"], scores, sha256s, SMALL, draws=3, seed=0, provenance={}):
        row = scores[["a", "b"].index(one.query)]
        rank = {sha256s[place]: at for at, place in enumerate(np.argsort(-row))}
        for better, worse in zip(one.better, one.worse, strict=True):
            assert rank[one.pictures[worse]] - rank[one.pictures[better]] >= 2
        ranks = [rank[name] for name in one.pictures]
        apart = sum(other - mine >= 2 for mine in ranks for other in ranks)
        assert len(one.better) == apart  # every such pair is there


def test_the_same_file_twice_is_one_picture() -> None:
    sha256s = ["x"] * 20 + [f"{number:02}" for number in range(20)]
    found = next(tiered_lists(["a"], np.zeros((1, 40)), sha256s, SMALL, draws=1, seed=0, provenance={}))

    assert len(set(found.pictures)) == 5


def test_the_same_seed_gives_the_same_lists_and_another_seed_others() -> None:
    def made(seed: int) -> list[tuple[str, ...]]:
        scores, names = np.arange(40.0)[None], [f"{number:02}" for number in range(40)]
        return [one.pictures for one in tiered_lists(["a"], scores, names, SMALL, draws=4, seed=seed, provenance={})]

    assert made(0) == made(0) != made(1)
    assert len(set(made(0))) > 1


def test_too_small_a_gallery_and_tiers_that_hold_too_few_are_refused() -> None:
    with pytest.raises(BeholderError, match="8 pictures"):
        next(tiered_lists(["a"], np.zeros((1, 8)), list("abcdefgh"), SMALL, draws=1, seed=0, provenance={}))
    with pytest.raises(BeholderError, match="tiers"):
        Tiers(taken=(9, 1, 1), ends=(4, 10))
