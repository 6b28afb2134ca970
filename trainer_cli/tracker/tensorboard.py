"""TensorBoard: event files in the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.tracker.base import Once, Status, Tracker, installed
from trainer_cli.tracker.jsonl import kept_rows
from trainer_cli.tracker.run import Run

FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """Writes each number as a scalar, and the configuration as text.

    Args:
        timeout: Seconds that the end of the run waits for what is still to be written.
    """

    def __init__(self, timeout: float) -> None:
        installed("tensorboard", "tensorboard")
        self.package = installed("torch.utils.tensorboard", "tensorboard")
        self.timeout = timeout
        self.writer: Any = None
        self.once = Once()

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        if self.writer is not None:
            self.writer.close()
        is_new = not (run_dir / FOLDER).exists()  # it may go on from the checkpoint of another run
        durable.whole_folder(run_dir / FOLDER)
        # What was written of this step and later ones is void; the rows of this step that stay come anew.
        self.writer = self.package.SummaryWriter(str(run_dir / FOLDER), purge_step=step)
        self.writer.add_text("config", f"```yaml\n{Run.read(run_dir).config_text}```", step)
        self.once = Once()
        for row in kept_rows(run_dir, rows):
            if is_new or row["step"] == step:
                self.log(row)

    def log(self, row: Mapping[str, Any]) -> None:
        for name, value in self.once.new(row).items():
            self.writer.add_scalar(name, value, row["step"])
        # A process that is killed takes with it what is not flushed.
        self.writer.flush()

    def close(self, status: Status = "finished") -> None:
        self.writer.close()
