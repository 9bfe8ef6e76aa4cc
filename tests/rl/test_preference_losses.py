"""Losses of preferences give the numbers of a hand calculation (method of the paper, temperature .05, beta .5), their
gradients and identities, and what a slow double loop gives."""

import itertools
import math

import pytest
import torch

from rl.losses import (
    anchor_loss,
    ipo,
    lipo_lambda,
    logit_anchor_loss,
    margins,
    mean_over_queries,
    plackett_luce,
    ranked_dpo,
)

POLICY = torch.tensor([[0.30, 0.28, 0.25, 0.20]], dtype=torch.float64) / 0.05
REFERENCE = torch.tensor([[0.27, 0.29, 0.26, 0.21]], dtype=torch.float64) / 0.05
ALL = torch.ones(4, 4, dtype=torch.bool).triu(1)[None]  # 1 > 2 > 3 > 4
BETA = 0.5


def only(i: int, j: int, size: int = 4) -> torch.Tensor:
    prefer = torch.zeros(1, size, size, dtype=torch.bool)
    prefer[0, i, j] = True
    return prefer


def chain(*places: int) -> torch.Tensor:
    return torch.tensor([[places]])


def test_margins_are_differences_of_log_ratios() -> None:
    """log pi_theta / log pi_ref as softmax policies over the list: the partition functions cancel."""
    ratios = POLICY.log_softmax(1) - REFERENCE.log_softmax(1)
    assert ratios[0].tolist() == pytest.approx([0.507838, -0.292162, -0.292162, -0.292162], abs=1e-6)
    expected = ratios[0, :, None] - ratios[0, None, :]
    torch.testing.assert_close(margins(POLICY, REFERENCE)[0].double(), expected, atol=1e-6, rtol=0)
    assert float(margins(POLICY, REFERENCE)[0, 0, 1]) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(
    ("smoothing", "value", "slope"), [(0.0, 0.513015, None), (0.1, 0.553015, -0.301312), (0.2, 0.593015, -0.201312)]
)
def test_ranked_dpo_of_one_pair(smoothing: float, value: float, slope: float | None) -> None:
    policy = POLICY.clone().requires_grad_()
    loss = ranked_dpo(policy, REFERENCE, only(0, 1), beta=BETA, smoothing=smoothing)
    assert loss.item() == pytest.approx(value, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    expected = -0.200656 if slope is None else BETA * slope
    assert gradient[0].tolist() == pytest.approx([expected, -expected, 0, 0], abs=1e-6)


def test_a_cosine_moves_by_the_slope_over_the_temperature() -> None:
    cosines = (POLICY * 0.05).requires_grad_()
    loss = ranked_dpo(cosines / 0.05, REFERENCE, only(0, 1), beta=BETA)
    (gradient,) = torch.autograd.grad(loss.sum(), cosines)
    assert float(gradient[0, 0]) == pytest.approx(-4.013123, abs=1e-5)


def test_all_six_pairs_are_averaged() -> None:
    assert float(ranked_dpo(POLICY, REFERENCE, ALL, beta=BETA)) == pytest.approx(0.603081, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_at_the_reference_the_loss_is_log_2_and_its_slope_is_known(smoothing: float) -> None:
    policy = REFERENCE.clone().requires_grad_()
    loss = ranked_dpo(policy, REFERENCE, only(0, 1), beta=BETA, smoothing=smoothing)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    assert float(gradient[0, 0]) == pytest.approx(-BETA * (0.5 - smoothing), abs=1e-6)


@pytest.mark.parametrize(("smoothing", "margin", "value"), [(0.1, 2.197225, 0.325083), (0.2, 1.386294, 0.500402)])
def test_smoothing_has_its_minimum_at_a_finite_margin(smoothing: float, margin: float, value: float) -> None:
    policy = torch.tensor([[margin / BETA, 0.0]], dtype=torch.float64).requires_grad_()
    loss = ranked_dpo(policy, torch.zeros(1, 2), only(0, 1, 2), beta=BETA, smoothing=smoothing)
    assert loss.item() == pytest.approx(value, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    assert float(gradient.abs().max()) == pytest.approx(0, abs=1e-6)


def test_turning_a_pair_round_changes_the_loss_by_its_margin() -> None:
    for smoothing, change in ((0.0, -0.4), (0.1, -0.8 * 0.4)):
        there = ranked_dpo(POLICY, REFERENCE, only(0, 1), beta=BETA, smoothing=smoothing)
        back = ranked_dpo(POLICY, REFERENCE, only(1, 0), beta=BETA, smoothing=smoothing)
        assert float(there - back) == pytest.approx(change, abs=1e-6)


def test_hinge() -> None:
    assert float(ranked_dpo(POLICY, REFERENCE, only(0, 1), beta=BETA, hinge=True)) == pytest.approx(0.6, abs=1e-6)
    assert float(ranked_dpo(POLICY, REFERENCE, only(0, 1), beta=2.0, hinge=True)) == 0
    assert float(ranked_dpo(REFERENCE, REFERENCE, ALL, beta=BETA, hinge=True)) == pytest.approx(1)


@pytest.mark.parametrize(("beta", "value", "slope"), [(0.5, 0.04, -0.4), (0.1, 17.64, -8.4)])
def test_ipo(beta: float, value: float, slope: float) -> None:
    policy = POLICY.clone().requires_grad_()
    loss = ipo(policy, REFERENCE, only(0, 1), beta=beta)
    assert loss.item() == pytest.approx(value, abs=1e-4)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    assert float(gradient[0, 0]) == pytest.approx(slope, abs=1e-5)
    assert float(ipo(REFERENCE, REFERENCE, ALL, beta=beta)) == pytest.approx(1 / (4 * beta**2), abs=1e-5)


@pytest.mark.parametrize(
    ("values", "value", "gradient"),
    [
        ((0.3, -0.1, -0.1, -0.1), 2.894018, (-0.667880, -0.444040, 0.055960, 1.055960)),
        ((0.2, 0.5, -0.1, 0.1), 2.980427, (-0.749719, -0.211530, -0.117112, 1.078361)),
        ((6.0, 5.6, 5.0, 4.0), 1.649637, None),
        ((0.7, 0.7, 0.7, 0.7), 3.178054, None),
    ],
)
def test_plackett_luce_of_a_whole_order(values, value, gradient) -> None:
    u = torch.tensor([values], dtype=torch.float64).requires_grad_()
    loss = plackett_luce(u, chain(0, 1, 2, 3))
    assert loss.item() == pytest.approx(value, abs=1e-5)
    (found,) = torch.autograd.grad(loss.sum(), u)
    assert float(found.sum()) == pytest.approx(0, abs=1e-6)
    if gradient:
        assert found[0].tolist() == pytest.approx(gradient, abs=1e-5)


def test_a_chain_of_two_is_a_pair_of_dpo_and_padding_is_nothing() -> None:
    u = BETA * (POLICY - REFERENCE)
    pair = float(ranked_dpo(POLICY, REFERENCE, only(0, 1), beta=BETA))
    assert float(plackett_luce(u, chain(0, 1))) == pytest.approx(pair, abs=1e-6)
    padded = torch.tensor([[[0, 1, -1], [2, -1, -1], [-1, -1, -1]]])
    moved = u.float().clone().requires_grad_()
    loss = plackett_luce(moved, padded)
    assert loss.item() == pytest.approx(pair, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), moved)
    assert gradient.isfinite().all()
    assert gradient[0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("levels", "value", "gradient"),
    [
        ((3.0, 2.0, 1.0, 0.0), 3.840929, (-1.794715, -0.157402, 0.876671, 1.075445)),
        ((1.0, 0.6, 0.3, 0.0), 0.538379, (-0.230388, -0.058217, 0.114119, 0.174486)),
    ],
)
def test_lipo_lambda(levels, value, gradient) -> None:
    u = torch.tensor([[0.2, 0.5, -0.1, 0.1]], dtype=torch.float64).requires_grad_()
    loss = lipo_lambda(u, torch.tensor([levels]), ALL)
    assert loss.item() == pytest.approx(value, abs=1e-5)
    (found,) = torch.autograd.grad(loss.sum(), u)
    assert found[0].tolist() == pytest.approx(gradient, abs=1e-5)


def test_a_shift_of_a_query_s_logits_changes_nothing() -> None:
    for shift in (-3.0, 7.0):
        torch.testing.assert_close(margins(POLICY + shift, REFERENCE), margins(POLICY, REFERENCE), atol=1e-5, rtol=0)


def test_batches_are_what_a_double_loop_gives() -> None:
    generator = torch.Generator().manual_seed(3)
    policy, reference = torch.randn(2, 5, 6, generator=generator)
    prefer = torch.rand(5, 6, 6, generator=generator) < 0.3
    prefer[2] = False
    found = ranked_dpo(policy, reference, prefer, beta=0.7, smoothing=0.15)
    for b in range(5):
        terms = []
        for i, j in itertools.product(range(6), repeat=2):
            if prefer[b, i, j]:
                h = float((policy[b, i] - policy[b, j]) - (reference[b, i] - reference[b, j]))
                win = 1 / (1 + math.exp(-0.7 * h))
                terms.append(-0.85 * math.log(win) - 0.15 * math.log(1 - win))
        assert float(found[b]) == pytest.approx(sum(terms) / len(terms) if terms else 0, abs=1e-5)


def test_micro_batches_add_up_to_one_batch_and_a_query_without_pairs_does_not_count() -> None:
    generator = torch.Generator().manual_seed(4)
    policy, reference = torch.randn(2, 5, 4, generator=generator)
    prefer = torch.rand(5, 4, 4, generator=generator) < 0.4
    prefer[1] = False
    whole = mean_over_queries(ranked_dpo(policy, reference, prefer, beta=BETA), prefer)
    parts = [
        mean_over_queries(ranked_dpo(policy[s], reference[s], prefer[s], beta=BETA), prefer[s], queries=4)
        for s in (slice(0, 2), slice(2, 5))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole), abs=1e-6)
    per_query = ranked_dpo(policy, reference, prefer, beta=BETA)
    assert float(whole) == pytest.approx(float(per_query[[0, 2, 3, 4]].mean()), abs=1e-6)


def test_half_precision_logits_do_not_overflow() -> None:
    policy = torch.tensor([[400.0, -400.0]], dtype=torch.bfloat16)
    loss = ranked_dpo(policy, torch.zeros(1, 2), only(1, 0, 2), beta=1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(800, rel=1e-2)


def test_the_logit_anchor_is_the_variance_over_pictures_of_what_has_changed() -> None:
    """By hand: a shift of all pictures is free (0); changes of 3 and -1 lie 2 from their mean (8 / 1): 4."""
    reference = torch.tensor([[1.0, 2.0], [0.5, 0.5]])
    assert logit_anchor_loss(reference + torch.tensor([[7.0, 7.0], [3.0, -1.0]]), reference).item() == 4


def test_with_the_logit_anchor_a_query_moves_along_what_tells_pictures_apart_for_their_spread() -> None:
    """Of a gain m.d and half the anchor the best d is C^-1 m, C the covariance of the pictures: the gradient is 0."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(50, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.3, 5.0])
    gain, start = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    best = start + torch.linalg.solve(torch.cov(pictures.T), gain)
    best.requires_grad_(True)
    anchor = logit_anchor_loss((best @ pictures.T)[None].double(), (start @ pictures.T)[None])
    (anchor / 2 - gain @ (best - start)).backward()
    torch.testing.assert_close(best.grad, torch.zeros(4, dtype=torch.float64), atol=1e-4, rtol=0)  # float32 inside


def test_the_anchor_is_two_less_twice_the_cosine() -> None:
    """Rows at cosine 1, 0 and .6: 0, 2 and .8, the mean 2.8 / 3."""
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    base = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert anchor_loss(vectors, base).item() == pytest.approx(2.8 / 3)
