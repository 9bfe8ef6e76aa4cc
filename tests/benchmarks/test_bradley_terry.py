"""Bradley-Terry strengths are those of maximum likelihood, and finite where the maximum is not."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measures.bradley_terry import bradley_terry
from benchmarks.measures.correlation import spearman
from benchmarks.tables.judgements import read_tsv
from indexes.errors import BeholderError


def test_three_wins_to_one_are_log_odds_of_three() -> None:
    strengths = bradley_terry(np.array([[0, 1]]), np.array([[3.0, 1.0]]), 2, prior=1e-9)
    assert strengths[0] - strengths[1] == pytest.approx(np.log(3))


def test_the_gradient_of_the_likelihood_is_nought() -> None:
    generator = np.random.default_rng(0)
    pairs = np.array([(i, j) for i in range(8) for j in range(i)])
    wins = generator.integers(0, 5, (len(pairs), 2)).astype(float)
    strengths = bradley_terry(pairs, wins, 8, prior=1.0)
    expected = 1 / (1 + np.exp(strengths[pairs[:, 1]] - strengths[pairs[:, 0]]))
    surplus = wins[:, 0] - wins.sum(axis=1) * expected  # of the first of each pair
    gradient = np.bincount(pairs[:, 0], surplus, 8) - np.bincount(pairs[:, 1], surplus, 8)
    gradient += 0.5 - 1 / (1 + np.exp(-strengths))  # half of one comparison with the stranger won
    assert gradient == pytest.approx(np.zeros(8), abs=1e-6)


def test_known_strengths_come_back_from_many_choices() -> None:
    generator = np.random.default_rng(0)
    truth = generator.standard_normal(20)
    pairs = np.array([(i, j) for i in range(20) for j in range(i)])
    chance = 1 / (1 + np.exp(truth[pairs[:, 1]] - truth[pairs[:, 0]]))
    won = generator.binomial(2000, chance)
    strengths = bradley_terry(pairs, np.stack([won, 2000 - won], axis=1).astype(float), 20)
    assert strengths - strengths.mean() == pytest.approx(truth - truth.mean(), abs=0.1)


def test_the_order_of_rows_and_of_the_two_changes_nothing() -> None:
    pairs, wins = np.array([[0, 1], [1, 2], [2, 0]]), np.array([[2.0, 1.0], [3.0, 0.0], [1.0, 1.0]])
    forward = bradley_terry(pairs, wins, 3)
    assert bradley_terry(pairs[::-1, ::-1], wins[::-1, ::-1], 3) == pytest.approx(forward, abs=1e-6)


def test_a_picture_that_won_everything_is_finite_and_a_prior_of_nought_is_refused() -> None:
    pairs, wins = np.array([[0, 1]]), np.array([[5.0, 0.0]])
    strengths = bradley_terry(pairs, wins, 2)
    assert np.isfinite(strengths).all()
    assert strengths[0] > 0 > strengths[1]
    with pytest.raises(BeholderError, match="prior 0"):
        bradley_terry(pairs, wins, 2, prior=0)


def test_pictures_that_no_choice_links_are_comparable_through_the_stranger() -> None:
    strengths = bradley_terry(np.array([[0, 1], [2, 3]]), np.array([[9.0, 1.0], [9.0, 1.0]]), 4)
    assert strengths[[0, 1]] == pytest.approx(strengths[[2, 3]])


@pytest.mark.parametrize(
    ("pairs", "wins"), [(np.empty((0, 2), int), np.empty((0, 2))), ([[0, 1]], [[0, 0]]), ([[1, 1]], [[1, 0]])]
)
def test_no_choices_and_a_picture_against_itself_are_refused(pairs: object, wins: object) -> None:
    with pytest.raises(BeholderError):
        bradley_terry(np.asarray(pairs), np.asarray(wins, float), 2)


@pytest.mark.skipif("BEHOLDER_DATA" not in os.environ, reason="BEHOLDER_DATA is not set")
def test_the_order_of_a_hundred_web_pages_is_that_of_the_sources_own_fit() -> None:
    folder = Path(os.environ["BEHOLDER_DATA"]) / "website_pairs"
    pages = read_tsv(folder / "items.tsv", ["file", "bradley_terry_score"])
    places = {page["file"]: place for place, page in enumerate(pages)}
    rows = read_tsv(folder / "pairs.tsv", ["file_1", "file_2", "wins_1", "wins_2"])
    pairs = np.array([(places[row["file_1"]], places[row["file_2"]]) for row in rows])
    wins = np.array([(float(row["wins_1"]), float(row["wins_2"])) for row in rows])
    source = np.array([float(page["bradley_terry_score"]) for page in pages])
    assert spearman(bradley_terry(pairs, wins, len(pages)), source) > 0.9999
