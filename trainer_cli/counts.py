"""Shares of a whole as counts, and the updates that are left of the epochs asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


def share_of(share: float, whole: int) -> int:
    """The count that a share of a whole comes to, rounded up.

    The share counts as the decimal number that it is written as: 0.07 of 100 is 7, where the product of
    floats is 7.000000000000001, which would be rounded up to 8.
    """
    return math.ceil(Fraction(str(share)) * whole)


def in_updates(amount: float, total: int) -> int:
    """A number of updates: below 1 it is a share of all of them, rounded up."""
    return share_of(amount, total) if amount < 1 else int(amount)


@dataclass(frozen=True)
class Position:
    """How far a run has come: updates, made or skipped, whole epochs, and samples of the current one."""

    updates: int = 0
    epoch: int = 0
    samples: int = 0


START = Position()


@dataclass(frozen=True)
class Epochs:
    """The epochs of a data set of so many samples that is trained on in batches of `batch`."""

    size: int
    batch: int
    drop_last: bool

    @property
    def updates(self) -> int:
        """Updates of a whole epoch."""
        return self.updates_from(0)

    def updates_from(self, samples: int) -> int:
        """Updates from this sample of an epoch to its end, which another batch size may have led to."""
        left = max(0, self.size - samples)
        return left // self.batch if self.drop_last else -(-left // self.batch)

    def end(self, samples: int) -> int:
        """The sample at which an epoch ends that has come to this one."""
        left = self.updates_from(samples)
        return samples + left * self.batch if self.drop_last else max(self.size, samples)

    def total(self, epochs: float, at: Position) -> int:
        """Updates of a run of so many epochs, of which those up to `at` were made, in whatever batches.

        A part of an epoch is a share of its updates, rounded up.
        """
        asked = Fraction(str(epochs))
        whole = int(asked)
        part = min(math.ceil((asked - whole) * self.updates) * self.batch, self.end(0))
        if at.epoch > whole:
            return at.updates
        if at.epoch == whole:
            left = max(0, -(-(part - at.samples) // self.batch))
            return at.updates + min(left, self.updates_from(at.samples))
        later = (whole - at.epoch - 1) * self.updates + -(-part // self.batch)
        return at.updates + self.updates_from(at.samples) + later
