"""What a preflight tries, one stage after the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from small_run import OVERRIDES, Rows, built
from torch import Tensor

from trainer_cli import trials
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import RunFailed
from trainer_cli.model import MLP
from trainer_cli.tracker import JsonLines
from trainer_cli.trials import Stage, StageFailed, checkpoints_kept, duration, longest


class BadLogIn(JsonLines):
    """A tracker whose service does not know the user."""

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        raise ConnectionError("401: no such key")


class Forgetful(torch.optim.SGD):
    """Takes back nothing of what it saved."""

    def load_state_dict(self, state_dict: Any) -> None:
        return


class NoLongRows(MLP):
    """Fails on a batch of the rows that the dataset calls long."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        if (features == LONGEST).any() and self.training:
            error = ValueError("a row is too long")
            error.add_note("by 3 tokens")
            raise error
        return super().forward(features)


LONGEST = 77.0


class OneLong(Rows):
    """Rows of which one is longer than all others."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.lengths = [1] * size
        self.lengths[31] = 100
        self.features[31] = LONGEST


class Result(NamedTuple):
    lines: list[str]
    error: StageFailed | None


@pytest.fixture
def attempt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Carries out the stages of a small run; the lines that were printed, and what failed."""

    def carry_out(*overrides: str) -> Result:
        config = compose([*OVERRIDES, "plugins=[small_run, test_trials]", *overrides]).config
        failed = None
        try:
            trials.attempt(config, tmp_path, [])
        except StageFailed as error:
            failed = error
        return Result(capsys.readouterr().out.splitlines(), failed)

    return carry_out


def stages(result: Result) -> dict[str, str]:
    """Each stage with ok or failed."""
    rows = [line[:37].rsplit(maxsplit=1) for line in result.lines[1:] if line[31:37].strip()]
    return {name.strip(): outcome for name, outcome in rows if outcome in ("ok", "failed")}


def test_every_part_is_tried_once(attempt: Callable[..., Result]) -> None:
    result = attempt(
        "tracker.mine._target_=trainer_cli.tracker.JsonLines", "args.gradient_accumulation_steps=2"
    )
    assert result.error is None
    assert stages(result) == dict.fromkeys(
        [
            "build",
            "tracker mine",
            "update on the longest batch",
            "evaluation",
            "save",
            "updates of the first epoch",
            "reload, compared bit for bit",
            "room on the disk",
        ],
        "ok",
    )
    text = "\n".join(result.lines)
    assert "2 × 8 rows" in text and "17 rows" not in text and "for 6 updates of" in result.lines[-1]


@pytest.mark.parametrize(
    "overrides",
    [
        ["args.ema_decay=0.9"],
        ["optim=schedule_free_adamw", "scheduler=constant", "scheduler.num_warmup_steps=0"],
        ["args.precision=fp16"],
        ["args.save_only_model=true"],
        ["checkpoint.async_save=false", "callbacks=monitor"],
        ["data.train._target_=small_run.AugmentedStream", "args.max_steps=7"],
        ["data.eval._target_=small_run.Stream", "~data.eval.seed"],
        ["data.train._target_=small_run.Augmented", "args.dataloader_num_workers=1", "model.dropout=0.2"],
        ["scheduler=reduce_lr_on_plateau", "callbacks=early_stopping"],
        ["data.train.size=5"],
    ],
)
def test_all_sorts_of_runs_pass(attempt: Callable[..., Result], overrides: list[str]) -> None:
    result = attempt(*overrides)
    assert result.error is None
    assert set(stages(result).values()) == {"ok"}


def test_without_training_there_is_little_to_try(attempt: Callable[..., Result]) -> None:
    result = attempt("args.stages=[eval]")
    assert result.error is None and list(stages(result)) == ["build", "evaluation"]


@pytest.mark.parametrize(
    ("overrides", "stage", "says"),
    [
        (["model.in_features=7"], "build", "RuntimeError: mat1 and mat2"),
        (
            [
                "model._target_=test_trials.NoLongRows",
                "data.train={_target_: test_trials.OneLong, size: 45}",
            ],
            "update on the longest batch",
            "ValueError: a row is too long\n  by 3 tokens",
        ),
        (
            ["tracker.mine._target_=test_trials.BadLogIn"],
            "tracker mine",
            "ConnectionError: 401: no such key",
        ),
        (
            [
                "optim._target_=test_trials.Forgetful",
                "optim={momentum: 0.9}",
                "~optim.betas",
                "~optim.eps",
            ],
            "reload, compared bit for bit",
            "what was loaded is not what was saved\n  optimizer.safetensors",
        ),
        (["data.eval.size=0"], "build", "error: data.eval is empty"),
    ],
)
def test_what_fails_is_named_with_its_stage(
    attempt: Callable[..., Result], overrides: list[str], stage: str, says: str
) -> None:
    result = attempt(*overrides)
    assert result.error is not None
    block = result.error.block()
    assert block.startswith(f"preflight failed in {stage}\nerror: ") and says in block
    assert list(stages(result).items())[-1] == (stage, "failed")


def test_a_disk_without_room_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with built(tmp_path, "args.save_total_limit=3") as engine:
        trials.check_room(engine, 2_000_000, stage := Stage("room"))
        assert stage.details == "needs 6.0 MB of 10.0 MB"
        with pytest.raises(
            RunFailed, match=r"3 checkpoints and the model need 12\.0 MB, and 10\.0 MB are free"
        ):
            trials.check_room(engine, 4_000_000, stage)


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["args.save_total_limit=1"], 2),
        (["args.save_total_limit=5"], 3),
        (["args.save_total_limit=null"], 3),
        (["args.save_strategy=steps", "args.save_steps=2", "args.save_total_limit=null"], 7),
        (["args.save_strategy=steps", "args.save_steps=0.25", "args.save_total_limit=null"], 5),
        (["args.save_strategy=no"], 0),
        (["args.save_strategy=best", "args.save_total_limit=null"], 3),
    ],
)
def test_as_many_checkpoints_are_counted_as_there_are_at_a_time(
    tmp_path: Path, overrides: list[str], kept: int
) -> None:
    with built(tmp_path, *overrides) as engine:
        assert checkpoints_kept(engine) == kept


def test_the_longest_rows_are_the_longest() -> None:
    assert longest(OneLong(45), 2)[0] == 31
    assert longest([0, 1, 2], 5) == [0, 1, 2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "less than a second"),
        (59, "59 seconds"),
        (90, "1.5 minutes"),
        (12000, "3.3 hours"),
        (2e5, "2.3 days"),
    ],
)
def test_times_are_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
