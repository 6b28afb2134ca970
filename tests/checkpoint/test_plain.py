"""Values taken apart into tensors and JSON, and put together again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer_cli.checkpoint.plain import Packer, unpack
from trainer_cli.checkpoint.snapshot import dense
from trainer_cli.config.errors import UserError


def round_trip(value: Any, tmp_path: Path) -> Any:
    packer = Packer()
    tree = json.loads(json.dumps(packer.pack(value, "value"), allow_nan=False))
    save_file(dense(packer.tensors), str(tmp_path / "tensors"))
    return unpack(tree, load_file(str(tmp_path / "tensors")))


def test_numbers_text_and_what_holds_them_come_back(tmp_path: Path) -> None:
    value = {
        "step": 3,
        "rate": 0.1 + 0.2,
        "on": True,
        "none": None,
        "word": "plain",
        "list": [1, [], [2.5]],
        "pair": (1, (2, "x")),
        "infinite": -math.inf,
        "type": torch.bfloat16,
    }
    assert round_trip(value, tmp_path) == value
    assert math.isnan(round_trip({"loss": math.nan}, tmp_path)["loss"])


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.tensor(7),
        torch.empty(0, 3),
        torch.arange(5, dtype=torch.uint8),
        torch.tensor([True, False]),
        torch.randn(3, dtype=torch.bfloat16),
        torch.randn(3, dtype=torch.float64),
        torch.randn(3, 4).t(),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(10)[2:5],
        torch.randn(6, 6)[:, ::2],
    ],
)
def test_tensors_come_back_with_type_shape_and_order(tensor: Tensor, tmp_path: Path) -> None:
    back = round_trip([tensor], tmp_path)[0]
    assert torch.equal(back, tensor)
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    dense = tensor.is_contiguous() or tensor.t().is_contiguous() if tensor.ndim == 2 else True
    assert not dense or back.stride() == tensor.stride()


def test_a_tensor_that_several_share_is_stored_and_made_once(tmp_path: Path) -> None:
    shared = torch.randn(4)
    packer = Packer()
    packer.pack({"0": {"qmap": shared}, "1": {"qmap": shared}, "2": {"other": shared.clone()}}, "state")
    assert sorted(packer.tensors) == ["state.0.qmap", "state.2.other"]
    back = round_trip({"a": shared, "b": shared, "c": shared[:2]}, tmp_path)
    assert back["a"] is back["b"]
    assert torch.equal(back["c"], shared[:2])


def test_empty_tensors_are_not_taken_for_one(tmp_path: Path) -> None:
    back = round_trip([torch.empty(0), torch.empty(0, dtype=torch.int64)], tmp_path)
    assert [tensor.dtype for tensor in back] == [torch.float32, torch.int64]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("bits", ["8bit", "4bit", "Fp8"])
def test_torchaos_tensors_come_back(bits: str, tmp_path: Path) -> None:
    from torchao.optim.subclass_4bit import OptimState4bit
    from torchao.optim.subclass_8bit import OptimState8bit
    from torchao.optim.subclass_fp8 import OptimStateFp8

    made: Any = {
        "8bit": lambda: OptimState8bit.zeros((64, 64), signed=True, dtype=torch.bfloat16),
        "4bit": lambda: OptimState4bit.zeros((64, 64), signed=False),
        "Fp8": lambda: OptimStateFp8.zeros((64, 64)),
    }[bits]()
    made.copy_(torch.rand(64, 64))
    back = round_trip({"exp_avg": made}, tmp_path)["exp_avg"]
    assert type(back) is type(made)
    assert (back.shape, back.dtype) == (made.shape, made.dtype)
    assert torch.equal(back.dequantize(), made.dequantize())


class Projector:
    """What only a pickle could hold."""


@pytest.mark.parametrize("value", [{"p": Projector()}, [Projector], {"f": print}, {1: 2}])
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="no checkpoint can hold 0"):
        Packer().pack(value, "0")


def test_a_wrapper_of_another_package_is_not_written() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    with pytest.raises(UserError, match="TwoTensor"):
        Packer().pack(TwoTensor(torch.ones(2), torch.ones(2)), "0")


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "torch.testing._internal.two_tensor.TwoTensor",
        "torchao.optimistic.Thing",
        "torchao.optim.AdamW8bit",
        "torchao.optim.adam.torch",
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_checkpoint_names_no_other_class(name: str) -> None:
    with pytest.raises(UserError, match="no tensor of torchao"):
        unpack({"$wrapper": name, "parts": {}, "attributes": []}, {})
