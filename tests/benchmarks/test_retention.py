"""Protects the scores of both directions and the retention table: against hand-computed rankings."""

import numpy as np
import pytest

from benchmarks.quality.rankings import rank_exactly, rank_texts
from benchmarks.quality.retention import CHANGE, Scored, caption_scores, check_retention, label_scores, retention
from benchmarks.runs import Number, Run
from benchmarks.tables.judgements import Judgements, Query
from indexes.errors import BeholderError, ConditionFailed

JUDGED = Judgements(("a", "b"), tuple(Query((str(n),), (place,), "caption") for n, place in enumerate((0, 0, 1, 1))))
TEXTS = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]], np.float32)
PICTURES = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)


def test_both_directions_by_hand() -> None:
    forward = rank_exactly(JUDGED, TEXTS, PICTURES)
    found = caption_scores(forward.hits, JUDGED.relevant_counts(), forward.candidates)
    np.testing.assert_array_equal(found["median rank"].values, [1, 2, 1, 2])
    np.testing.assert_array_equal(found["hit_rate@1"].values, [1, 0, 1, 0])
    np.testing.assert_allclose(found["mAP"].values, [1, 0.5, 1, 0.5])
    assert found["hit_rate@1"].chance == 0.5
    back = rank_texts(JUDGED, TEXTS, PICTURES)
    # a ranks its captions 0 and 1 at 1 and 3 (1, .8, .6, 0), b its captions 2 and 3 at 1 and 3 too
    np.testing.assert_array_equal(back.hits, [[1, 0, 1, 0], [1, 0, 1, 0]])
    found = caption_scores(back.hits, np.array([2, 2]), back.candidates, "image to text: ")
    np.testing.assert_allclose(found["image to text: mAP"].values, (1 + 2 / 3) / 2)
    np.testing.assert_allclose(found["image to text: nDCG@10"].values, 1.5 / 1.630930, atol=1e-6)
    assert found["image to text: median rank"].number(0).value == 1


def test_cut_rankings_have_no_median_rank_and_no_map() -> None:
    found = caption_scores(np.array([[True], [False]]), np.array([1, 1]), 12)
    assert list(found) == ["hit_rate@1", "hit_rate@5", "hit_rate@10", "nDCG@10"]


def test_changes_are_paired_and_medians_are_of_ranks() -> None:
    rng = np.random.default_rng(0)
    base = {"hit_rate@10": Scored(rng.random(50)), "median rank": Scored(rng.integers(1, 99, 50) * 1.0, of_ranks=True)}
    after = {
        "hit_rate@10": Scored(base["hit_rate@10"].values - 0.02),
        "median rank": Scored(base["median rank"].values + 3, of_ranks=True),
    }
    numbers = retention(after, base, 0)
    assert numbers["change of hit_rate@10"].value == pytest.approx(-0.02)
    assert numbers["change of hit_rate@10"].high == pytest.approx(-0.02), "no spread is left of what is common"
    assert numbers["change of median rank"].value == 3
    assert numbers["change of median rank"].unit == ""
    with pytest.raises(BeholderError, match="the same on both sides"):
        retention({"hit_rate@10": after["hit_rate@10"]}, base, 0)


def run(**changes: float) -> Run:
    numbers = {CHANGE + name.replace("_at_", "@"): Number(value) for name, value in changes.items()}
    return Run("r", "c", {}, 0, {}, numbers)


def test_the_budget_is_held_on_one_measure_and_every_label_column() -> None:
    kept = run(hit_rate_at_1=-0.5, hit_rate_at_10=-0.01, mAP=-0.5)
    check_retention(kept, 1.0)
    with pytest.raises(ConditionFailed, match=r"hit_rate@10 lost 1.00 points; expected at most 0.9"):
        check_retention(kept, 0.9)
    labels = run(**{"mAP (style)": -0.001, "R-precision (style)": -0.5, "mAP (object)": -0.03})
    with pytest.raises(ConditionFailed, match=r"mAP \(object\) lost 3.00"):
        check_retention(labels, 1)
    check_retention(labels, 3)
    with pytest.raises(BeholderError, match="--compare"):
        check_retention(run(), 1)


def test_labels_by_hand() -> None:
    found = label_scores(np.array([[True, False, True]]), np.array([2]), 3, " (style)")
    assert found["mAP (style)"].values == pytest.approx(5 / 6)
    assert found["R-precision (style)"].values == pytest.approx(0.5)
    assert found["nDCG@10 (style)"].values == pytest.approx(1.5 / 1.630930, abs=1e-6)
