"""An end to a sweep's job that does poorly beside the others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer_cli.callbacks.base import Callback
from trainer_cli.runs.journal import PRUNED, STUDY, open_journal, silent, trials_of

if TYPE_CHECKING:
    from trainer_cli.engine import Engine

log = logging.getLogger(__name__)

ENDED = "ended"
"""The attribute of a trial that has the step at which the rule ended it."""


class Pruning(Callback):
    """Tells a sweep's study of each evaluation, and ends training where its rule asks for that.

    A study that cannot be reached is said once, and the run goes on without it.

    Args:
        journal: File of the study.
        trial: Number of the job in it.
        pruner: Optuna's rule: it compares the score with those of the other jobs at the same step.
    """

    def __init__(
        self,
        journal: str,
        trial: int,
        pruner: Literal["median", "percentile", "successive_halving", "hyperband"],
    ) -> None:
        self.journal = Path(journal)
        self.trial = trial
        self.pruner = pruner
        self.storage: Any = None
        self.lost = False

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        state = engine.state
        if not engine.training or not engine.scores or state.step == 0:  # untrained models tell nothing
            return
        prune = False
        if engine.strategy.is_main and not self.lost:
            name = engine.score_name(None)
            value = -row[name] if engine.greater_is_better(name) else row[name]
            try:
                prune = self.report(state.step, float(value), engine.total_steps)
            except Exception as error:
                self.lost = True
                log.warning("the sweep's study cannot be reached: this run is not pruned: %s", error)
        (agreed,) = engine.strategy.sum([prune])
        is_over = state.step + state.skipped_steps >= engine.total_steps
        if agreed and state.stop is None and not is_over:
            state.stop = PRUNED

    def report(self, step: int, value: float, total_steps: int) -> bool:
        """Write the score, to be minimised, into the journal; whether the rule says that the run should end.

        What was reported and decided before the run was resumed stands.
        """
        if self.storage is None:
            if not self.journal.is_file():
                raise FileNotFoundError(f"there is no {self.journal}")
            self.storage = open_journal(self.journal)
        import optuna

        with silent():
            trial = trials_of(self.storage)[self.trial]
            if trial.state.is_finished():
                raise ValueError(f"trial {self.trial} of {self.journal} is over")
            if ENDED in trial.user_attrs:
                return bool(step >= trial.user_attrs[ENDED])
            if step not in trial.intermediate_values:
                self.storage.set_trial_intermediate_value(trial._trial_id, step, value)
                trial = trials_of(self.storage)[self.trial]
            if trial.last_step != step:
                return False
            study = optuna.load_study(study_name=STUDY, storage=self.storage)
            rule = rule_of(self.pruner, min(trial.intermediate_values), total_steps)
            prune = bool(rule.prune(study, trial))
            if prune:
                self.storage.set_trial_user_attr(trial._trial_id, ENDED, step)
            return prune


def rule_of(pruner: str, first_step: int, total_steps: int) -> Any:
    """Optuna's pruner of the name, as Optuna sets it up, for a run that is first evaluated at this step."""
    from optuna import pruners

    if pruner == "median":
        return pruners.MedianPruner()
    if pruner == "percentile":
        return pruners.PercentilePruner(25.0)
    if pruner == "successive_halving":
        return pruners.SuccessiveHalvingPruner(min_resource=first_step)
    return pruners.HyperbandPruner(min_resource=first_step, max_resource=total_steps)
