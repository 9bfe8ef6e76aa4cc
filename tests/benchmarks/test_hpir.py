"""The HPIR metric says what method.md says: its literals, its invariants, and intervals that hold what they promise."""

import numpy as np
import pytest

from benchmarks.hpir import metric as hpir
from benchmarks.measures.correlation import bootstrap_pictures, choice_agreement
from benchmarks.measures.stats import bootstrap_mean
from indexes.errors import BeholderError

# c = .9, .6, .8, .55; the majority is A, B, A, B
COUNTS = np.array([[18, 2], [8, 12], [16, 4], [9, 11]])
CHOSEN = np.array([1.0, 1.0, 1.0, 0.0])  # right, wrong, right, right


@pytest.mark.parametrize(("rule", "expected"), [("one", 0.750000), ("confidence", 0.789474), ("net", 0.882353)])
def test_the_literal_of_four_items(rule: str, expected: float) -> None:
    assert hpir.confidence(COUNTS) == pytest.approx([0.9, 0.6, 0.8, 0.55])
    right = hpir.correct(CHOSEN, COUNTS)
    assert right.tolist() == [1, 0, 1, 1]
    assert hpir.agreement(right, hpir.weights(COUNTS, rule)) == pytest.approx(expected, abs=5e-7)


SCORES = np.array([0.31, 0.30, 0.29, 0.28, 0.27, 0.36, 0.28, 0.27, 0.26, 0.25])
ROWS = hpir.Groups.of([(np.arange(5), np.arange(5, 10))])


def test_the_literal_of_two_groups_the_mean_picks_a_and_the_maximum_b() -> None:
    assert hpir.group_scores(SCORES, ROWS, "mean")[0] == pytest.approx([0.290, 0.284])
    assert hpir.group_scores(SCORES, ROWS, "max")[0] == pytest.approx([0.31, 0.36])
    assert hpir.choices(hpir.group_scores(SCORES, ROWS, "mean")).tolist() == [1.0]
    assert hpir.choices(hpir.group_scores(SCORES, ROWS, "max")).tolist() == [0.0]


def test_reciprocal_ranks_share_the_places_of_equal_scores() -> None:
    # .36 is first; .28 is there twice (places 5 and 6), .27 too (7 and 8)
    a = (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5.5 + 1 / 7.5) / 5
    b = (1 / 1 + 1 / 5.5 + 1 / 7.5 + 1 / 9 + 1 / 10) / 5
    assert hpir.group_scores(SCORES, ROWS, "reciprocal-rank")[0] == pytest.approx([a, b])


def test_a_picture_of_both_groups_is_ranked_once() -> None:
    groups = hpir.Groups.of([(np.array([0, 1]), np.array([1, 2]))])
    scores = np.array([3.0, 2.0, 1.0])
    assert hpir.group_scores(scores, groups, "reciprocal-rank")[0] == pytest.approx(
        [(1 + 1 / 2) / 2, (1 / 2 + 1 / 3) / 2]
    )


def test_same_and_silence_are_no_votes_and_ties_have_no_majority() -> None:
    counts = hpir.tally([["a", "same", None, "a", "b"], ["a", "b", "same"], ["same", None], []])
    assert counts.tolist() == [[2, 1], [1, 1], [0, 0], [0, 0]]
    assert hpir.decided(counts).tolist() == [True, False, False, False]


def random_items(seed: int) -> tuple[hpir.Floats, hpir.Groups, hpir.Ints]:
    """80 items of groups of 1 to 4 of 50 pictures, and votes without ties."""
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(80):
        a, b = generator.integers(1, 5, 2)
        rows = generator.permutation(50)[: a + b]
        pairs.append((rows[:a], rows[a:]))
    counts = generator.integers(0, 6, (80, 2))
    counts[:, 0] += counts[:, 0] == counts[:, 1]
    return generator.standard_normal(50).round(1), hpir.Groups.of(pairs), counts


@pytest.mark.parametrize("group", hpir.GROUP_RULES)
@pytest.mark.parametrize("weight", hpir.WEIGHTS)
def test_swapped_groups_inverted_labels_oracle_and_plain_accuracy(group: str, weight: str) -> None:
    for seed in range(5):
        scores, groups, counts = random_items(seed)
        weights = hpir.weights(counts, weight)
        chosen = hpir.choices(hpir.group_scores(scores, groups, group))
        value = hpir.agreement(hpir.correct(chosen, counts), weights)
        swapped = hpir.choices(hpir.group_scores(scores, groups.swapped(), group))
        assert hpir.agreement(hpir.correct(swapped, counts[:, ::-1]), weights) == pytest.approx(value)
        assert hpir.agreement(hpir.correct(chosen, counts[:, ::-1]), weights) == pytest.approx(1 - value)
        oracle = hpir.choices(counts.astype(float))
        assert hpir.agreement(hpir.correct(oracle, counts), weights) == 1
        if weight == "one":
            by_hand = [
                0.5 if c == 0.5 else float((c == 1) == (a > b)) for c, (a, b) in zip(chosen, counts, strict=True)
            ]
            assert value == pytest.approx(np.mean(by_hand))


def test_random_models_agree_by_chance() -> None:
    _, _, counts = random_items(0)
    even = hpir.Groups.of([(np.array([2 * k % 50]), np.array([(2 * k + 1) % 50])) for k in range(80)])
    generator = np.random.default_rng(0)
    values = []
    for _ in range(2000):
        chosen = hpir.choices(hpir.group_scores(generator.random(50), even, "mean"))
        values.append(hpir.agreement(hpir.correct(chosen, counts), hpir.weights(counts)))
    assert np.mean(values) == pytest.approx(0.5, abs=5 * np.std(values) / np.sqrt(2000))


def test_a_model_that_scores_both_groups_alike_is_half_right() -> None:
    chosen = hpir.choices(hpir.group_scores(np.zeros(10), ROWS, "reciprocal-rank"))
    assert chosen.tolist() == [0.5]
    assert hpir.correct(chosen, np.array([[0, 3]])).tolist() == [0.5]


def test_single_votes_are_what_choice_agreement_counts() -> None:
    generator = np.random.default_rng(1)
    pairs = np.array([(i, j) for i in range(12) for j in range(i)])
    wins = generator.integers(0, 3, (len(pairs), 2))
    wins[0] = 1  # a tie counts here
    wins[:, 0] += wins.sum(axis=1) == 0
    scores = generator.standard_normal(12)
    groups = hpir.Groups.of([(np.array([i]), np.array([j])) for i, j in pairs])
    met = hpir.votes_met(hpir.choices(hpir.group_scores(scores, groups)), wins)
    assert np.average(met, weights=wins.sum(axis=1)) == pytest.approx(
        choice_agreement(scores, pairs, wins.astype(float))
    )


def test_one_item_a_query_makes_the_plain_bootstrap_over_queries() -> None:
    right = np.random.default_rng(0).integers(0, 2, 60).astype(float)
    values = hpir.unit_values(right, np.ones(60), [(query,) for query in range(60)])
    assert values == pytest.approx(right)
    assert hpir.interval(values, 60, seed=3).low == pytest.approx(bootstrap_mean(right, seed=3).low)


def test_numbers_of_units_average_to_the_agreement_whatever_the_items_share() -> None:
    for seed in range(5):
        scores, groups, counts = random_items(seed)
        right = hpir.correct(hpir.choices(hpir.group_scores(scores, groups)), counts)
        weights = hpir.weights(counts)
        flat = np.split(groups.rows, groups.starts[1:-1])
        members = [tuple({*a, *b}) for a, b in zip(flat[::2], flat[1::2], strict=True)]
        values = hpir.unit_values(right, weights, members)
        assert values.mean() == pytest.approx(hpir.agreement(right, weights))


def _web(generator: np.random.Generator, pictures: int) -> tuple[hpir.Floats, hpir.Floats]:
    """Scores of people and of a model that agrees with them on some 3 of 4 pairs."""
    truth = generator.standard_normal(pictures)
    return truth, truth + generator.standard_normal(pictures)


def _values(truth: hpir.Floats, scores: hpir.Floats) -> hpir.Floats:
    first, second = np.triu_indices(len(truth), 1)
    right = ((truth[first] - truth[second]) * (scores[first] - scores[second]) > 0).astype(float)
    return hpir.unit_values(right, np.ones(len(right)), list(zip(first.tolist(), second.tolist(), strict=True)))


def test_intervals_over_pictures_hold_the_true_agreement_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    # Pairs of a bivariate normal with correlation r agree with probability 1/2 + asin(r) / pi; here r = 1 / sqrt(2).
    expected = 0.75
    held = 0
    for seed in range(300):
        found = bootstrap_mean(_values(*_web(generator, 60)), seed=seed, resamples=400)
        held += not found.excludes(expected)
    assert (
        0.90 <= held / 300 <= 0.99
    )  # 95 % promised; +- 3 standard errors of 300 tries, and percentile bootstraps are short


def test_intervals_over_pictures_are_as_wide_as_those_of_resampled_pairs() -> None:
    truth, scores = _web(np.random.default_rng(1), 80)
    first, second = np.triu_indices(80, 1)
    pairs = np.stack([first, second], axis=1)
    wins = np.stack([truth[first] > truth[second], truth[first] < truth[second]], axis=1).astype(float)

    def resampled(rows: hpir.Ints) -> float:
        return choice_agreement(scores, pairs, wins, np.bincount(rows, minlength=80).astype(float))

    product = bootstrap_pictures(resampled, 80, seed=0, resamples=500)
    ours = hpir.interval(_values(truth, scores), len(pairs), seed=0)
    assert ours.mean == pytest.approx(product.mean)
    assert ours.high - ours.low == pytest.approx(product.high - product.low, rel=0.25)  # type: ignore[operator]


def test_an_interval_never_leaves_its_range_and_a_single_item_has_none() -> None:
    all_right = hpir.unit_values(np.ones(3), np.ones(3), [(0, 1), (1, 2), (0, 2)])
    assert hpir.interval(all_right, 3) == hpir.Interval(1.0, 1.0, 1.0, 3)
    nearly = hpir.unit_values(np.array([1.0] * 9 + [0.0]), np.ones(10), [(k, k + 1) for k in range(10)])
    found = hpir.interval(nearly, 10)
    assert found.high == 1.0
    single = hpir.interval(hpir.unit_values(np.ones(1), np.ones(1), [(0, 1)]), 1)
    assert (single.mean, single.low, single.high) == (1.0, None, None)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: hpir.agreement(np.empty(0), np.empty(0)),
        lambda: hpir.agreement(np.ones(2), np.zeros(2)),
        lambda: hpir.choices(np.array([[np.nan, 1.0]])),
        lambda: hpir.confidence(np.array([[0, 0]])),
        lambda: hpir.weights(COUNTS, "votes"),
        lambda: hpir.group_scores(SCORES, ROWS, "median"),
        lambda: hpir.Groups.of([]),
        lambda: hpir.Groups.of([(np.array([0]), np.empty(0, np.int64))]),
    ],
)
def test_what_makes_no_sense_is_one_line(mistake: object) -> None:
    with pytest.raises(BeholderError) as caught:
        mistake()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
