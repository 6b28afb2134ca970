"""A run that is pruned, in several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.schema import Sweep
from trainer_cli.runs.journal import PRUNED, trials_of
from trainer_cli.sweep.search import Study
from trainer_cli.sweep.space import Numbers

pytestmark = pytest.mark.slow

RUN = ("+recipe=spirals", "args.num_train_epochs=3", "args.eval_strategy=epoch", "optim.lr=0.0")
DDP = ("strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=10")


def test_all_processes_of_a_pruned_run_end_together(project: Any, tmp_path: Path) -> None:
    settings = Sweep(None, {}, [], "random", 99, 0, "percentile", 1, False, 0, False)
    study = Study(tmp_path / "sweep", [Numbers("optim.weight_decay", 0.0, 1.0)], settings)
    metric = {"name": "eval/loss", "greater_is_better": False}
    for _ in range(5):
        suggestion = study.ask()
        assert suggestion is not None
        trial = trials_of(study.storage)[suggestion.number]
        for step in range(1, 200):
            study.storage.set_trial_intermediate_value(trial._trial_id, step, -1.0)
        study.tell(suggestion, {"status": "finished", "metric": metric, "results": {"eval/loss": -1.0}})
    suggestion = study.ask()
    assert suggestion is not None
    node = [f"callbacks.pruning.{key}={value}" for key, value in study.callback(suggestion).items()]
    project.run(*RUN, *DDP, *node)
    record = project.record()
    assert record["status"] == "pruned" and record["stopped"] == PRUNED
    assert 0 < record["step"] < record["total_steps"]
    assert list(trials_of(study.storage)[suggestion.number].intermediate_values) == [record["step"]]
