"""Stage 2 of pre-training in steps: epochs of the sources' shares, then epochs of whole sources."""

from .batches import steps_per_epoch
from .config import PretrainConfig


class Epochs:
    """`first` steps of shares, of `steps` in all; `shown` pictures in an epoch of shares, `pictures` in a whole one."""

    def __init__(self, config: PretrainConfig, shown: int, pictures: int) -> None:
        self._share, self._whole = (steps_per_epoch(count, config.tune_batch) for count in (shown, pictures))
        self._tune_epochs, self.count = config.tune_epochs, config.tune_epochs + config.whole_epochs
        self.first = config.tune_epochs * self._share
        self.steps = self.first + config.whole_epochs * self._whole

    def ended(self, done: int) -> int:
        """The epoch, from 1, that ends after so many steps; 0 where none does."""
        if done <= self.first:
            return 0 if done % self._share else done // self._share
        done -= self.first
        return 0 if done % self._whole else self._tune_epochs + done // self._whole
