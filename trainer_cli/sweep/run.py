"""`-m`: the jobs of a sweep, each in a process of its own, and what they come to."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from trainer_cli import durable
from trainer_cli.config.errors import DiskFailed, DiskFull, UserError
from trainer_cli.config.printable import say
from trainer_cli.runs.leaderboard import print_leaderboard, write_leaderboard
from trainer_cli.runs.lock import Holder, Lock, take
from trainer_cli.runs.record import Record, now, provenance
from trainer_cli.runs.sweeps import DONE
from trainer_cli.signals import ONE_SIGNAL, answered_by
from trainer_cli.sweep.jobs import Job, Jobs, jobs_of
from trainer_cli.sweep.launcher import launch_jobs, launcher_config
from trainer_cli.sweep.pool import (
    Cold,
    Nursery,
    Places,
    Worker,
    command,
    how_it_ended,
    not_started,
    usable_cores,
    visible_gpus,
)
from trainer_cli.sweep.source import Listed, Searched, Source
from trainer_cli.sweep.state import FAILED, JobState
from trainer_cli.sweep.view import View
from trainer_cli.sweep.warm import Warm

SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_BETWEEN_VIEWS = 0.25


def run_sweep(
    overrides: Sequence[str], config_dirs: Sequence[str], argv: Sequence[str], traceback: bool
) -> int:
    """Run the jobs that are not done, and print the leaderboard of all; returns the exit code."""
    jobs = jobs_of(overrides, config_dirs)
    for warning in dict.fromkeys(text for job in jobs.jobs for text in job.composition.warnings):
        say(warning)
    for line in jobs.repeated():
        say(line)
    launcher = launcher_config(jobs) if jobs.launcher else None
    with said_where_refused(jobs.sweep_dir), alone(jobs.sweep_dir):
        if not jobs.record.is_as_read:  # another has run it since
            jobs = jobs_of(overrides, config_dirs)
        created = jobs.record.fields.get("created", now().isoformat(timespec="seconds"))
        jobs.record.update(argv=list(argv), created=created, refused={})
        if launcher is None:
            code = Sweeping(jobs, argv, traceback).run()
        else:
            code = launch_jobs(launcher, jobs, argv, traceback)
        write_leaderboard(jobs.sweep_dir)
    print_leaderboard(jobs.sweep_dir, as_json=False)
    return code


@contextlib.contextmanager
def alone(sweep_dir: Path) -> Iterator[None]:
    """While this process runs the sweep no other does; raises UserError where one does.

    Its directory is made; UserError too where that cannot be, or nothing can be written there.
    """
    try:
        sweep_dir.mkdir(parents=True, exist_ok=True)
        lock = take(sweep_dir, is_run_already)
    except OSError as error:
        if durable.is_disk_full(error):
            raise
        raise UserError(
            f"the sweep's directory {sweep_dir} cannot be made or written to: {error.strerror}",
            right="args.output_dir=DIR names a directory that can be written",
        ) from error
    try:
        durable.discard_unfinished(sweep_dir)
        yield
    finally:
        lock.release()


def is_run_already(sweep_dir: Path, holder: Holder | None) -> UserError:
    """The error for a sweep that another process runs."""
    by = "" if holder is None else f": process {holder.pid} on {holder.host}"
    return UserError(
        f"this sweep is being run already{by}",
        right=f"trainer-cli runs {sweep_dir} shows how it stands; sweep.name=NAME starts another",
    )


@contextlib.contextmanager
def said_where_refused(sweep_dir: Path) -> Iterator[None]:
    """A disk that does not take the sweep's own files ends it, and its jobs with it; raises RunFailed."""
    try:
        yield
    except OSError as error:
        if durable.is_disk_full(error):
            raise DiskFull(
                f"the disk has no room for {sweep_dir}",
                right="what the jobs have saved is whole: with more room, the same command goes on with them",
            ) from error
        if (known := DiskFailed.of(error, sweep_dir)) is not None:
            raise known from error
        raise


def code_of(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """By what code and packages are told to be the same."""
    git = fields.get("git") or {}
    return git.get("commit"), git.get("changes"), fields.get("packages")


@dataclass
class Running:
    """A job that runs: its process, its share of the machine, what holds its directory, and when it began."""

    job: Job
    state: JobState
    worker: Worker
    share: dict[str, str]
    lock: Lock
    began: float


@dataclass
class Sweeping:
    """A sweep under way on this machine."""

    jobs: Jobs
    argv: Sequence[str]
    traceback: bool
    states: list[JobState] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    again: list[Job] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    elsewise: int = 0
    signal: int | None = None
    signalled: float = 0.0

    def __post_init__(self) -> None:
        settings = self.jobs.settings
        self.places = Places.of(settings.jobs, visible_gpus(), usable_cores())
        self.source: Source = Searched(self.jobs) if self.jobs.has_study else Listed(self.jobs)
        self.provenance = provenance()
        self.view = View(self.jobs.settings.trials if self.jobs.has_study else 0)
        self.shown = 0.0
        for job in self.jobs.jobs:
            self.keep(job)

    def run(self) -> int:
        """Run all jobs to their ends; returns the exit code."""
        nursery: Nursery = Warm() if self.jobs.settings.warm else Cold()
        with self.signals():
            try:
                while self.start_all(nursery) or self.running:
                    self.look()
                    time.sleep(SECONDS_BETWEEN_LOOKS)
            finally:
                self.save_all()
                self.view.update(self.states)
                self.view.close()
                nursery.close()
        if self.refused:
            self.jobs.record.update(refused=self.refused)
        if self.elsewise:
            print(
                f"{self.elsewise} of the jobs that were done before were done by other code or packages; "
                "trainer-cli compare RUN RUN says which, sweep.name=NAME trains all anew",
                file=sys.stderr,
            )
        if self.signal is not None:
            print(
                f"{signal.Signals(self.signal).name}: stopped; the same command goes on with the sweep",
                file=sys.stderr,
            )
            return 128 + self.signal
        return 1 if any(state.status in (*FAILED, "preempted") for state in self.states) else 0

    def save_all(self) -> None:
        """Where an error ends the sweep: have the jobs that still run save their work, and wait for that."""
        for running in self.running:
            running.worker.send_signal(signal.SIGTERM)
        while any(running.worker.poll() is None for running in self.running):
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def start_all(self, nursery: Nursery) -> bool:
        """Start jobs while there is room for them; whether one was started."""
        began = len(self.running)
        while self.places.free and not self.is_ending:
            job = self.again.pop() if self.again else self.source.next()
            if job is None:
                break
            self.start(job, nursery)
        return len(self.running) > began

    @property
    def is_ending(self) -> bool:
        """Whether no further job is to be started."""
        failed = any(state.status in FAILED and not state.kept for state in self.states)
        return self.signal is not None or (self.jobs.settings.fail_fast and failed)

    def start(self, job: Job, nursery: Nursery) -> None:
        """Start a job, or take it as it is where it is done."""
        if self.keep(job):
            return
        state = self.state_of(job)
        share = self.places.free.pop(0)
        try:
            prepared = self.jobs.prepare(job, self.argv, self.provenance)
            run_dir = prepared.run_dir
            worker = nursery.start(run_dir, command(run_dir, job.strategy, self.traceback), share)
        except (UserError, OSError) as error:
            self.places.free.insert(0, share)
            state.status, state.error = "failed", not_started(error)
            self.refused[job.id] = state.error
            self.source.ended(job, None)
            return
        state.run_dir, state.status, state.error = run_dir, "running", None
        self.running.append(Running(job, state, worker, share, prepared.lock, time.monotonic()))
        if self.signal is not None:  # it came while the process was made
            worker.send_signal(self.signal)

    def keep(self, job: Job) -> bool:
        """Take a job as it is where it is done; whether that is so."""
        state = self.state_of(job)
        record = None if state.kept else self.jobs.record.record(job.entry)
        if record is not None and record.status in DONE:
            state.run_dir, state.status, state.kept = record.run_dir, record.status, True
            self.elsewise += not self.is_of_today(record)
            self.source.ended(job, record.fields)
        return state.kept

    def is_of_today(self, record: Record) -> bool:
        """Whether a job was done by the code and the packages that there are now."""
        return code_of(record.fields) == code_of(self.provenance)

    def state_of(self, job: Job) -> JobState:
        """Its line, added where it is new."""
        for state in self.states:
            if state.number == job.number:
                return state
        self.states.append(JobState(job.number, job.entry.label))
        return self.states[-1]

    def look(self) -> None:
        """Take in which jobs have ended, and show how all stand."""
        for running in list(self.running):
            running.state.seconds = time.monotonic() - running.began
            code = running.worker.poll()
            if code is not None:
                self.running.remove(running)
                self.places.free.insert(0, running.share)
                self.end(running, code)
                running.lock.release()
        if time.monotonic() - self.shown >= SECONDS_BETWEEN_VIEWS:
            self.shown = time.monotonic()
            self.view.update(self.states)

    def end(self, running: Running, code: int) -> None:
        """Note how a job ended, and have one that failed started again where that is asked for."""
        job, state = running.job, running.state
        record = self.jobs.record.record(job.entry)
        if record is None:
            state.status, state.error = "failed", "its run.json was taken away while it ran"
            self.refused[job.id] = state.error
            self.source.ended(job, None)
            return
        state.status, state.error = record.status, record.fields.get("error")
        if record.fields["status"] == "running":
            state.status, state.error = "failed", how_it_ended(code)
            if self.signal is not None and code in (-self.signal, 128 + self.signal):  # before it had begun
                state.status, state.error = "preempted", None
            with contextlib.suppress(OSError):  # where the disk is full the record stays as it is
                record.end(state.status, error=state.error)
        tries = self.tries[job.id] = self.tries.get(job.id, 0) + 1
        if state.status == "failed" and tries <= self.jobs.settings.retries and self.signal is None:
            self.view.note(f"job {job.number} failed, and is started again: {state.error}")
            state.status = "waiting"
            self.again.append(job)
            return
        self.source.ended(job, record.fields)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """A signal ends the sweep: jobs that run save their work first; a second one ends them at once."""

        def ask(number: int, _: FrameType | None) -> None:
            if self.signal is not None and time.monotonic() - self.signalled < ONE_SIGNAL:
                return
            self.signal, self.signalled = number, time.monotonic()
            for running in self.running:
                running.worker.send_signal(number)

        with answered_by(ask):
            yield
