"""Weights & Biases."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trainer_cli import durable
from trainer_cli.tracker.base import Status, Tracker, installed, numbers
from trainer_cli.tracker.run import Run

log = logging.getLogger(__name__)


class WandB(Tracker):
    """Logs to a run of Weights & Biases, which a resumed run goes on with; the key is that of `wandb login`.

    Args:
        project: Project of the run; null: $WANDB_PROJECT, else the run's name.
        entity: User or team that it belongs to; null: wandb's own choice.
        mode: Offline keeps all in the run's directory, for `wandb sync`; null: $WANDB_MODE, else online.
        timeout: Seconds that the end of the run waits for what is still to be sent.
    """

    def __init__(
        self,
        project: str | None,
        entity: str | None,
        mode: Literal["online", "offline", "disabled"] | None,
        timeout: float,
    ) -> None:
        self.package = installed("wandb", "wandb")
        self.project = project
        self.entity = entity
        self.mode = mode
        self.timeout = timeout
        self.run: Any = None

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        if self.run is not None:
            return
        durable.check_folder(run_dir / "wandb")
        run = Run.read(run_dir)
        self.run = self.package.init(
            project=self.project or os.environ.get("WANDB_PROJECT") or run.name,
            entity=self.entity,
            mode=self.mode,
            id=run.key,
            name=run.title,
            group=run.group,
            dir=str(run_dir),
            config=run.config,
            resume="allow",
            # It neither speaks nor asks, and leaves the terminal to the run's own lines. Nor does it note the
            # command line, which may have secrets.
            settings=self.package.Settings(silent=True, console="off", x_disable_meta=True),
        )
        if not self.run.offline:
            log.info("wandb: %s", self.run.url)

    def log(self, row: Mapping[str, Any]) -> None:
        # A step is written once: wandb passes over one that is before its newest.
        self.run.log(numbers(row), step=row["step"])

    def close(self, status: Status = "finished") -> None:
        if status == "preempted":
            self.run.mark_preempting()
        self.run.finish(exit_code=0 if status in ("finished", "pruned") else 1)
