"""What a preflight tries of a run, one stage after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, Subset

from trainer_cli import loop, runner, saving
from trainer_cli.checkpoint import Checkpoints
from trainer_cli.checkpoint.compare import compare
from trainer_cli.checkpoint.saver import Saver
from trainer_cli.checkpoint.store import STATE
from trainer_cli.config.errors import RunFailed, UserError, megabytes
from trainer_cli.config.instantiate import parts
from trainer_cli.data.loader import EvalLoader, GlobalBatch, KnowsLengths
from trainer_cli.engine import Engine
from trainer_cli.model import storage
from trainer_cli.model.dropout import fast_dropout
from trainer_cli.model.neftune import embedding_noise
from trainer_cli.restore import restore

TIMED = 3
"""Updates by which the whole run's time is estimated, of which the first is left out."""


class StageFailed(Exception):
    """A stage of the preflight failed, by the error that this one was raised from."""

    def block(self) -> str:
        """The stage, and what the error says."""
        error = self.__cause__
        if isinstance(error, UserError):
            return f"preflight failed in {self}\n{error.block()}"
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        return f"preflight failed in {self}\nerror: {type(error).__name__}: {error}{notes}"


@dataclass
class Report:
    """A line for each stage, as soon as it is done; `speaks` in the main process, whose memory it shows."""

    speaks: bool
    engine: Engine | None = None

    def line(self, stage: str, result: str, seconds: str, memory: str, details: str) -> None:
        """Print the cells in their columns."""
        if self.speaks:
            print(f"{stage:<30} {result:<6} {seconds:>7} {memory:>13}   {details}".rstrip(), flush=True)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Carry out a stage and print its line; raises StageFailed."""
        stage, begin = Stage(name), time.monotonic()
        try:
            yield stage
            synchronize(self.engine)
        except Exception as error:
            self.line(name, "failed", f"{time.monotonic() - begin:.1f} s", "", "")
            raise StageFailed(name) from error
        seconds = time.monotonic() - begin
        memory = megabytes(peak_memory(self.engine))
        self.line(name, "ok", f"{seconds:.1f} s", memory, stage.details)


@dataclass
class Stage:
    """A stage at work, and what else its line says."""

    name: str
    details: str = ""


def attempt(config: dict[str, Any], run_dir: Path, folders: Sequence[Path]) -> None:
    """All stages in their order; raises StageFailed at the first that fails."""
    report = Report(speaks=os.environ.get("RANK", "0") == "0")
    report.line("preflight", "result", "time", "peak memory", "")
    with report.stage("build"):
        engine = runner.build({**config, "tracker": {}}, run_dir, folders=folders)
        report.engine = engine
    try_trackers(report, engine, config["tracker"])
    trains = engine.total_steps > 0
    with in_training(engine):
        if trains:
            try_training_step(report, engine)
        for name in engine.eval_loaders:
            try_evaluation(report, engine, name)
        if not trains:
            return
        checkpoint = try_saving(report, engine)
        seconds = time_updates(report, engine)
        if (checkpoint / STATE).is_file():
            try_reloading(report, engine, checkpoint)
    with report.stage("room on the disk") as stage:
        check_room(engine, directory_size(checkpoint), stage)
    if report.speaks:
        steps = engine.total_steps
        print(f"\n{duration(seconds * steps)} for {steps:,} updates of {seconds:.2g} s each", end="")
        print(", and what evaluations and saves take")
    engine.strategy.barrier()


def try_trackers(report: Report, engine: Engine, config: dict[str, Any]) -> None:
    """Start each tracker, which logs in where it has to, and end it again."""
    if not engine.strategy.is_main:
        return
    for name in config:
        with report.stage(f"tracker {name}"):
            for tracker in parts("tracker", {name: config[name]}).values():
                tracker.start(engine.run_dir, 0, 0)
                tracker.close()


def try_evaluation(report: Report, engine: Engine, name: str) -> None:
    """Score the first batch of a set, which has its longest rows where lengths are known."""
    loader = engine.eval_loaders[name]
    with report.stage(f"evaluation of {name}" if name else "evaluation") as stage:
        rows = loader.per_device * loader.world_size
        engine.eval_loaders[name] = first_batch(loader, rows)
        with engine.averaging.applied():
            loop.evaluate_in_memory(engine, name)
        stage.details = f"{engine.eval_loaders[name].per_device} rows"


def first_batch(loader: EvalLoader, rows: int) -> EvalLoader:
    """The loader of so many rows alone."""
    if isinstance(loader.dataset, IterableDataset):
        return dataclasses.replace(loader, dataset=Head(loader.dataset, rows))
    some = Subset(loader.dataset, longest(loader.dataset, rows))
    return dataclasses.replace(loader, dataset=some, keep_order=True)


def longest(dataset: Any, rows: int) -> list[int]:
    """So many rows of a dataset, the longest where it knows their lengths, else the first."""
    order: Sequence[int] = range(len(dataset))
    if isinstance(dataset, KnowsLengths):
        order = sorted(order, key=dataset.lengths.__getitem__, reverse=True)
    return list(order[:rows])


class Head(IterableDataset[Any]):
    """The first rows of a stream."""

    def __init__(self, stream: IterableDataset[Any], rows: int) -> None:
        self.stream = stream
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.stream), self.rows)


@contextlib.contextmanager
def in_training(engine: Engine) -> Iterator[None]:
    """What a run puts around its training, and what its callbacks are told of it."""
    alpha = engine.args.neftune_noise_alpha
    with contextlib.ExitStack() as stack:
        if engine.strategy.device.type == "cpu":
            stack.enter_context(fast_dropout())
        if alpha:
            stack.enter_context(embedding_noise(engine.module, alpha))
        try:
            yield
        finally:
            engine.notify("on_end")


def try_training_step(report: Report, engine: Engine) -> None:
    """An update on the longest batch; where memory runs out and the run would shrink it, so does this."""
    with report.stage("update on the longest batch") as stage:
        for event in ("on_begin", "on_train_begin", "on_epoch_begin"):
            engine.notify(event)
        while True:
            try:
                batch = longest_batch(engine)
                engine.notify("on_step_begin", batch)
                update = loop.train_step(engine, batch.micro_batches)
                break
            except (RuntimeError, MemoryError) as error:
                loop.shrink_micro_batch(engine, error)
        if not update.made and not engine.scaler.is_enabled():
            norm = update.grad_norm
            raise RunFailed(f"the update has loss {update.loss_sum():g}, gradient norm {norm:g}")
        loader = engine.train_loader
        engine.state.step = 1  # also where a scaled loss overflowed, as it may at first
        engine.notify("on_step_end")
        loop.log_window(engine)
        stage.details = f"{loader.accumulation} × {loader.per_device} rows"


def longest_batch(engine: Engine) -> GlobalBatch:
    """What takes most memory: the longest rows where their lengths are known, else the first ones."""
    loader = engine.train_loader
    rows = loader.global_batch
    if not isinstance(loader.dataset, IterableDataset):
        some = Subset(loader.dataset, longest(loader.dataset, rows))
        loader = dataclasses.replace(loader, dataset=some, sampling="sequential")
    with contextlib.closing(loader.updates(0, 0, rows)) as updates:  # type: ignore[type-var]
        return next(updates)


def try_saving(report: Report, engine: Engine) -> Path:
    """A checkpoint, as the run writes it; returns its directory."""
    with report.stage("save") as stage:
        engine.state.saved_step = None
        saving.save(engine)
        saving.finish(engine)
        engine.strategy.barrier()
        path = engine.checkpoints.path(engine.state.step)
        stage.details = megabytes(directory_size(path))
    return path


def time_updates(report: Report, engine: Engine) -> float:
    """Seconds of an update on the batches that a run begins with."""
    loader, times = engine.train_loader, []
    with report.stage("updates of the first epoch") as stage:
        with contextlib.closing(loader.updates(0, 0, loader.global_batch)) as updates:  # type: ignore[type-var]
            begin = time.monotonic()
            for batch, _ in zip(updates, range(TIMED)):
                loop.train_step(engine, batch.micro_batches)
                synchronize(engine)
                times.append(time.monotonic() - begin)
                begin = time.monotonic()
        stage.details = f"{len(times)} of them"
    counted = times[1:] or times
    return sum(counted) / len(counted)


def try_reloading(report: Report, engine: Engine, checkpoint: Path) -> None:
    """The run put back to its checkpoint, and saved again: both must be the same, bit for bit."""
    with report.stage("reload, compared bit for bit") as stage:
        restore(engine, checkpoint)
        again = engine.run_dir / "again"
        engine.checkpoints = Checkpoints(again, None)
        engine.saver = Saver(engine.checkpoints, in_background=False, on_full="stop")
        if engine.strategy.is_main:
            again.mkdir()
        save_again(engine)
        if engine.strategy.is_main:
            files = compare(checkpoint, engine.checkpoints.path(engine.state.step))
            differing = [
                f"{item.file}: {name} {how}" for item in files for name, how in item.differing.items()
            ]
            if differing:
                raise RunFailed("what was loaded is not what was saved", right="\n".join(differing[:5]))
            tensors = sum(item.count for item in files if item.file.endswith(".safetensors"))
            stage.details = f"{tensors} tensors, the state, and all else"
        engine.strategy.barrier()


def save_again(engine: Engine) -> None:
    """A checkpoint of a step that has one."""
    engine.state.saved_step = None
    saving.save(engine)
    saving.finish(engine)


def check_room(engine: Engine, checkpoint: int, stage: Stage) -> None:
    """Raise RunFailed unless the disk has room for all that the run keeps at a time."""
    kept = checkpoints_kept(engine)
    need = checkpoint * kept + model_size(engine)
    free = shutil.disk_usage(engine.run_dir).free + directory_size(engine.run_dir)
    stage.details = f"needs {megabytes(need)} of {megabytes(free)}"
    if need > free:
        raise RunFailed(
            f"{kept} checkpoints and the model need {megabytes(need)}, and {megabytes(free)} are free",
            right="a smaller args.save_total_limit, args.save_only_model=true, or another args.output_dir",
        )


def checkpoints_kept(engine: Engine) -> int:
    """The most checkpoints that there are at a time: one more than the limit while the newest is written."""
    args, steps = engine.args, engine.total_steps
    if args.save_strategy == "no":
        return 0
    is_best = args.save_strategy == "best"
    every = args.eval_steps or 1 if is_best else args.save_steps
    if (args.eval_strategy if is_best else args.save_strategy) == "epoch":
        every = engine.train_loader.updates_per_epoch or steps
    saves = 1 + int(steps // every)
    return saves if args.save_total_limit is None else min(saves, args.save_total_limit + 1)


def model_size(engine: Engine) -> int:
    """Bytes of the model that a run leaves."""
    return storage.size(engine.module)


def directory_size(path: Path) -> int:
    """Bytes of all files below."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def synchronize(engine: Engine | None) -> None:
    """Wait for the device: its errors are this stage's, and its time too."""
    if engine is not None and engine.strategy.device.type == "cuda":
        torch.cuda.synchronize(engine.strategy.device)


def peak_memory(engine: Engine | None) -> int:
    """The most bytes so far, of the device's memory where it has its own, else of main memory."""
    if engine is not None and engine.strategy.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(engine.strategy.device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 1:
        return "less than a second"
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
