"""Where the global generators are put, and what tells that something drew from them."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from trainer_cli.data.randomness import Watch, seed_generators, undisturbed


def numbers() -> list[float]:
    return [random.random(), random.gauss(), np.random.rand(), np.random.randn(), *torch.randn(2).tolist()]


def test_a_key_is_a_place_of_all_three_generators() -> None:
    seed_generators(1, 2, "row", 3)
    first = numbers()
    seed_generators(1, 2, "row", 4)
    assert not {*first} & {*numbers()}
    seed_generators(1, 2, "row", 3)
    assert numbers() == first


def test_keys_that_look_alike_differ() -> None:
    seen = []
    for key in [(1, 12), (11, 2), (2, 11), (1, 12, 0), (2**80, 1), (2**80 + 1, 1)]:
        seed_generators(*key)
        seen.append(tuple(numbers()))
    assert len({*seen}) == len(seen)
    assert len({row[0] for row in seen}) == len({row[2] for row in seen}) == len(seen)


@pytest.mark.parametrize(
    "draw",
    [
        random.random,
        random.gauss,
        lambda: random.shuffle([1, 2]),
        lambda: random.getrandbits(1),
        lambda: random.seed(5),
        np.random.rand,
        np.random.randn,
        lambda: np.random.bytes(1),
        lambda: np.random.rand(312),  # a whole turn of the generator: its position is what it was
        lambda: np.random.seed(5),
        lambda: torch.rand(1),
        lambda: torch.randn(1),
        lambda: torch.rand(624),
        lambda: torch.randperm(2),
        lambda: torch.default_generator.manual_seed(5),
    ],
)
def test_every_draw_is_seen_and_undone(draw: Callable[[], object]) -> None:
    watch = Watch()
    for drawn in (False, True, True, False):
        seed_generators(4)
        watch.start()
        watch.moved()
        expected = numbers()
        seed_generators(4)
        watch.start()
        if drawn:
            draw()
        assert watch.moved() == drawn
        if drawn:
            watch.put_back()
        assert numbers() == expected


def test_what_others_draw_between_two_watches_is_neither_seen_nor_undone() -> None:
    watch = Watch()
    seen = []
    for _ in range(3):
        watch.start()
        assert not watch.moved()
        seen += numbers()
        watch.start()
        numbers()
        assert watch.moved()
        watch.put_back()
    assert len({*seen}) == len(seen)


def test_a_watch_that_is_skipped_takes_the_same_numbers() -> None:
    watch = Watch()
    seed_generators(4)
    watch.start()
    watch.moved()
    expected = numbers()
    seed_generators(4)
    watch.skip()
    assert numbers() == expected


def test_generators_of_ones_own_are_no_draw() -> None:
    watch = Watch()
    watch.start()
    random.Random(3).random()
    np.random.default_rng(3).random()
    torch.rand(1, generator=torch.Generator().manual_seed(3))
    assert not watch.moved()


def test_undisturbed_generators_draw_on_where_they_were_even_after_an_error() -> None:
    seed_generators(3)
    expected = numbers()
    seed_generators(3)
    with pytest.raises(KeyError), undisturbed():
        numbers()
        raise KeyError
    assert numbers() == expected
