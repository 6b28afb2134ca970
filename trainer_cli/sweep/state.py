"""How a job of a sweep stands, as the sweep hands it to its view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class JobState:
    """A job while its sweep runs.

    `status` is waiting, running, or how its run ended: finished, pruned, diverged, failed, preempted. `kept`
    says that it had ended so before this command. `seconds` is the time that it has run under this command,
    `error` the one-line cause of a failure. `run_dir` is None until it has been started.
    """

    number: int
    label: str
    status: str = "waiting"
    kept: bool = False
    run_dir: Path | None = None
    seconds: float = 0.0
    error: str | None = None


FAILED = ("failed", "diverged")
"""How a job ends that has no model."""
