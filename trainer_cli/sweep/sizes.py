"""What a job of a sweep takes: its steps, its room on the disk, and with a measurement its time."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_cli.config.compose import Composition
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.plan import built

if TYPE_CHECKING:
    from trainer_cli.engine import Engine

MEASURED_UPDATES = 6
"""Updates that are timed, of which the first is left out."""

MEASURED_BATCHES = 3
"""Evaluation batches that are timed."""

NO_PART = ("callbacks", "tracker", "checkpoint", "run", "sweep", "resume")
"""Sections that change neither what a job takes nor whether it can be built."""

ARGS_OF_NO_PART = (
    "seed",
    "data_seed",
    "output_dir",
    "max_grad_norm",
    "max_grad_value",
    "logging_strategy",
    "logging_steps",
    "logging_first_step",
    "log_level",
)


@dataclass(frozen=True)
class Size:
    """What a job takes: optimizer updates, bytes on the disk at most, and seconds where they are known."""

    steps: int
    disk: int
    seconds: float | None = None


def kind(config: Mapping[str, Any]) -> str:
    """By what jobs are of one size: their configuration, less seeds and all that is a rate or a factor."""
    kept = {name: section for name, section in config.items() if name not in NO_PART}
    kept["args"] = {name: value for name, value in config["args"].items() if name not in ARGS_OF_NO_PART}
    for section in ("optim", "scheduler", "loss"):
        kept[section] = without_fractions(config[section])
    return json.dumps(kept, sort_keys=True)


def without_fractions(value: Any) -> Any:
    """The value, of its numbers only the whole ones."""
    if isinstance(value, dict):
        return {name: without_fractions(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_fractions(item) for item in value]
    return None if isinstance(value, float) else value


def size_of(composition: Composition, measure: bool) -> Size:
    """Build the job without a run's directory; raises UserError where it cannot be built, or measured."""
    imported = seconds_to_import()  # in any case here, for the first kind not to count it as its own
    start = 0.0 if composition.config["sweep"]["warm"] else imported
    from trainer_cli import preview
    from trainer_cli.preflight import give_back_memory
    from trainer_cli.trials import checkpoints_kept, model_size

    begin = time.perf_counter()
    with built(composition, callbacks=False) as engine:
        seconds = start + time.perf_counter() - begin
        processes = composition.config["strategy"]["num_processes"] or 1
        trains = engine.total_steps > 0
        steps = preview.update_count(engine, processes) if trains else 0
        if measure:
            try:
                seconds += time_of(engine, steps, processes)
            except UserError:
                raise
            except Exception as error:
                right = "trainer-cli plan --preflight tries each part of it"
                raise RunFailed(f"{type(error).__name__}: {error}", right=right) from error
        # It leaves the optimizer unfit for training, so it comes last.
        disk = (
            preview.checkpoint_size(engine) * checkpoints_kept(engine) + model_size(engine) if trains else 0
        )
    del engine
    give_back_memory()
    return Size(steps, disk, seconds if measure else None)


@functools.cache
def seconds_to_import() -> float:
    """The time that importing torch took this process, and takes each job's."""
    begin = time.perf_counter()
    from trainer_cli import runner  # noqa: F401

    return time.perf_counter() - begin


def time_of(engine: Engine, steps: int, processes: int) -> float:
    """Seconds that the updates and the evaluations of a job take, by a few of each."""
    from trainer_cli.trials import in_training

    with in_training(engine):
        updates = steps * seconds_an_update(engine) if steps else 0.0
        evaluation = seconds_an_evaluation(engine) / processes
    return updates + evaluations(engine, steps, processes) * evaluation


def seconds_an_update(engine: Engine) -> float:
    """The median of a few updates on the batches that a run begins with."""
    from trainer_cli import loop
    from trainer_cli.trials import synchronize

    loader, times = engine.train_loader, []
    with contextlib.closing(loader.updates(0, 0, loader.global_batch)) as updates:  # type: ignore[type-var]
        begin = time.perf_counter()
        for batch in itertools.islice(updates, MEASURED_UPDATES):
            loop.train_step(engine, batch.micro_batches)
            synchronize(engine)
            times.append(time.perf_counter() - begin)
            begin = time.perf_counter()
    return statistics.median(times[1:] or times)


def seconds_an_evaluation(engine: Engine) -> float:
    """All evaluation sets once, by a few batches of each; a stream, which has no known end, is left out."""
    from torch.utils.data import IterableDataset, Subset

    from trainer_cli import loop
    from trainer_cli.trials import longest, synchronize

    total = 0.0
    for loader in engine.eval_loaders.values():
        dataset: Any = loader.dataset
        if isinstance(dataset, IterableDataset) or not len(dataset):
            continue
        rows = loader.per_device * MEASURED_BATCHES
        # From the longest to the shortest, as it evaluates: batches of long rows take their share.
        order = longest(dataset, len(dataset))
        some = order[:: math.ceil(len(order) / rows)]
        sample = replace(loader, dataset=Subset(dataset, some), keep_order=True)
        with engine.averaging.applied():
            loop.evaluate_set(engine, replace(sample, dataset=Subset(dataset, some[: loader.per_device])))
            begin = time.perf_counter()
            loop.evaluate_set(engine, sample)
            synchronize(engine)
        total += (time.perf_counter() - begin) * len(order) / len(some)
    return total


def evaluations(engine: Engine, steps: int, processes: int) -> int:
    """How often a job evaluates; what is evaluated at the last step is not evaluated again at the end."""
    args = engine.args
    every, delay = math.inf, args.eval_delay
    if steps and args.eval_strategy == "steps":
        every = args.eval_steps or 1
        delay /= every
    elif steps and args.eval_strategy == "epoch":
        every = replace(engine.train_loader, world_size=processes).updates_per_epoch or steps
    while_training = max(0, int(steps // every) - max(math.ceil(delay) - 1, 0))
    at_the_end = "eval" in args.stages and (not while_training or steps % every != 0)
    return while_training + at_the_end + (bool(steps) and args.eval_on_start)
