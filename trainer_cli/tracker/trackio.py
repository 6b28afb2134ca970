"""Trackio: a local dashboard, or one in a Space of the Hugging Face Hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_cli.tracker.base import Once, Status, Tracker, installed
from trainer_cli.tracker.jsonl import kept_rows
from trainer_cli.tracker.run import Run

log = logging.getLogger(__name__)

REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables that send a run elsewhere."""


class Trackio(Tracker):
    """Logs to a run of Trackio, which a resumed run goes on with; `trackio show` opens the dashboard.

    Args:
        project: Project of the run; null: the run's name.
        space_id: Space to log to; null: $TRACKIO_SPACE_ID, else this machine, in $TRACKIO_DIR.
        bucket_id: Bucket that keeps the Space's data; null: Trackio's own choice.
        private: Whether a Space that is made for it is private; null: as the organisation has it.
        timeout: Seconds that the end of the run waits for what is still to be sent.
    """

    def __init__(
        self,
        project: str | None,
        space_id: str | None,
        bucket_id: str | None,
        private: bool | None,
        timeout: float,
    ) -> None:
        self.package = installed("trackio", "trackio")
        self.storage = installed("trackio.sqlite_storage", "trackio").SQLiteStorage
        for module in ("trackio", "trackio.run", "trackio.utils", "trackio.deploy"):
            # It has no setting to be silent, and the terminal belongs to the run's own lines.
            installed(module, "trackio").print = note
        self.project = project
        self.space_id = space_id
        self.bucket_id = bucket_id
        self.private = private
        self.timeout = timeout
        self.run: Any = None
        self.once = Once()

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        run = Run.read(run_dir)
        if self.run is not None:
            self.run.finish()
        self.run = self.package.init(
            project=self.project or run.name,
            name=run.title,
            group=run.group,
            space_id=self.space_id,
            bucket_id=self.bucket_id,
            private=self.private,
            config=run.config,
            resume="allow",
            embed=False,
        )
        if step == 0 or self.space_id or any(os.environ.get(name) for name in REMOTE):
            return  # what is elsewhere cannot be read: rows that come again stand there twice
        recent = kept_rows(run_dir, rows)
        since = min((row["step"] for row in recent), default=step)
        self.once = Once(
            (name, one["step"])
            for one in self.storage.get_logs(self.run.project, self.run.name, run_id=self.run.id)
            if one["step"] >= since
            for name in one
        )
        for row in recent:  # a process that was killed may not have sent them
            self.log(row)

    def log(self, row: Mapping[str, Any]) -> None:
        if new := self.once.new(row):
            self.run.log(new, step=row["step"])

    def close(self, status: Status = "finished") -> None:
        self.run.finish()


def note(*words: object, **_: object) -> None:
    """What Trackio prints, in train.log."""
    log.debug(" ".join(map(str, words)))
