"""Agreement with people's choices: against counting by hand and against the measures of benchmarks."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.measures.correlation import choice_agreement, pair_accuracy
from indexes.errors import ConditionFailed
from rl.experiments.people import PeopleConfig, chosen_alpha
from rl.experiments.people_choices import agreement, agreement_number, chosen_by_scores, chosen_by_votes, right_of
from rl.experiments.people_data import DEV, TRAINED, UNSEEN, fold_of


def test_pairs_of_mean_scores_by_hand() -> None:
    chosen = chosen_by_scores(np.array([3.0, 1.0, 2.0, 1.0]))  # 5 pairs: the two pages of 1.0 are tied
    right = right_of(np.array([0.9, 0.5, 0.1, 0.5]))  # wrong: page 2 below both pages of 1.0
    assert chosen.sum() == 5
    assert agreement(right, chosen, np.ones(4)) == 3 / 5


def test_one_list_of_scores_is_pair_accuracy_and_choice_agreement() -> None:
    generator = np.random.default_rng(0)
    scores, truth = generator.normal(size=12), generator.integers(0, 5, 12).astype(float)
    ours = agreement(right_of(scores), chosen_by_scores(truth), np.ones(12))
    assert ours == pytest.approx(pair_accuracy(scores, truth))
    pairs = np.array([[i, j] for i in range(12) for j in range(i)])
    wins = generator.integers(0, 3, (len(pairs), 2)).astype(float)
    weights = generator.integers(0, 3, 12).astype(float)
    votes = agreement(right_of(scores), chosen_by_votes(pairs, wins, 12), weights)
    assert votes == pytest.approx(choice_agreement(scores, pairs, wins, weights))


def test_several_lists_count_by_their_mean_and_equal_scores_half() -> None:
    chosen = chosen_by_scores(np.array([2.0, 1.0]))
    right = right_of(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]))
    assert agreement(right, chosen, np.ones(2)) == (1 + 0 + 0.5 + 1) / 4


def test_the_gain_over_itself_is_nothing_and_chance_is_said_of_levels_only() -> None:
    right, chosen = right_of(np.arange(6.0)), chosen_by_scores(np.arange(6.0) % 4)
    gain = agreement_number(right, chosen, seed=0, less=right)
    assert (gain.value, gain.low, gain.high, gain.chance) == (0, 0, 0, None)
    assert agreement_number(right, chosen, seed=0).chance == 0.5


def test_folds_follow_the_hash_alone_and_leave_each_page_out_once() -> None:
    names = [f"{number:064x}" for number in (5, 3, 9, 1, 7)]
    fold = fold_of(names, 2)
    assert fold.tolist() == [0, 1, 0, 0, 1]  # 1 3 5 7 9 take turns
    assert fold_of(names[::-1], 2).tolist() == fold.tolist()[::-1]


def test_no_phrasing_is_in_two_groups() -> None:
    assert len({*TRAINED, *UNSEEN, *DEV}) == len(TRAINED) + len(UNSEEN) + len(DEV)


def fold(accuracies: list[float], kept: list[float]) -> dict[str, object]:
    rows = [
        {"alpha": alpha, "pair_accuracy": accuracy, "hit_rate@10": rate}
        for alpha, accuracy, rate in zip((0.25, 0.5, 0.75, 1.0), accuracies, kept, strict=True)
    ]
    return {"base": {"pair_accuracy": 50.0, "hit_rate@10": 80.0}, "sweep": rows}


def test_alpha_is_the_best_mean_over_folds_inside_the_budget() -> None:
    folds = [fold([60, 66, 70, 72], [80, 79.5, 79, 77]), fold([61, 64, 69, 75], [80, 79.5, 79, 79])]
    chosen = chosen_alpha(folds, 1.0)  # alpha 1 loses 2 points, three quarters exactly 1
    assert chosen == {"alpha": 0.75, "pair_accuracy": 69.5, "lost": 1.0, "base": 50.0}
    with pytest.raises(ConditionFailed, match="every alpha loses more"):
        chosen_alpha(folds, -1.0)


def test_a_run_without_seeds_is_refused() -> None:
    with pytest.raises(Exception, match="0 seeds"):
        PeopleConfig(Path("run"), seeds=())
