"""The run's own state."""

from __future__ import annotations

import json

import pytest
import torch

from trainer_cli.state import STORED, LossWindow, TrainState


def test_what_is_stored_survives_json() -> None:
    state = TrainState(step=7, epoch=1, samples=24, epoch_batch=8, best_metric=0.1 + 0.2, best_step=4)
    state.window.items = 40
    other = TrainState()
    other.load_state_dict(json.loads(json.dumps(state.state_dict())))
    assert other == state


def test_an_early_stop_is_stored_and_an_interruption_is_not() -> None:
    early = TrainState(stop="early stopping")
    interrupted = TrainState(stop="interrupted", signal=15, interrupted=True)
    assert early.state_dict()["stop"] == "early stopping"
    assert interrupted.state_dict()["stop"] is None
    assert not {"signal", "interrupted"} & interrupted.state_dict().keys()


def test_a_value_that_is_missing_is_no_default() -> None:
    with pytest.raises(KeyError):
        TrainState().load_state_dict(dict.fromkeys(STORED[1:], 0))


def test_the_window_sums_what_a_resume_brought_and_what_came_since() -> None:
    window = LossWindow(carried={"loss": 1.5, "aux_loss": 1.0}, items=4)
    assert window.totals() == {"loss": 1.5, "aux_loss": 1.0}
    window.add([{"loss": torch.tensor(0.25)}, {"loss": torch.tensor(2.0)}], 3)
    assert window.totals() == {"loss": 3.75, "aux_loss": 1.0}
    assert window.items == 7


def test_the_window_is_summed_in_double_precision() -> None:
    window = LossWindow()
    window.add([{"loss": torch.tensor(value)} for value in (2.0**24, 1.0, 1.0, 1.0)], 4)
    assert window.totals() == {"loss": 2**24 + 3}


def test_a_cleared_window_is_empty() -> None:
    window = LossWindow(carried={"loss": 2.0})
    window.add([{"loss": torch.tensor(1.0)}], 3)
    window.clear()
    assert window == LossWindow()
