"""Copies of tensors that training goes on changing."""

from __future__ import annotations

import torch

from trainer_cli.checkpoint.snapshot import Snapshot, dense


def test_a_copy_stays_when_the_tensor_changes() -> None:
    tensor = torch.arange(6.0)
    taken = Snapshot().take({"a": tensor})
    tensor.zero_()
    assert torch.equal(taken["a"], torch.arange(6.0))


def test_the_next_copy_is_made_into_the_same_memory() -> None:
    snapshot, tensor = Snapshot(), torch.arange(6.0)
    first = snapshot.take({"a": tensor})["a"].data_ptr()
    tensor += 1
    second = snapshot.take({"a": tensor})["a"]
    assert second.data_ptr() == first and torch.equal(second, torch.arange(1.0, 7.0))


def test_another_shape_or_type_gets_memory_of_its_own() -> None:
    snapshot = Snapshot()
    snapshot.take({"a": torch.zeros(4), "gone": torch.zeros(1)})
    for tensor in (torch.ones(5), torch.ones(5, dtype=torch.bfloat16), torch.empty(0, 3)):
        (taken,) = snapshot.take({"a": tensor}).values()
        assert torch.equal(taken, tensor) and taken.dtype == tensor.dtype


def test_what_is_one_memory_is_one_copy() -> None:
    tensor = torch.randn(3, 3)
    taken = Snapshot().take({"embedding": tensor, "head": tensor, "other": tensor.clone(), "part": tensor[0]})
    assert taken["embedding"] is taken["head"]
    assert len({taken[name].data_ptr() for name in ("head", "other", "part")}) == 3


def test_copies_are_dense() -> None:
    values = torch.randn(4, 6)
    tensors = {"turned": values.t(), "stripes": values[:, ::2]}
    for taken in (Snapshot().take(tensors), dense(tensors)):
        assert all(torch.equal(taken[name], tensor) for name, tensor in tensors.items())
        assert all(tensor.is_contiguous() for tensor in taken.values())


def test_what_is_dense_already_is_not_copied() -> None:
    tensor = torch.randn(5)
    assert dense({"a": tensor})["a"].data_ptr() == tensor.data_ptr()
    part = dense({"a": tensor[2:]})["a"]
    assert part.untyped_storage().nbytes() == part.nbytes


def test_of_nothing_there_is_nothing() -> None:
    assert Snapshot().take({}) == {} == dense({})
