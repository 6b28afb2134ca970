"""`trainer-cli plan -m`: the jobs of a sweep, how they stand, and what those that are left would take."""

from __future__ import annotations

import datetime
import heapq
import json
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from trainer_cli.config.compose import Composition
from trainer_cli.config.errors import RunFailed, UserError, megabytes
from trainer_cli.config.printable import say
from trainer_cli.runs.console import console
from trainer_cli.runs.effects import as_text
from trainer_cli.runs.leaderboard import heading, plural
from trainer_cli.runs.record import Record
from trainer_cli.runs.screen import duration
from trainer_cli.runs.sweeps import DONE, Entry, swept_keys
from trainer_cli.sweep.jobs import Jobs, composed, jobs_of, of_job, search_axes, with_fixed
from trainer_cli.sweep.launcher import launcher_config
from trainer_cli.sweep.sizes import Size, kind, size_of
from trainer_cli.sweep.space import Choices, corners

MOST_JOBS = 30


@dataclass(frozen=True)
class Planned:
    """A job as it stands: new, or as its run.json says; `size` is of what is left of it, if that is known."""

    entry: Entry
    status: str
    steps: int | None
    size: Size | None = None


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep's command would do.

    `jobs` are those that are known beforehand. Optuna proposes `to_come` more, each as large as one of the
    `corners`. `source` says where the times are from; it is empty where none are known.
    """

    asked: Jobs
    jobs: list[Planned]
    to_come: int = 0
    corners: tuple[Size, ...] = ()
    source: str = ""

    @property
    def left(self) -> list[Size]:
        """The sizes of all that is to be run yet; a trial to come is taken to be of the largest."""
        known = [job.size for job in self.jobs if job.size is not None]
        return known + [self.largest] * self.to_come if self.corners else known

    @property
    def largest(self) -> Size:
        """The most that a trial takes."""
        seconds = [corner.seconds for corner in self.corners if corner.seconds is not None]
        steps, disk = (max(getattr(corner, name) for corner in self.corners) for name in ("steps", "disk"))
        return Size(steps, disk, max(seconds, default=None))

    @property
    def seconds(self) -> float | None:
        """The time of all that is left, `sweep.jobs` at a time; None where it is not known."""
        each = [size.seconds for size in self.left]
        known = [seconds for seconds in each if seconds is not None]
        return makespan(known, self.asked.settings.jobs) if known and len(known) == len(each) else None

    @property
    def free(self) -> int:
        """Bytes that the disk of the sweep has free."""
        sweep_dir = self.asked.sweep_dir
        there = next(path for path in (sweep_dir, *sweep_dir.absolute().parents) if path.is_dir())
        return shutil.disk_usage(there).free


def print_sweep_plan(
    overrides: Sequence[str], config_dirs: Sequence[str], measure: bool, as_json: bool
) -> int:
    """Compose and check all jobs, build one of each kind, and print what would run; returns the exit code.

    Raises UserError that names the job which does not compose, or cannot be built.
    """
    asked = jobs_of(overrides, config_dirs)
    if asked.launcher:
        launcher_config(asked)
    for warning in dict.fromkeys(text for job in asked.jobs for text in job.composition.warnings):
        say(warning)
    plan = (planned_search if asked.has_study else planned)(asked, measure)
    if as_json:
        print(json.dumps(as_dict(plan), indent=1))
    else:
        show(plan)
    return 0


def planned(asked: Jobs, measure: bool) -> SweepPlan:
    """The jobs of a grid or a random search: how they stand, and the sizes of those that are left."""
    records = {job.id: asked.record.record(job.entry) for job in asked.jobs}
    left = [job for job in asked.jobs if status_of(records[job.id]) not in DONE]
    sizes = sizes_of([(job.entry.label, job.composition) for job in left], measure)
    past: dict[str, list[float]] = {}
    for job in [] if measure else asked.jobs:
        seconds = seconds_of(records[job.id])
        if seconds is not None:
            past.setdefault(kind(job.composition.config), []).append(seconds)
    jobs = []
    for job in asked.jobs:
        record = records[job.id]
        status, size = status_of(record), sizes.get(kind(job.composition.config))
        if size is None or status in DONE:
            steps = None if record is None else record.fields.get("total_steps")
            jobs.append(Planned(job.entry, status, steps))
            continue
        own = past.get(kind(job.composition.config))
        seconds = statistics.median(own) if own else size.seconds
        share = share_left(record)
        seconds = None if seconds is None else seconds * share
        jobs.append(
            Planned(job.entry, status, size.steps, Size(round(size.steps * share), size.disk, seconds))
        )
    source = (
        ("by a few updates of each kind of job" if measure else "as the finished ones took") if jobs else ""
    )
    return SweepPlan(asked, jobs, source=source)


def planned_search(asked: Jobs, measure: bool) -> SweepPlan:
    """A search by Optuna: what it has tried, and the sizes of the smallest and largest that it may try."""
    before = asked.record.asked
    records = [asked.record.record(entry) for entry in before]
    jobs = [
        Planned(entry, status_of(record), None if record is None else record.fields.get("total_steps"))
        for entry, record in zip(before, records, strict=True)
    ]
    words = with_fixed(asked.axes, corners(search_axes(asked.axes)))
    keys = [(item.get_key_element(), item.key_or_group) for item in asked.axes.swept]
    ends = [
        (" ".join(own[len(asked.axes.fixed) :]), composition)
        for own, composition in zip(words, composed(words, keys, asked.config_dirs), strict=True)
    ]
    done = sum(job.status in DONE for job in jobs)
    sizes = tuple(sizes_of(ends, measure).values())
    source = "by a few updates of the smallest and the largest" if measure else ""
    return SweepPlan(asked, jobs, max(0, asked.settings.trials - done), sizes, source)


def sizes_of(jobs: Sequence[tuple[str, Composition]], measure: bool) -> dict[str, Size]:
    """The size of each kind among the jobs, which come with what they are called in an error."""
    kinds: dict[str, tuple[str, Composition]] = {}
    for called, composition in jobs:
        kinds.setdefault(kind(composition.config), (called, composition))
    sizes: dict[str, Size] = {}
    refused: list[tuple[str, UserError]] = []
    for name, (called, composition) in kinds.items():
        try:
            sizes[name] = size_of(composition, measure)
        except RunFailed as error:
            (problem,) = of_job(error, called).problems
            raise RunFailed(problem.what, problem.where, problem.right) from error
        except UserError as error:
            refused.append((called, error))
    if len({error.block() for _, error in refused}) == 1 and len(refused) == len(kinds):
        raise refused[0][1]  # it is no matter of one job's values
    if refused:
        raise UserError.many([own for called, error in refused for own in of_job(error, called).problems])
    return sizes


def status_of(record: Record | None) -> str:
    """How a job stands."""
    return "new" if record is None else record.status


def share_left(record: Record | None) -> float:
    """The part of a job's updates that is left: of one that was stopped, what comes after its last step."""
    fields: Mapping[str, Any] = {} if record is None else record.fields
    step, steps = fields.get("step"), fields.get("total_steps")
    return 1 - min(step / steps, 1.0) if fields.get("status") == "preempted" and step and steps else 1.0


def seconds_of(record: Record | None) -> float | None:
    """The time from a job's beginning to its end; None where it has not finished in one go."""
    if record is None or record.status != "finished" or len(record.fields.get("sessions", ())) != 1:
        return None
    began, ended = (datetime.datetime.fromisoformat(record.fields[name]) for name in ("created", "ended"))
    return (ended - began).total_seconds()


def makespan(seconds: Sequence[float], at_a_time: int) -> float:
    """The time until all are done, each begun in its turn as soon as there is a place for it."""
    ends = [0.0] * at_a_time
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def as_dict(plan: SweepPlan) -> dict[str, Any]:
    """The plan for JSON: bytes, and seconds or null."""
    asked = plan.asked
    return {
        "sweep": asked.sweep_dir.name,
        "dir": str(asked.sweep_dir),
        "search": asked.settings.search,
        "jobs": [
            {
                **{"number": job.entry.number, "id": job.entry.id, "values": job.entry.values},
                **{"words": job.entry.words, "status": job.status, "steps": job.steps},
                "left": None if job.size is None else vars(job.size),
            }
            for job in plan.jobs
        ],
        "to_come": plan.to_come,
        "duplicates": [{"values": values, "job": number} for values, number in asked.duplicates],
        "left": {
            "steps": sum(size.steps for size in plan.left),
            "disk": sum(size.disk for size in plan.left),
            "seconds": plan.seconds,
        },
        "free": plan.free,
    }


def show(plan: SweepPlan) -> None:
    """Print the jobs and what they come to."""
    out = console()
    if plan.jobs:
        out.print(table(plan.jobs))
    for line in summary(plan):
        out.print(line, soft_wrap=not out.is_terminal)


def table(jobs: Sequence[Planned]) -> Table:
    """A row for each job."""
    result = Table()
    keys = swept_keys([job.entry for job in jobs])
    result.add_column("job", justify="right")
    for key in keys:
        result.add_column(heading(key, keys), overflow="fold")
    timed = any(job.size is not None and job.size.seconds is not None for job in jobs)
    for name in ("status", "steps", "disk", *(["time"] if timed else [])):
        result.add_column(name, no_wrap=True)
    for job in jobs[:MOST_JOBS]:
        values = [as_text(job.entry.values.get(key)) for key in keys]
        steps = "" if job.steps is None else f"{job.steps:,}"
        disk = "" if job.size is None else megabytes(job.size.disk)
        time = "" if job.size is None or job.size.seconds is None else duration(job.size.seconds)
        result.add_row(str(job.entry.number), *values, job.status, steps, disk, *([time] if timed else []))
    if len(jobs) > MOST_JOBS:
        result.caption = f"... and {len(jobs) - MOST_JOBS} more"
    return result


def summary(plan: SweepPlan) -> Iterator[str]:
    """What all of it comes to, a line each."""
    asked, left = plan.asked, plan.left
    statuses = [job.status for job in plan.jobs]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    yield f"sweep  {asked.sweep_dir}"
    if asked.has_study:
        yield f"jobs   {asked.settings.trials} of {asked.settings.search}" + (f": {counts}" if counts else "")
        for axis in search_axes(asked.axes):
            if isinstance(axis, Choices):
                yield f"axis   {axis.key.lstrip('+')}: {', '.join(axis.values)}"
            else:
                scale, low, high = (
                    " by its logarithm" if axis.log else "",
                    as_text(axis.low),
                    as_text(axis.high),
                )
                yield f"axis   {axis.key.lstrip('+')}: from {low} to {high}{scale}"
    else:
        yield f"jobs   {len(plan.jobs)}: {counts}"
    for line in asked.repeated():
        yield f"       {line}"
    if not left:
        yield "nothing is left to run"
        return
    disk, most = sum(size.disk for size in left), "at most " if plan.to_come else ""
    yield f"steps  {most}{sum(size.steps for size in left):,} in {plural(len(left), 'job')}"
    room = f"disk   at most {megabytes(disk)} of {megabytes(plan.free)} that are free"
    yield room if disk <= plan.free else f"{room}: args.save_total_limit=1 keeps fewer checkpoints"
    yield f"time   {in_words(plan)}"


def in_words(plan: SweepPlan) -> str:
    """The time of all that is left, and where it is known from."""
    if plan.seconds is None:
        return "not known: --measure times a few updates of each kind of job"
    at_a_time = plan.asked.settings.jobs
    together = f", {at_a_time} at a time" if at_a_time > 1 else ""
    most = "at most " if plan.to_come else ""
    return f"{most}{duration(plan.seconds)}{together}, {plan.source}"
