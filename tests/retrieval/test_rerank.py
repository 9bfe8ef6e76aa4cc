"""Re-ranking: the formulas against slow oracles, ties, chains, and the specs that people type."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.search.candidates import Candidates
from retrieval.search.rerank import mmr, order_by, pairwise_scores, rank_mix
from retrieval.search.rerankers import load_reranker, rerank


def slow_percentile(values: Any, place: int) -> float:
    below = sum(value < values[place] for value in values)
    equal = sum(value == values[place] for value in values)
    return float((below + equal / 2) / len(values))


def slow_mmr(scores: Any, vectors: Any, share: float, count: int) -> list[int]:
    """Carbonell and Goldstein's loop, written out, with percentiles for both terms."""
    pairs = {pair: float(vectors[pair[0]] @ vectors[pair[1]]) for pair in combinations(range(len(scores)), 2)}
    values = list(pairs.values())
    near = {pair: slow_percentile(values, place) for place, pair in enumerate(pairs)}
    chosen: list[int] = []
    while len(chosen) < min(count, len(scores)):
        gains = {}
        for one in range(len(scores)):
            if one not in chosen:
                nearest = max((near[min(one, other), max(one, other)] for other in chosen), default=0.0)
                gains[one] = (1 - share) * slow_percentile(scores, one) - share * nearest
        chosen.append(max(gains, key=lambda one: (round(gains[one], 9), -one)))
    return chosen + [one for one in range(len(scores)) if one not in chosen]


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def candidates(count: int = 8, seed: int = 0, **more: Any) -> Candidates:
    generator = np.random.default_rng(seed)
    relevance = -np.sort(-generator.random(count)).astype(np.float32)
    vectors = unit(generator.standard_normal((count, 6)))
    percentiles = {"laion": generator.random(count), "sharpness": generator.random(count)}
    ids = np.arange(100, 100 + count)
    given = {"percentiles": percentiles, "vectors": lambda wanted: vectors[wanted - 100], **more}
    return Candidates("a harbour", ids, relevance, relevance, **given)


def test_rank_mix_by_hand() -> None:
    relevance, beauty = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 2.0, 4.0, 3.0])
    # percentiles: relevance 7/8 5/8 3/8 1/8, beauty 1/8 3/8 7/8 5/8
    np.testing.assert_allclose(rank_mix(relevance, beauty, 0.5), [0.5, 0.5, 0.625, 0.375])
    np.testing.assert_array_equal(order_by(rank_mix(relevance, beauty, 0.5)), [2, 0, 1, 3])  # the tie keeps its order


def test_rank_mix_is_relevance_at_0_beauty_at_1_and_blind_to_the_scale_of_either() -> None:
    generator = np.random.default_rng(1)
    relevance, beauty = generator.random(50), generator.random(50)
    np.testing.assert_array_equal(order_by(rank_mix(relevance, beauty, 0)), order_by(relevance))
    np.testing.assert_array_equal(order_by(rank_mix(relevance, beauty, 1)), order_by(beauty))
    np.testing.assert_array_equal(rank_mix(relevance, beauty, 0.3), rank_mix(relevance * 9 - 4, np.exp(beauty), 0.3))


def test_a_picture_without_a_score_stands_in_the_middle() -> None:
    mixed = rank_mix(np.array([0.3, 0.2, 0.1]), np.array([1.0, np.nan, 2.0]), 1.0)
    np.testing.assert_allclose(mixed, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(rank_mix(np.array([0.2, 0.1]), np.array([np.nan, np.nan]), 1.0), [0.5, 0.5])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_mmr_is_its_definition(share: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 6, 12) / 6  # with ties
    vectors = unit(generator.standard_normal((12, 4)))
    for count in (1, 5, 12, 20):
        assert mmr(scores, vectors, share, count).tolist() == slow_mmr(scores, vectors, share, count)


def test_mmr_moves_copies_behind_what_is_unlike() -> None:
    vectors = unit(np.array([[1, 0, 0.01], [1, 0, 0], [1, 0.01, 0], [0, 1, 0]]))
    assert mmr(np.array([0.9, 0.8, 0.7, 0.6]), vectors, 0.5, 4).tolist()[:2] == [0, 3]
    assert mmr(np.array([0.9, 0.8, 0.7, 0.6]), vectors, 0.0, 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_candidates_are_ranked_too(count: int) -> None:
    vectors = unit(np.ones((count, 3))) if count else np.empty((0, 3), np.float32)
    assert mmr(np.ones(count), vectors, 0.5, 10).tolist() == list(range(count))
    assert order_by(rank_mix(np.ones(count), np.ones(count), 0.5)).tolist() == list(range(count))


def test_verdicts_are_merged_by_their_mean_credit() -> None:
    verdicts = [(0, 1, 0.0), (0, 2, 0.5), (1, 2, 1.0)]
    np.testing.assert_allclose(pairwise_scores(4, verdicts), [0.25, 1.0, 0.25, 0.5])
    circle = [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 0.0)]
    assert order_by(pairwise_scores(3, circle)).tolist() == [0, 1, 2]


def test_re_rankers_chain_and_everything_moves_together() -> None:
    given = candidates()
    chain = [load_reranker("rank-mix:1@sharpness"), load_reranker("mmr:0.3")]
    found = rerank(chain, given, 5)
    for place, identity in enumerate(found.ids):
        assert found.relevance[place] == given.relevance[identity - 100]
        assert found.percentiles["laion"][place] == given.percentiles["laion"][identity - 100]
    first = chain[0].rerank(given, 5)
    np.testing.assert_array_equal(first.ids - 100, order_by(given.percentiles["sharpness"]))
    assert given.vectors is not None
    expected = first.ids[mmr(first.scores, given.vectors(first.ids), 0.3, 5)]
    np.testing.assert_array_equal(found.ids, expected)
    assert sorted(found.ids) == sorted(given.ids)
    assert (np.diff(found.scores) <= 0).all()
    assert rerank([], given, 5) is given


def test_rank_mix_takes_the_default_scorer_and_says_what_there_is() -> None:
    given = candidates(default_scorer="laion")
    np.testing.assert_array_equal(
        load_reranker("rank-mix").rerank(given, 5).ids, load_reranker("rank-mix:0.5@laion").rerank(given, 5).ids
    )
    with pytest.raises(BeholderError, match=r"names no scorer.*laion, sharpness"):
        load_reranker("rank-mix").rerank(candidates(), 5)
    with pytest.raises(BeholderError, match=r"no scores of look.*laion, sharpness"):
        load_reranker("rank-mix@look").rerank(given, 5)
    with pytest.raises(BeholderError, match="without vectors"):
        load_reranker("mmr").rerank(candidates(vectors=None), 5)


@pytest.mark.parametrize(
    "spec",
    ["", "best", "rank-mix:2", "rank-mix:x", "mmr:-1", "mmr:nan", "mmr@laion", "lmm", "lmm:", "lmm:m#1", "lmm:m#x"],
)
def test_specs_that_are_none_are_refused(spec: str) -> None:
    with pytest.raises(BeholderError):
        load_reranker(spec)
