"""Device and precision of a process."""

from __future__ import annotations

import contextlib

import pytest
import torch

from trainer_cli.strategy.device import (
    autocast,
    autocast_dtype,
    has_native_bf16,
    loss_scaler,
    pick_device,
    set_tf32,
)

CPU = torch.device("cpu")


def test_the_cpu_is_taken_where_it_is_asked_for() -> None:
    assert pick_device(use_cpu=True) == CPU
    assert pick_device(use_cpu=True, local_rank=3) == CPU


def test_the_best_device_there_is_is_taken() -> None:
    if torch.cuda.is_available():
        expected = torch.device("cuda", 0)
    else:
        expected = torch.device("mps") if torch.backends.mps.is_available() else CPU
    assert pick_device(use_cpu=False) == expected


def test_each_precision_has_its_type() -> None:
    assert autocast_dtype("fp32", CPU) is None
    assert autocast_dtype("bf16", CPU) is torch.bfloat16
    assert autocast_dtype("auto", CPU) is (torch.bfloat16 if has_native_bf16(CPU) else None)


def test_half_precision_is_automatic_only_in_hardware() -> None:
    flags = torch.cpu.get_capabilities()
    assert has_native_bf16(CPU) == any(flags.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    assert not has_native_bf16(torch.device("mps"))


def test_only_fp16_needs_its_loss_scaled() -> None:
    assert autocast_dtype("fp16", CPU) is torch.float16
    assert loss_scaler("fp16", CPU).is_enabled()
    assert not any(loss_scaler(precision, CPU).is_enabled() for precision in ("auto", "fp32", "bf16"))


def test_tf32_is_set_as_asked_and_else_left_alone() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        set_tf32(True)
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
        set_tf32(None)
        assert torch.get_float32_matmul_precision() == "high"
        set_tf32(False)
        assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_a_forward_pass_runs_in_the_precision_that_is_named(precision, dtype: torch.dtype) -> None:
    context, name = autocast(precision, CPU)
    layer = torch.nn.Linear(2, 2)
    for _ in range(2):  # the context is entered at each step
        with context():
            assert layer(torch.ones(1, 2)).dtype == dtype
    assert name == precision
    assert layer.weight.dtype == torch.float32


def test_full_precision_costs_no_context() -> None:
    assert autocast("fp32", CPU)[0] is contextlib.nullcontext
