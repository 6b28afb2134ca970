"""What a run looks like while it runs: a live line on a terminal, a plain line a row elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from trainer_cli.callbacks.base import Callback
from trainer_cli.callbacks.throughput import Clock
from trainer_cli.runs.console import console

if TYPE_CHECKING:
    from trainer_cli.data.loader import EvalLoader
    from trainer_cli.engine import Engine

SECONDS_BETWEEN_UPDATES = 0.1


class Progress(Callback):
    """The header, the progress of training and evaluation, and each row of numbers, on standard output."""

    def __init__(self) -> None:
        self.console = console()
        self.bars: Bars | None = None
        self.training: TaskID | None = None
        self.evaluating: TaskID | None = None
        self.shown = 0.0
        self.clock = Clock()

    def on_begin(self, engine: Engine) -> None:
        if engine.strategy.is_main:
            self.print_header(engine)

    def on_train_begin(self, engine: Engine) -> None:
        self.clock.run()
        if engine.strategy.is_main and self.console.is_terminal:
            self.training = self.live().add_task(
                "train", total=engine.total_steps, completed=engine.state.step, numbers=""
            )

    def on_step_end(self, engine: Engine) -> None:
        self.clock.tick()
        if self.bars is None or self.training is None:
            return
        now = monotonic()
        if now - self.shown >= SECONDS_BETWEEN_UPDATES:
            self.shown = now
            self.bars.update(self.training, completed=engine.state.step)

    def on_log(self, engine: Engine, row: Mapping[str, Any]) -> None:
        if not engine.strategy.is_main:
            return
        step = row["step"]
        if "train/loss" not in row:
            self.console.print(f"step {step} · {numbers(row)}", soft_wrap=True)
            return
        text = numbers(row)
        if "train/samples_per_second" not in row:
            updates, seconds = self.clock.lap()
            text += f" · {updates * engine.train_loader.global_batch / seconds:.0f} samples/s"
        if self.bars is not None and self.training is not None:
            self.bars.update(self.training, completed=step, numbers=text)
        else:
            place = f"step {step}/{engine.total_steps} · epoch {row['epoch']:.2f}"
            self.console.print(f"{place} · {text}", soft_wrap=True)

    def on_evaluate_begin(self, engine: Engine, loader: EvalLoader) -> None:
        self.clock.pause(engine.strategy.device)
        self.end_evaluation()
        if engine.strategy.is_main and self.console.is_terminal:
            self.evaluating = self.live().add_task("eval", total=loader.batches, numbers="")

    def on_evaluate_step(self, engine: Engine) -> None:
        if self.bars is not None and self.evaluating is not None:
            self.bars.advance(self.evaluating)

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.end_evaluation()
        self.clock.run()

    def on_predict(self, engine: Engine, file: Path) -> None:
        self.end_evaluation()

    def on_save(self, engine: Engine, checkpoint: Path) -> None:
        self.clock.run()

    def on_train_end(self, engine: Engine) -> None:
        if engine.strategy.is_main and engine.state.stop is not None:
            self.console.print(f"stopped at step {engine.state.step}: {engine.state.stop}")
        self.close()

    def on_end(self, engine: Engine) -> None:
        self.close()

    def print_header(self, engine: Engine) -> None:
        """What runs, on what, and where it goes."""
        for name, text in {**engine.summary, "run": str(engine.run_dir)}.items():
            self.console.print(f"[bold]{name:>8}[/bold]  {text}", soft_wrap=True)

    def live(self) -> Bars:
        """The live lines, started when first asked for."""
        if self.bars is None:
            self.bars = Bars(
                TextColumn("{task.description:>5}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[numbers]}"),
                console=self.console,
                refresh_per_second=10,
            )
            self.bars.start()
        return self.bars

    def end_evaluation(self) -> None:
        """Take away the line of the evaluation set that was last gone through."""
        if self.bars is not None and self.evaluating is not None:
            self.bars.remove_task(self.evaluating)
            self.evaluating = None

    def close(self) -> None:
        """Leave the last state of the live lines on the screen and give the terminal back."""
        if self.bars is not None:
            self.bars.stop()
        self.bars = self.training = self.evaluating = None


def numbers(row: Mapping[str, Any]) -> str:
    """The row's numbers in one line, without the group that all share; of the learning rates one."""
    return " · ".join(
        f"{name.removeprefix('train/')} {short(value)}"
        for name, value in row.items()
        if name not in ("step", "epoch") and not name.startswith("train/lr/")
    )


def short(value: float) -> str:
    """The number in four digits, from a thousand on without a point: 0.1235, 21,362, 3.142e+12."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
