from __future__ import annotations

from typing import Any

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["args.load_best_model_at_end=true"], "args.load_best_model_at_end needs evaluations"),
        (["args.metric_for_best_model=accuracy"], "args.metric_for_best_model needs evaluations"),
        (["callbacks=early_stopping"], "callbacks.early_stopping needs evaluations"),
    ],
)
def test_what_needs_evaluations_says_so_when_there_are_none(
    project: Any, overrides: list[str], says: str
) -> None:
    compose(overrides)
    compose([*overrides, "args.eval_strategy=no", "args.stages=[eval]"])
    with pytest.raises(UserError) as error:
        compose([*overrides, "args.eval_strategy=no"])
    assert says in error.value.block()
    assert "command line: args.eval_strategy=no" in error.value.block()
    assert "args.eval_strategy=epoch or steps" in error.value.block()


@pytest.mark.parametrize(
    ("overrides", "right"),
    [
        (["args.stages=[]"], "args.stages=[train,eval]"),
        (["args.stages=[train,train]"], "names a stage twice"),
        (["strategy.num_processes=3"], "strategy=ddp strategy.num_processes=3"),
        (["args.dataloader_prefetch_factor=2"], "args.dataloader_num_workers=1"),
    ],
)
def test_contradictions_name_the_way_out(project: Any, overrides: list[str], right: str) -> None:
    with pytest.raises(UserError) as error:
        compose(overrides)
    assert right in error.value.block()
