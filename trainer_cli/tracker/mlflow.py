"""MLflow: a database beside the runs, or a server."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_cli.tracker.base import Once, Status, Tracker, installed
from trainer_cli.tracker.jsonl import kept_rows
from trainer_cli.tracker.run import Run

DATABASE = "mlruns.db"
TAG = "trainer_cli.run"
"""The tag by which a run is found again."""

LONGEST = 6000
"""Characters of a parameter's value."""

AT_ONCE = 100
"""Parameters in a request; of numbers it takes ten times as many."""

INTERVAL = 1.0
"""Seconds for which rows are gathered: a request takes milliseconds, whatever is in it."""

STATUS = {"finished": "FINISHED", "pruned": "FINISHED", "preempted": "KILLED"}
"""What MLflow calls how a run ended; all else is FAILED."""


class MLflow(Tracker):
    """Logs to a run of MLflow, which a resumed run goes on with.

    Args:
        tracking_uri: Server or database; null: $MLFLOW_TRACKING_URI, else mlruns.db in args.output_dir.
        experiment: Experiment of the run; null: $MLFLOW_EXPERIMENT_NAME, else the run's name.
        timeout: Seconds that the end of the run waits for what is still to be sent.
    """

    def __init__(self, tracking_uri: str | None, experiment: str | None, timeout: float) -> None:
        self.package = installed("mlflow.tracking", "mlflow")
        self.entities = installed("mlflow.entities", "mlflow")
        self.failure = installed("mlflow.exceptions", "mlflow").MlflowException
        self.uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if self.uri is None:
            installed("sqlalchemy", "mlflow")
            installed("alembic", "mlflow")
        self.experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        self.timeout = timeout
        self.client: Any = None
        self.run_id = ""
        self.once = Once()
        self.waiting: list[Any] = []
        self.sent_at = 0.0

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        for name in ("mlflow", "alembic"):  # the terminal belongs to the run's own lines
            logging.getLogger(name).setLevel(logging.WARNING)
        self.send()
        run = Run.read(run_dir)
        with contextlib.nullcontext() if self.uri else alone_in(run.root):
            self.client = self.package.MlflowClient(self.uri or f"sqlite:///{run.root.resolve() / DATABASE}")
            there = self.find(run)
        self.run_id = there.info.run_id
        self.client.update_run(self.run_id, status="RUNNING")
        new = {name_of(key): text_of(value) for key, value in run.config.items()}
        # A parameter is written once: a run keeps those that it began with.
        self.send_params({name: text for name, text in new.items() if name not in there.data.params})
        recent = kept_rows(run_dir, rows)
        since = min((row["step"] for row in recent), default=step)
        self.once = Once(
            (metric.key, metric.step)
            for key in there.data.metrics
            for metric in self.client.get_metric_history(self.run_id, key)
            if metric.step >= since
        )
        for row in recent:  # a process that was killed may not have sent them
            self.log(row)
        self.send()

    def find(self, run: Run) -> Any:
        """MLflow's run of this one, made where there is none."""
        name = self.experiment or run.name
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            place = None if self.uri else (run.root.resolve() / "mlartifacts").as_uri()
            try:
                self.client.create_experiment(name, artifact_location=place)
            except self.failure:
                if self.client.get_experiment_by_name(name) is None:
                    raise  # and else another run has made it on the server meanwhile
            experiment = self.client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id
        found = self.client.search_runs([experiment_id], f"tags.`{TAG}` = '{run.key}'")
        if found:
            return found[0]
        group = {"sweep": run.group} if run.group else {}
        tags = {TAG: run.key, "directory": str(run.run_dir), **group}
        return self.client.create_run(experiment_id, run_name=run.title, tags=tags)

    def send_params(self, params: Mapping[str, str]) -> None:
        """The configuration, in as many requests as it takes."""
        every = [self.entities.Param(name, text) for name, text in params.items()]
        for first in range(0, len(every), AT_ONCE):
            self.client.log_batch(self.run_id, params=every[first : first + AT_ONCE])

    def log(self, row: Mapping[str, Any]) -> None:
        now = int(time.time() * 1000)
        new = self.once.new({name_of(key): value for key, value in row.items()})
        self.waiting += [self.entities.Metric(name, value, now, row["step"]) for name, value in new.items()]
        if len(self.waiting) >= 5 * AT_ONCE or time.monotonic() - self.sent_at > INTERVAL:
            self.send()

    def send(self) -> None:
        """The numbers that were gathered."""
        while self.waiting:
            self.client.log_batch(self.run_id, metrics=self.waiting[: 10 * AT_ONCE])
            del self.waiting[: 10 * AT_ONCE]
        self.sent_at = time.monotonic()

    def close(self, status: Status = "finished") -> None:
        self.send()
        self.client.set_terminated(self.run_id, STATUS.get(status, "FAILED"))


@contextlib.contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """No other run makes the database of a directory meanwhile: two at once break it."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def name_of(key: str) -> str:
    """The name with what MLflow takes in one."""
    return re.sub(r"[^\w. :/-]", "_", key)[:250]


def text_of(value: Any) -> str:
    """A parameter's value as text."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
