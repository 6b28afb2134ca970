"""The masks of fast_dropout: right in their statistics, and a function of torch's generator alone."""

from collections.abc import Iterator

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from trainer_cli.model.dropout import fast_dropout


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    torch.manual_seed(0)
    before = torch.empty(100).bernoulli_(0.5)
    with fast_dropout():
        yield
    torch.manual_seed(0)
    assert torch.equal(torch.empty(100).bernoulli_(0.5), before)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 0.999, 1 - 1e-12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool])
def test_share_of_ones_is_the_probability(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    count = 1_000_000
    drawn = torch.empty(count, dtype=dtype).bernoulli_(p)
    assert set(drawn.double().tolist()) <= {0.0, 1.0}
    deviation = (p * (1 - p) / count) ** 0.5
    assert abs(drawn.double().mean().item() - p) < 5 * deviation + 2**-17


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8])
def test_neighbours_are_independent(lag: int) -> None:
    torch.manual_seed(1)
    drawn = torch.empty(1_000_000).bernoulli_(0.9)
    both = (drawn[lag:] * drawn[:-lag]).mean().item()
    assert abs(both - 0.81) < 0.002


def test_edges_and_shapes() -> None:
    assert torch.empty(7).bernoulli_(0.0).sum() == 0
    assert torch.empty(7).bernoulli_(1.0).sum() == 7
    assert torch.empty(0).bernoulli_(0.5).shape == (0,)
    assert torch.empty(()).bernoulli_(1.0) == 1
    transposed = torch.full((33, 65), 7.0).T
    assert set(transposed.bernoulli_(0.5).flatten().tolist()) == {0.0, 1.0}
    with pytest.raises(RuntimeError, match="expects p to be in"):
        torch.empty(3).bernoulli_(1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_is_mask_times_scale(dtype: torch.dtype) -> None:
    x = torch.ones(64, 384, dtype=dtype, requires_grad=True)
    y = nn.Dropout(0.1)(x)
    y.sum().backward()
    scale = (torch.ones((), dtype=dtype) / 0.9).item()
    assert set(y.flatten().tolist()) == {0.0, scale}
    assert x.grad is not None and torch.equal(x.grad, y.detach())


def test_nothing_is_dropped_at_zero_or_in_evaluation() -> None:
    x = torch.randn(100)
    assert torch.equal(nn.Dropout(0.0)(x), x)
    assert torch.equal(nn.Dropout(0.5).eval()(x), x)


def test_masks_are_a_function_of_the_generator_state() -> None:
    dropout, x = nn.Dropout(0.1), torch.ones(1001)
    torch.manual_seed(5)
    first = dropout(x)
    state = torch.get_rng_state()
    second = dropout(x)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x), second)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    own = torch.empty(100).bernoulli_(0.5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(own, torch.empty(100).bernoulli_(0.5, generator=torch.Generator().manual_seed(3)))


def test_attention_dropout_is_fast_too() -> None:
    query = torch.ones(1, 1, 256, 8)
    torch.manual_seed(0)
    attended = nn.functional.scaled_dot_product_attention(query, query, query, dropout_p=0.25)
    assert abs(attended.mean().item() - 1) < 0.02
    torch.manual_seed(0)
    mask = torch.empty(1, 1, 256, 256).bernoulli_(0.75)
    torch.testing.assert_close(attended[..., 0], mask.mean(-1) / 0.75)


def test_recomputation_draws_the_same_masks() -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(nn.Dropout(0.5), x, use_reentrant=False)
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y.detach())


def test_contexts_nest() -> None:
    torch.manual_seed(0)
    outer = torch.empty(100).bernoulli_(0.5)
    for _ in range(2):
        with fast_dropout():
            torch.manual_seed(0)
            assert torch.equal(torch.empty(100).bernoulli_(0.5), outer)
    torch.manual_seed(0)
    assert torch.equal(torch.empty(100).bernoulli_(0.5), outer)
