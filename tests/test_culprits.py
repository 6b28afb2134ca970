"""Errors over a batch, told with the rows that it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer_cli.config.errors import Misfit, RunFailed, UserError
from trainer_cli.culprits import named, shapes, tell_rows

BATCH = {"x": torch.zeros(3, 2), "labels": torch.tensor([4, -1, 7])}
ROWS = [10, 20, 30]


def told(error: Exception, batch: dict[str, Any] | None = None) -> Exception:
    with pytest.raises(Exception) as caught:
        tell_rows(error, "evaluation", ROWS, BATCH if batch is None else batch)
    return caught.value


def test_a_users_error_begins_with_the_rows() -> None:
    error = told(UserError.many([*UserError("one", right="this").problems, *UserError("two").problems]))
    assert isinstance(error, UserError)
    assert [problem.what for problem in error.problems] == ["evaluation, rows 10, 20, 30: one", "two"]
    assert error.problems[0].right == "this"


def test_a_row_that_does_not_fit_is_the_one_that_is_named() -> None:
    error = told(Misfit("labels has 7", right="fewer", row=2))
    assert isinstance(error, UserError) and error.block() == (
        "error: evaluation, row 30: labels has 7\n  fewer"
    )


def test_a_label_that_torch_refuses_is_found_in_the_batch() -> None:
    with pytest.raises(IndexError) as raised:
        torch.nn.functional.cross_entropy(torch.zeros(3, 5), torch.tensor([4, 0, 7]))
    error = told(raised.value)
    assert isinstance(error, UserError) and "evaluation, row 30: labels has 7" in str(error)
    assert "rows 10, 20, 30: IndexError" in str(told(IndexError("Target 9 is out of bounds.")))


def test_what_no_code_of_the_users_raised_is_told_with_the_shapes() -> None:
    error = told(RuntimeError("no such thing"))
    assert isinstance(error, UserError) and error.block() == (
        "error: evaluation, rows 10, 20, 30: RuntimeError: no such thing\n"
        "  the batch has x float32 (3, 2), labels int64 (3,) from -1 to 7"
    )


def test_an_error_of_the_users_own_code_stays_what_it_is_with_a_note() -> None:
    class Own(torch.nn.Module):
        def forward(self, batch: Any) -> None:
            raise KeyError("nothing")

    with pytest.raises(KeyError) as raised:
        torch.nn.Sequential(Own())(BATCH)  # called by another's code, as a run calls it
    error = told(raised.value)
    assert error is raised.value
    assert error.__notes__ == [
        "in evaluation, rows 10, 20, 30: x float32 (3, 2), labels int64 (3,) from -1 to 7"
    ]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RunFailed("over")])
def test_an_error_of_memory_or_of_a_run_that_is_over_is_passed_on(error: Exception) -> None:
    assert told(error) is error


def test_many_rows_are_cut_short() -> None:
    assert named([3]) == "row 3"
    assert named(range(9)) == "rows 0, 1, 2, 3, 4, 5, 6, 7, …"
    assert shapes({"x": [1], "labels": torch.tensor([True])}) == "x a list, labels bool (1,)"
