"""What answers are worth: options read or abstained from, balanced accuracy, order consistency, emotions, the published
overall of AesBench."""

import numpy as np
import pytest

from benchmarks.critique.scores import (
    ABSENT,
    UNREAD,
    aesbench_overall,
    balanced_accuracy,
    by_gap,
    emotion_agreement,
    judged,
    option_said,
    read_options,
    truth_of_claims,
)
from indexes.errors import BeholderError

LEVELS = {"A": "High", "B": "Medium", "C": "Low"}


@pytest.mark.parametrize(
    "text",
    [
        "A. High\nB. Medium\nC. Low",
        "A) High B) Medium C) Low",
        "(A) High; (B) Medium; (C) Low.",
        "A: High\nB: Medium\nC: Low",
    ],
)
def test_options_are_read_in_every_way_they_are_written(text: str) -> None:
    assert read_options(text) == LEVELS


@pytest.mark.parametrize("text", ["", "High, medium or low", "B. Medium\nA. High", "A. Only one"])
def test_what_is_no_list_of_options_is_refused(text: str) -> None:
    with pytest.raises(BeholderError):
        read_options(text)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("B) Medium", "B"),
        ("The answer is C.", "C"),
        ("Option A", "A"),
        ("Answer: B", "B"),
        ("medium", "B"),
        ("I find the aesthetic quality low.", "C"),
        ("A dark picture", None),
        ("A high-key picture", "A"),
        ("A. Low", None),  # contradicts itself
        ("High or medium", None),
        ("(A) or (B)", None),
        ("D", None),
        ("", None),
        ("I cannot say.", None),
        ("The highlights are lovely", None),
    ],
)
def test_an_answer_chooses_an_option_or_abstains(answer: str, letter: str | None) -> None:
    assert option_said(answer, LEVELS) == letter


def test_the_longer_option_is_not_the_shorter_one() -> None:
    options = {"A": "Sharp", "B": "Not sharp", "C": "Very sharp"}
    assert option_said("It is not sharp.", options) == "B"
    assert option_said("sharp", options) == "A"


@pytest.mark.parametrize(
    ("row", "overall"),
    [  # figure 3 of arXiv 2404.09624
        ((79.54, 84.89, 59.57, 1.340), 89.50),
        ((77.64, 82.68, 56.32, 1.336), 87.56),
        ((78.57, 84.04, 53.25, 1.317), 86.89),
        ((72.08, 70.16, 50.86, 1.301), 80.80),
    ],
)
def test_the_overall_is_the_published_one(row: tuple[float, float, float, float], overall: float) -> None:
    assert aesbench_overall(row[0] / 100, row[1] / 100, row[2] / 100, row[3]) == pytest.approx(overall, abs=0.01)


def test_balanced_accuracy_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, ABSENT])
    said = np.array([0, 0, 0, 1, 1, UNREAD, 2, 2])
    assert balanced_accuracy(said, truth, 3) == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert balanced_accuracy(np.zeros_like(truth), truth, 3) == pytest.approx(1 / 3)  # always the same: chance
    assert np.isnan(balanced_accuracy(said[-1:], truth[-1:], 3))


def test_truth_of_claims_has_chance_coverage_and_an_interval() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, (600, 2))
    truth[:50, 1] = ABSENT
    perfect = truth_of_claims(truth.copy(), truth, ["a", "b"])
    assert (perfect.overall.mean, perfect.coverage) == (1.0, 1.0)
    guessed = truth_of_claims(generator.integers(0, 3, truth.shape), truth, ["a", "b"])
    assert guessed.overall.low is not None
    assert guessed.overall.high is not None
    assert guessed.overall.low < 1 / 3 < guessed.overall.high
    half = truth.copy()
    half[::2] = UNREAD
    silent = truth_of_claims(half, truth, ["a", "b"])
    assert silent.coverage == pytest.approx(0.5, abs=0.01)
    assert silent.overall.mean == pytest.approx(0.5, abs=0.03)
    with pytest.raises(BeholderError):
        truth_of_claims(truth, np.full_like(truth, ABSENT), ["a", "b"])


def test_a_judge_that_always_says_first_is_half_right_and_never_consistent() -> None:
    found = [judged("the first", "the first", ("first", "second")[n % 2], n / 10) for n in range(10)]
    assert np.mean([one.right for one in found]) == 0.5
    assert not any(one.consistent for one in found)


def test_consistency_is_naming_the_same_picture() -> None:
    assert judged("first", "second", "first", 0.1).consistent
    assert judged("second", "first", "first", 0.1).consistent  # both wrong, and consistent
    assert judged("second", "first", "first", 0.1).right == 0
    assert not judged("neither", "second", "first", 0.1).consistent
    assert not judged(None, None, "first", 0.1).consistent
    assert judged(None, "second", "first", 0.1).right == 0.5


def test_accuracy_by_quarter_of_the_gap() -> None:
    found = [judged("first", "second" if n >= 4 else "first", "first", float(n)) for n in range(8)]
    assert by_gap(found) == [(0.0, 1.0, 0.5), (2.0, 3.0, 0.5), (4.0, 5.0, 1.0), (6.0, 7.0, 1.0)]
    assert by_gap(found[:3]) == []


def test_emotions_agree_with_the_most_and_with_the_share() -> None:
    people = [["awe", "awe", "fear"], ["fear", "awe"], ["sadness"]]
    majority, share = emotion_agreement(["awe", "fear", None], people)
    assert majority == [1, 1, 0]
    assert share == pytest.approx([2 / 3, 1 / 2, 0])
