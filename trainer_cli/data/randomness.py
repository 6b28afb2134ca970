"""The global random generators while data is read: seeded by what is read, and put back after it."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_generators(*key: int | str) -> None:
    """Put the global generators of Python, NumPy and torch (its CPU's) where this key says."""
    # A hash, so that keys which differ in one number only lead to places that have nothing in common.
    number = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=16).digest(), "little")
    random.seed(number)
    np.random.seed(number & 0xFFFF_FFFF)
    # Not torch.manual_seed, which goes through every device and takes a hundred times as long.
    torch.default_generator.manual_seed(number >> 64)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the generators as they were, whatever draws within."""
    states = random.getstate(), np.random.get_state(legacy=False), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


class Watch:
    """Tells whether anything drew from the global generators, and puts them back.

    To compare the states of Python's and NumPy's would take longer than a small model's layer. Each has a
    double instead, which draws along when a watch starts and when it ends: two numbers that differ tell that
    one of the two drew in between. So each watch takes two numbers of both, whatever else happens in it.
    """

    def __init__(self) -> None:
        self._python, self._numpy = random.Random(), np.random.RandomState(0)
        self._torch = torch.default_generator.get_state()

    def start(self) -> None:
        """Remember where the generators are."""
        self._torch = torch.default_generator.get_state()
        if not self._in_step():  # as a model, or a callback, drew since the last watch
            self._python.setstate(random.getstate())
            self._numpy.set_state(np.random.get_state(legacy=False))

    def moved(self) -> bool:
        """End the watch: whether anything drew since its start."""
        return not self._in_step() or not torch.equal(self._torch, torch.default_generator.get_state())

    def put_back(self) -> None:
        """Put the generators where they would be if nothing had drawn since the start."""
        random.setstate(self._python.getstate())
        np.random.set_state(self._numpy.get_state(legacy=False))
        torch.default_generator.set_state(self._torch)

    def skip(self) -> None:
        """Take the numbers of a watch, for what another process reads: they are missed nowhere then."""
        self._in_step()
        self._in_step()

    def _in_step(self) -> bool:
        own = random.random(), np.random.random_sample()
        return own == (self._python.random(), self._numpy.random_sample())


WATCH = Watch()
"""The watch of this process; one, as its generators are."""
