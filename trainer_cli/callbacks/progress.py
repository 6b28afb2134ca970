"""What a run looks like while it runs: live lines on a terminal, a plain line a row elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from trainer_cli.callbacks.base import Callback
from trainer_cli.callbacks.live import RunView
from trainer_cli.callbacks.throughput import Clock, count_tokens
from trainer_cli.runs.console import console
from trainer_cli.runs.screen import Screen, short

if TYPE_CHECKING:
    from trainer_cli.data.loader import EvalLoader, GlobalBatch
    from trainer_cli.engine import Engine


class Progress(Callback):
    """The header, the progress of training and evaluation, and each row of numbers, on standard output."""

    def __init__(self) -> None:
        self.console = console()
        self.clock = Clock()
        self.pending = (0, 0)
        self.view: RunView | None = None
        self.screen: Screen | None = None

    def on_begin(self, engine: Engine) -> None:
        if engine.strategy.is_main:
            self.print_header(engine)

    def on_train_begin(self, engine: Engine) -> None:
        if (view := self.look(engine)) is not None:
            view.train()
            self.show(view)
        self.clock.run()

    def on_step_begin(self, engine: Engine, batch: GlobalBatch) -> None:
        if self.view is not None:
            self.pending = len(batch.rows), count_tokens(batch)

    def on_step_end(self, engine: Engine) -> None:
        self.clock.tick()
        if self.view is not None:
            self.view.update(*self.pending)

    def on_log(self, engine: Engine, row: Mapping[str, Any]) -> None:
        if not engine.strategy.is_main:
            return
        if "train/loss" not in row:
            # Words in a terminal, whole lines elsewhere.
            text = f"step {row['step']} · {numbers(row)}"
            self.console.print(text, soft_wrap=not self.console.is_interactive)
            if self.view is not None:
                self.view.scores = row
        elif self.view is not None:
            self.view.log(row)
        else:
            self.print_row(engine, row)

    def print_row(self, engine: Engine, row: Mapping[str, Any]) -> None:
        """A training row as a plain line."""
        text = f"step {row['step']}/{engine.total_steps} · epoch {row['epoch']:.2f} · {numbers(row)}"
        if "train/samples_per_second" not in row:
            updates, seconds = self.clock.lap()
            if updates:
                text += f" · {updates * engine.train_loader.global_batch / seconds:.0f} samples/s"
        self.console.print(text, soft_wrap=True)

    def on_evaluate_begin(self, engine: Engine, loader: EvalLoader) -> None:
        self.clock.pause(engine.strategy.device)
        if (view := self.look(engine)) is not None:
            view.evaluate(loader)
            self.show(view)

    def on_evaluate_step(self, engine: Engine) -> None:
        if self.view is not None and self.view.evaluation is not None:
            self.view.evaluation.done += 1

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.end_evaluation()
        self.clock.run()

    def on_predict(self, engine: Engine, file: Path) -> None:
        self.end_evaluation()

    def on_save(self, engine: Engine, checkpoint: Path) -> None:
        self.clock.run()
        if self.view is not None:
            self.view.saved = engine.state.saved_step

    def on_train_end(self, engine: Engine) -> None:
        if self.view is not None:
            self.view.end()
        self.close()
        if engine.strategy.is_main and engine.state.stop is not None:
            self.console.print(f"stopped at step {engine.state.step}: {engine.state.stop}")

    def on_end(self, engine: Engine) -> None:
        if self.view is not None:
            self.view.end()
        self.close()

    def print_header(self, engine: Engine) -> None:
        """What runs, on what, and where it goes."""
        for name, text in {**engine.summary, "run": str(engine.run_dir)}.items():
            self.console.print(Text.assemble((f"{name:>8}", "bold"), "  ", text), soft_wrap=True)

    def look(self, engine: Engine) -> RunView | None:
        """What there is to see of the run; None in a process without a terminal of its own."""
        if self.view is None and engine.strategy.is_main and self.console.is_interactive:
            self.view = RunView(engine, self.clock)
        return self.view

    def show(self, view: RunView) -> None:
        """Put the view on the terminal, if it is not there; outside of training nothing is left of it."""
        if self.screen is None:
            self.screen = Screen(self.console, view.lines, transient=not view.training)
            self.screen.start()

    def end_evaluation(self) -> None:
        """The pass over a set is over, or all of them are."""
        if self.view is not None:
            self.view.evaluation = None
            if not self.view.training:
                self.close()

    def close(self) -> None:
        """Leave the last state of the live lines on the screen and give the terminal back."""
        if self.screen is not None:
            self.screen.stop()
        self.screen = self.view = None


def numbers(row: Mapping[str, Any]) -> str:
    """The row's numbers in one line, without the group that all share; of the learning rates one."""
    return " · ".join(
        f"{name.removeprefix('train/')} {short(value)}"
        for name, value in row.items()
        if name not in ("step", "epoch") and not name.startswith("train/lr/")
    )
