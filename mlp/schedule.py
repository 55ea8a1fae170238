"""The learning rate over a training: pure functions of how far it has gone."""

import math
from dataclasses import dataclass
from typing import Literal

ScheduleName = Literal["inverse_time", "cosine"]


def inverse_time(lr: float, epoch: int, decay: float) -> float:
    """lr / (1 + decay · epoch), epochs counted from 0 (after Bottou 2012, "Stochastic gradient
    descent tricks", who counts steps); constant if `decay` is 0."""
    return lr / (1 + decay * epoch)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the whole learning rate to zero (Loshchilov and Hutter 2017, "SGDR"),
    after a rise in a straight line from zero (Goyal et al. 2017, "Accurate, large minibatch SGD").

    epochs: of the whole training.
    warmup: the rise's share of it, from 0 to below 1.
    """

    epochs: int
    warmup: float = 0.0

    def __call__(self, epoch: float) -> float:
        """The share of the learning rate after so many epochs, parts of one included."""
        progress = epoch / self.epochs
        if progress < self.warmup:
            return progress / self.warmup
        angle = math.pi * min(1.0, (progress - self.warmup) / (1 - self.warmup))
        # rounded, because cos's last bit depends on the C library
        return round((1 + math.cos(angle)) / 2, 9)
