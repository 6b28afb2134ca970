"""A search: what it proposes, and Optuna's study, which remembers what came of that."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError, missing_extra
from trainer_cli.config.schema import Sweep
from trainer_cli.runs.journal import FILE, NUMBER, STUDY, open_journal, silent, trials_of
from trainer_cli.runs.sweeps import score_of
from trainer_cli.sweep.space import Axis, Choices, Numbers, Value, chance, drawn, words_of

WORDS, STATUS, GENERATION = "words", "status", "generation"
"""Attributes of a trial: its overrides, how its run ended, and its generation of CMA-ES."""

STARTUP = 10
"""Trials that are drawn at random before Optuna's samplers learn from them."""


@dataclass(frozen=True)
class Suggestion:
    """What a study asks to be tried: its number in the study, and the overrides that set the axes."""

    number: int
    words: list[str]


class Study:
    """The trials of a search, kept in a file of the sweep's directory.

    What it asks for next is a function of `settings.seed` and of what it was told, not of when or by which
    process: a study that was killed and goes on asks for what it would have asked for. Trials whose values
    the axes no longer have teach it nothing.
    """

    def __init__(self, sweep_dir: Path, axes: Sequence[Axis], settings: Sweep) -> None:
        self.axes = axes
        self.settings = settings
        self.path = sweep_dir.resolve() / FILE
        sweep_dir.mkdir(parents=True, exist_ok=True)
        try:
            self.storage = open_journal(self.path)
            self.study_id = study_of(self.storage)
        except (OSError, ValueError, KeyError, TypeError) as error:
            right = f"sweep.name=NAME starts another study; without {FILE} this one starts again"
            raise UserError(f"the study in {self.path} cannot be used: {error}", right=right) from error

    def asked(self) -> list[Suggestion]:
        """All that was ever asked for and that the axes still have."""
        return [
            Suggestion(number, trial.user_attrs[WORDS])
            for number, trial in trials_of(self.storage).items()
            if self.fits(trial)
        ]

    def unfinished(self) -> list[Suggestion]:
        """What was asked for and has no result; of these, the failed ones are opened to be tried again."""
        left = []
        for number, trial in trials_of(self.storage).items():
            failed = trial.state.name == "FAIL" and trial.user_attrs.get(STATUS) == "failed"
            if not (failed or trial.state.name == "RUNNING") or not self.fits(trial):
                continue
            if failed:
                attributes = {name: value for name, value in trial.user_attrs.items() if name != STATUS}
                self.open_trial(trial.params, attributes)
            left.append(Suggestion(number, trial.user_attrs[WORDS]))
        return left

    def ask(self) -> Suggestion | None:
        """The next thing to try; None where `settings.trials` were asked for, or nothing is left."""
        trials = trials_of(self.storage)
        number = len(trials)
        if number >= self.settings.trials:
            return None
        known = [trial for trial in trials.values() if self.fits(trial)]
        attributes: dict[str, Any] = {}
        values: Sequence[Value] | None
        match self.settings.search:
            case "random":
                values = next(itertools.islice(drawn(self.axes, self.settings.seed), number, None), None)
            case "qmc":
                values = quasi_random(self.axes, self.settings.seed, number)
            case "cma_es":
                values, generation = evolved(self.axes, self.settings.seed, number, known)
                attributes[GENERATION] = generation
            case _:
                values = self.sampled(number, known)
        if values is None:
            return None
        words = words_of(self.axes, values)
        params = {axis.key: value for axis, value in zip(self.axes, values, strict=True)}
        self.open_trial(params, {NUMBER: number, WORDS: words, **attributes})
        return Suggestion(number, words)

    def tell(self, suggestion: Suggestion, fields: Mapping[str, Any] | None) -> None:
        """What came of it, by the fields of its run.json; None where it never had one.

        A run that has not ended leaves its trial open, and what was told once stands.
        """
        from optuna.trial import TrialState

        trial = trials_of(self.storage)[suggestion.number]
        status = "failed" if fields is None else fields.get("status")
        if trial.state.is_finished() or status not in ("finished", "pruned", "failed", "diverged"):
            return
        score = score_of(fields or {})
        if status == "finished" and score is not None and math.isfinite(score):
            greater = (fields or {})["metric"]["greater_is_better"]
            self.end_trial(trial, TrialState.COMPLETE, status, [-score if greater else score])
        elif status == "pruned":
            self.end_trial(trial, TrialState.PRUNED, status)
        else:
            # Training that ends with a score that is no number has diverged: to try again changes nothing.
            self.end_trial(trial, TrialState.FAIL, "failed" if status == "failed" else "diverged")

    def callback(self, suggestion: Suggestion) -> dict[str, Any]:
        """The node of its configuration, `callbacks.pruning`, by which `settings.pruner` may end it."""
        return {
            "_target_": "trainer_cli.callbacks.Pruning",
            "journal": str(self.path),
            "trial": suggestion.number,
            "pruner": self.settings.pruner,
        }

    def fits(self, trial: Any) -> bool:
        """Whether its values are ones of the axes as they are now."""
        return trial.params.keys() == {axis.key for axis in self.axes} and all(
            axis.has(trial.params[axis.key]) for axis in self.axes
        )

    def open_trial(self, params: Mapping[str, Value], attributes: Mapping[str, Any]) -> None:
        """Write a trial that runs from now on: one line, whole or not at all."""
        from optuna.trial import TrialState, create_trial

        with silent():
            trial = create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=distributions(self.axes),
                user_attrs=dict(attributes),
            )
        self.storage.create_new_trial(self.study_id, template_trial=trial)

    def end_trial(self, trial: Any, state: Any, status: str, values: list[float] | None = None) -> None:
        """Write how a trial ended; it is open until the second of the two lines is there."""
        self.storage.set_trial_user_attr(trial._trial_id, STATUS, status)
        self.storage.set_trial_state_values(trial._trial_id, state, values)

    def sampled(self, number: int, known: Sequence[Any]) -> list[Value]:
        """What Optuna's sampler proposes after these trials."""
        import optuna

        spans = distributions(self.axes)
        seed = random.Random(f"{self.settings.seed} {number}").getrandbits(32)
        with silent():
            if self.settings.search == "gp":
                sampler: Any = optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
            else:
                sampler = optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=STARTUP, constant_liar=self.settings.jobs > 1
                )
            study = optuna.create_study(sampler=sampler)
            study.add_trials([lesson for trial in known if (lesson := lesson_of(trial, spans)) is not None])
            params = study.ask(spans).params
        return [as_value(axis, params[axis.key]) for axis in self.axes]


def study_of(storage: Any) -> int:
    """The one study of a journal, made where there is none."""
    from optuna.study import StudyDirection

    for study in storage.get_all_studies():
        if study.study_name == STUDY:
            return int(study._study_id)
    return int(storage.create_new_study([StudyDirection.MINIMIZE], STUDY))


def distributions(axes: Sequence[Axis]) -> dict[str, Any]:
    """The axes as Optuna has them."""
    return {axis.key: distribution(axis) for axis in axes}


def distribution(axis: Axis) -> Any:
    """An axis as Optuna has it; the numbers of a range are drawn from all around them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, Choices):
        return CategoricalDistribution(axis.values)
    if axis.whole and not axis.steps:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(*axis.bounds, log=axis.log)


def as_value(axis: Axis, drawn: Value) -> Value:
    """The value of the axis for what Optuna drew."""
    return axis.nearest(float(drawn)) if isinstance(axis, Numbers) else drawn


def lesson_of(trial: Any, spans: Mapping[str, Any]) -> Any:
    """The trial as a sampler is to see it, on the axes as they are now; None where it teaches nothing.

    One that diverged counts as pruned before its first evaluation: that is worse than all others.
    """
    from optuna.trial import TrialState, create_trial

    state = trial.state
    if state == TrialState.FAIL:
        if trial.user_attrs.get(STATUS) != "diverged":
            return None
        state = TrialState.PRUNED
    return create_trial(
        state=state,
        values=trial.values,
        params=trial.params,
        distributions=dict(spans),
        intermediate_values=trial.intermediate_values if trial.state == state else {},
    )


def quasi_random(axes: Sequence[Axis], seed: int, number: int) -> list[Value]:
    """The point of that number of a scrambled Sobol sequence, which fills the space evenly."""
    try:
        import numpy
        from scipy.stats.qmc import Sobol
    except ImportError as error:
        raise missing_extra("scipy", "sweep") from error
    points = Sobol(len(axes), seed=numpy.random.default_rng(seed))
    if number:
        points.fast_forward(number)
    return [axis.at(float(share)) for axis, share in zip(axes, points.random()[0], strict=True)]


def evolved(axes: Sequence[Axis], seed: int, number: int, known: Sequence[Any]) -> tuple[list[Value], int]:
    """What CMA-ES proposes after these trials, and of which generation that is.

    Its state is made again from the trials; a generation is over when as many of its trials as it has members
    have ended. What was pruned or diverged comes last in it. Choices are drawn at random.
    """
    try:
        import cmaes
        import numpy
    except ImportError as error:
        raise missing_extra("cmaes", "sweep") from error
    numbers = [axis for axis in axes if isinstance(axis, Numbers) and axis.low < axis.high]
    values = {axis.key: axis.at(chance(seed, number, axis.key)) for axis in axes}
    if not numbers:
        return list(values.values()), 0
    size = len(numbers)
    bounds = numpy.array([[0.0, 1.0]] * size)
    optimizer = cmaes.CMA(numpy.full(size, 0.5), 1 / 6, bounds, n_max_resampling=10 * size, seed=seed)
    while True:
        generation = [trial for trial in known if trial.user_attrs.get(GENERATION) == optimizer.generation]
        ended = [trial for trial in generation if trial.user_attrs.get(STATUS) not in (None, "failed")]
        members = ended[: optimizer.population_size]
        if len(members) < optimizer.population_size:
            break
        optimizer.tell(
            [
                (
                    numpy.array([axis.share(trial.params[axis.key]) for axis in numbers]),
                    math.inf if trial.value is None or trial.state.name != "COMPLETE" else trial.value,
                )
                for trial in members
            ]
        )
    optimizer.reseed_rng(random.Random(f"{seed} {number}").getrandbits(32))
    point = optimizer.ask()
    values |= {axis.key: axis.at(float(share)) for axis, share in zip(numbers, point, strict=True)}
    return list(values.values()), optimizer.generation
