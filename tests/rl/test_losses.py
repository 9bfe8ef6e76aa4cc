"""The contrastive loss is the paper's formula, entry by entry, and a hand-computed number."""

import math

import pytest
import torch

from rl.losses import contrastive_loss, smoothed_targets


def slow_loss(images: torch.Tensor, texts: torch.Tensor, scale: float, keys: list[int], smoothing: float) -> float:
    """Loops over rows and columns, with softmax written out."""
    size = len(keys)
    total = 0.0
    for ours, theirs in ((images, texts), (texts, images)):
        for i in range(size):
            logits = [scale * float(ours[i] @ theirs[j]) for j in range(size)]
            log_sum = math.log(sum(math.exp(logit) for logit in logits))
            partners = [j for j in range(size) if keys[j] == keys[i]]
            for j in range(size):
                target = smoothing / size + ((1 - smoothing) / len(partners) if j in partners else 0)
                total -= target * (logits[j] - log_sum)
    return total / size / 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("keys", [[0, 1, 2, 3, 4], [0, 1, 0, 2, 1]])
def test_the_loss_is_the_slow_formula(keys: list[int], smoothing: float) -> None:
    generator = torch.Generator().manual_seed(1)
    images, texts = torch.nn.functional.normalize(torch.randn(2, 5, 7, generator=generator), dim=-1)
    fast = contrastive_loss(images, texts, 12.0, torch.tensor(keys), smoothing)
    assert float(fast) == pytest.approx(slow_loss(images, texts, 12.0, keys, smoothing), rel=1e-5)


def test_two_orthogonal_pairs_give_the_number_of_a_hand_calculation() -> None:
    # Logits [[1, 0], [0, 1]]: own column -log(e / (e + 1)) = 0.313262, other column 1.313262.
    # Smoothing .2 puts .9 and .1 on them: .9 * .313262 + .1 * 1.313262 = 0.413262.
    assert float(contrastive_loss(torch.eye(2), torch.eye(2), 1.0, smoothing=0.2)) == pytest.approx(0.413262, abs=1e-6)


def test_targets_are_distributions_and_shared_by_equal_keys() -> None:
    targets = smoothed_targets(torch.tensor([3, 5, 3]), 0.3)
    assert targets.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert targets[0].tolist() == pytest.approx([0.45, 0.1, 0.45])


def test_the_order_of_the_pairs_does_not_matter() -> None:
    images, texts = torch.nn.functional.normalize(
        torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(2)), dim=-1
    )
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    keys = torch.tensor([0, 1, 1, 2, 3, 3])
    shuffled = contrastive_loss(images[order], texts[order], 5.0, keys[order], 0.1)
    assert float(shuffled) == pytest.approx(float(contrastive_loss(images, texts, 5.0, keys, 0.1)), rel=1e-6)
