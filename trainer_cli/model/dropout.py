"""Dropout at a fifth of its cost on the CPU: the kernel that draws its masks, four draws to a random word."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor


@contextmanager
def fast_dropout() -> Iterator[None]:
    """Within it, `Tensor.bernoulli_(p)` on the CPU is the one below, under every dropout and attention there.

    Torch draws a mask one number at a time, which takes a tenth of a training step on short texts and more
    on long ones. The masks stay a function of torch's generator alone; they are not those that torch itself
    would draw from the same state.
    """
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*overrid", category=UserWarning)
        library.impl("bernoulli_.float", bernoulli_, "CPU")  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        library._destroy()  # type: ignore[no-untyped-call]


def bernoulli_(target: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones of probability `p` and zeros; `p` is met to 2^-17, near 0 and 1 to 2^-33."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    if p in (0, 1):
        return target.fill_(p)
    dtype, bits = (torch.int16, 16) if 0.02 <= p <= 0.98 else (torch.int32, 32)
    words = torch.empty(-(-target.numel() * bits // 64), dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    draws = words.view(dtype)[: target.numel()].view(target.shape)
    half = 1 << (bits - 1)
    return torch.lt(draws, min(round(p * 2 * half) - half, half - 1), out=target)
