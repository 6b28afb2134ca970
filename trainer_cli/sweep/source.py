"""Which job of a sweep comes next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from trainer_cli.sweep.jobs import Job, Jobs
from trainer_cli.sweep.search import Suggestion


class Source(Protocol):
    """Hands out jobs, and is told how each ended."""

    def next(self) -> Job | None:
        """The next job; None where there is none, or none before another has ended."""

    def ended(self, job: Job, fields: Mapping[str, Any] | None) -> None:
        """A job has ended, with this run.json; None: it never became a run."""


class Listed:
    """The jobs of a grid or a random search, in their order."""

    def __init__(self, jobs: Jobs) -> None:
        self.waiting = iter(list(jobs.jobs))

    def next(self) -> Job | None:
        return next(self.waiting, None)

    def ended(self, job: Job, fields: Mapping[str, Any] | None) -> None:
        return


class Searched:
    """The jobs that an Optuna study asks for, one after the other."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.study = jobs.study()
        self.study.unfinished()  # opens what failed
        self.before = self.study.asked()
        self.asked: dict[str, list[Suggestion]] = {}
        self.results: dict[str, Mapping[str, Any] | None] = {}

    def next(self) -> Job | None:
        while (suggestion := self.before.pop(0) if self.before else self.study.ask()) is not None:
            job, is_new = self.job_of(suggestion)
            self.jobs.record.update()
            if is_new:
                self.asked[job.id] = [suggestion]
                return job
            # The same values as an earlier one's: it comes to the same, now or when that one ends.
            if job.id in self.results:
                self.study.tell(suggestion, self.results[job.id])
            else:
                self.asked[job.id].append(suggestion)
        return None

    def job_of(self, suggestion: Suggestion) -> tuple[Job, bool]:
        """The job of these values, and whether it is another than all before."""

        def add_pruning(config: dict[str, Any]) -> None:
            if self.jobs.settings.pruner is not None:
                config["callbacks"]["pruning"] = self.study.callback(suggestion)

        added = self.jobs.add([[*self.jobs.axes.fixed, *suggestion.words]], add_pruning)
        if added:
            return added[0], True
        number = self.jobs.duplicates[-1][1]
        return next(job for job in self.jobs.jobs if job.number == number), False

    def ended(self, job: Job, fields: Mapping[str, Any] | None) -> None:
        self.results[job.id] = fields
        for suggestion in self.asked.pop(job.id):
            self.study.tell(suggestion, fields)
