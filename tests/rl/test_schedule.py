"""Learning rates of a run: each cycle rises, peaks once at its height and falls, and the next begins where it ended."""

import pytest
import torch

from rl.pretraining.config import PretrainConfig
from rl.pretraining.epochs import Epochs
from rl.schedule import cycle, cycles


def test_a_cycle_by_hand() -> None:
    assert [round(cycle(step, 6, 0.34), 3) for step in range(6)] == [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]


def test_cycles_follow_each_other_at_their_heights() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = cycles(optimizer, [(6, 1.0), (4, 0.5)], 0.34)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    first, second = [2 * cycle(step, 6, 0.34) for step in range(6)], [cycle(step, 4, 0.34) for step in range(4)]
    assert rates == pytest.approx(first + second)


def test_epochs_of_shares_come_before_epochs_of_whole_sources() -> None:
    config = PretrainConfig(tune_epochs=2, whole_epochs=2, tune_batch=10)
    epochs = Epochs(config, shown=30, pictures=50)
    assert (epochs.first, epochs.steps, epochs.count) == (6, 16, 4)
    assert [done for done in range(1, 17) if epochs.ended(done)] == [3, 6, 11, 16]
    assert [epochs.ended(done) for done in (3, 6, 11, 16)] == [1, 2, 3, 4]
