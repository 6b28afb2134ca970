"""The jobs of a sweep: composed, checked and told apart by their configurations before any of them starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer_cli.config.compose import Axes, Composition, axes, compose
from trainer_cli.config.environment import as_written
from trainer_cli.config.errors import UserError
from trainer_cli.config.overrides import where
from trainer_cli.config.places import is_group
from trainer_cli.config.schema import Sweep
from trainer_cli.plan import value_at
from trainer_cli.prepare import Prepared, begin_job, go_on_with_job
from trainer_cli.runs.ranking import label
from trainer_cli.runs.record import identity
from trainer_cli.runs.sweeps import FILE, Entry, SweepRecord
from trainer_cli.sweep.search import Study
from trainer_cli.sweep.space import Axis, axis, corners, draw

LAUNCHER = re.compile(r"\+?hydra([/.]launcher)")
SETTINGS = re.compile(r"\+*(sweep\.|args\.output_dir=|args\.log_level|run\.name=|checkpoint[.=]|tracker[.=])")
"""What has no part in what a sweep's jobs come to, and so none in its name."""

SHARED = ("sweep", "run", "resume", "args.output_dir")
"""Keys, inner ones included, of which all jobs have one value."""

MOST_DUPLICATES = 10
"""Combinations that are named one by one where they are a job that there is already."""

OPTUNA = ("tpe", "gp", "cma_es", "qmc")


@dataclass(frozen=True)
class Job:
    """A run of a sweep: `entry` as sweep.json has it, and its frozen configuration."""

    entry: Entry
    composition: Composition

    @property
    def number(self) -> int:
        """Its number in the sweep, which no later job is given."""
        return self.entry.number

    @property
    def id(self) -> str:
        """The identity of its configuration."""
        return self.entry.id

    @property
    def values(self) -> dict[str, Any]:
        """The values of the swept keys."""
        return self.entry.values

    @property
    def strategy(self) -> str:
        """The name of its strategy."""
        return str(self.composition.config["strategy"]["name"])

    @property
    def words(self) -> list[str]:
        """The overrides of a run of its own."""
        return self.entry.words


@dataclass
class Jobs:
    """What a sweep's command asks for.

    `jobs` are all of a grid or a random search; Optuna's come one after the other, by `add`. `duplicates` are
    the values that resolve to the configuration of a job that is there already, with its number. `launcher`
    has the overrides that choose one of Hydra's launchers.
    """

    record: SweepRecord
    settings: Sweep
    axes: Axes
    config_dirs: Sequence[str]
    launcher: list[str]
    jobs: list[Job] = field(default_factory=list)
    duplicates: list[tuple[dict[str, Any], int]] = field(default_factory=list)

    @property
    def sweep_dir(self) -> Path:
        """Where the sweep's file and the directories of its jobs are."""
        return self.record.sweep_dir

    @property
    def has_study(self) -> bool:
        """Whether its jobs depend on what came of those before: the next one is known when it is its turn."""
        return self.settings.search in OPTUNA or (
            self.settings.search == "random" and self.settings.pruner is not None
        )

    def study(self) -> Study:
        """Optuna's study of it."""
        return Study(self.sweep_dir, search_axes(self.axes), self.settings)

    def repeated(self) -> Iterator[str]:
        """What came to a job that was there already, a line each."""
        for values, number in self.duplicates[:MOST_DUPLICATES]:
            yield f"{label(values)} is job {number} again"
        if len(self.duplicates) > MOST_DUPLICATES:
            yield f"and {len(self.duplicates) - MOST_DUPLICATES} more are jobs that there are already"

    def add(
        self, words: Iterable[Sequence[str]], change: Callable[[dict[str, Any]], None] | None = None
    ) -> list[Job]:
        """Compose, check and number the jobs of these overrides; those that are there already are left out.

        `change` alters each configuration, and not what the job is. Raises UserError that names the job.
        """
        known = {job.id for job in self.jobs}
        numbers = {entry.id: entry for entry in self.record.entries}
        keys = [(item.get_key_element(), item.key_or_group) for item in self.axes.swept]
        groups = {key for _, key in keys if is_group(key, self.axes.roots)}
        added = []
        for composition in composed(words, keys, self.config_dirs):
            if change is not None:
                change(composition.config)
            config = composition.config
            written = as_written(config)
            typed = dict(typed_values(composition.overrides, keys))
            values = {key: typed[key] if key in groups else value_at(written, key) for key in typed}
            job_id = identity(config)
            number = numbers[job_id].number if job_id in numbers else len(numbers) + 1
            if job_id in known:
                self.duplicates.append((values, number))
                continue
            own = [word for word in composition.overrides if not word.startswith("sweep.")]
            directory = numbers[job_id].directory if job_id in numbers else self.place(values, job_id)
            entry = Entry(job_id, number, values, own, directory)
            known.add(job_id)
            numbers[job_id] = entry
            added.append(Job(entry, composition))
        self.jobs += added
        self.record.fields["jobs"] = [vars(entry) for entry in sorted(numbers.values(), key=by_number)]
        self.record.fields["asked"] = [job.id for job in self.jobs]
        return added

    def place(self, values: Mapping[str, Any], job_id: str) -> str:
        """The directory of a job, named after its values.

        A sweep without a name of its own takes what the others beside it have done already.
        """
        words = (f"{key.rpartition('.')[2]}-{short_text(value)}" for key, value in values.items())
        slug = re.sub(r"[^A-Za-z0-9.+_-]+", "-", "_".join(words))[:60].strip("-.") or "job"
        own = f"{slug}_{job_id[:12]}"
        others = () if self.settings.name else self.sweep_dir.parent.glob(f"sweep-*/*_{job_id[:12]}/run.json")
        for other in sorted(file.parent for file in others):
            if other.parent.name != self.sweep_dir.name and not (self.sweep_dir / own).exists():
                return f"../{other.parent.name}/{other.name}"
        return own

    def prepare(self, job: Job, argv: Sequence[str], now_is: Mapping[str, Any]) -> Prepared:
        """A job's run, ready to be started: a fresh one, or one to go on with.

        `now_is` is the provenance of a fresh one. Raises UserError where it runs or cannot be gone on with,
        and OSError where the disk is full.
        """
        run_dir = self.record.run_dir(job.entry)
        if self.record.record(job.entry) is not None:
            return go_on_with_job(run_dir, job.composition, self.config_dirs, argv)
        sweep = {"name": self.sweep_dir.name, "number": job.number, "values": job.values}
        return begin_job(job.composition, run_dir, argv, job.words, sweep=sweep, **now_is)


def short_text(value: Any) -> str:
    """A value in a directory's name, where the identity behind it tells apart what rounding makes alike."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def by_number(entry: Entry) -> int:
    """For putting jobs in order."""
    return entry.number


def jobs_of(overrides: Sequence[str], config_dirs: Sequence[str]) -> Jobs:
    """What a command asks for, composed and checked as a whole; writes nothing; raises UserError."""
    launcher = [word for word in overrides if LAUNCHER.match(word)]
    words = [word for word in overrides if word not in launcher]
    given = axes(words, config_dirs=config_dirs)
    first = first_of(given, config_dirs)
    if wrong := [problem for problem in first.problems if is_shared(problem.key)]:
        raise UserError.many(wrong)
    if first.config["resume"] is not None:
        raise UserError(
            "resume does not go with -m",
            right="the same command goes on with a sweep: what is done is kept, what is half done resumed",
        )
    settings = Sweep(**first.config["sweep"])
    own = {item.key_or_group for item in given.parsed}
    more = [f"{key}={listed(value)}" for key, value in settings.params.items() if key.lstrip("+") not in own]
    asked = axes([*words, *more], config_dirs=config_dirs)
    for item in asked.swept:
        if is_shared(item.key_or_group):
            what = f"{item.key_or_group} cannot be swept over: all jobs of a sweep share it"
            raise UserError(what, where(item), "a command for each value is a sweep for each")
    config = first.config
    folder = Path(config["args"]["output_dir"])
    folder /= config["run"]["name"] or first.choices.get("recipe", "run").replace(",", "-")
    result = Jobs(
        opened(folder / (settings.name or sweep_name(asked))), settings, asked, config_dirs, launcher
    )
    if settings.search == "grid":
        if settings.pruner is not None:
            raise UserError(
                "sweep.pruner is for a search, and a grid runs all of its jobs",
                first.sources["sweep.pruner"][-1].text,
                "sweep.search=random or sweep.search=tpe",
            )
        result.add(asked.grid(settings.zip))
    elif settings.zip:
        raise UserError(
            "sweep.zip is for a grid",
            first.sources["sweep.zip"][-1].text,
            "sweep.search=grid, or leave sweep.zip out",
        )
    elif not result.has_study:
        result.add(with_fixed(asked, draw(search_axes(asked), settings.trials, settings.seed)))
    else:
        ends = with_fixed(asked, corners(search_axes(asked)))
        keys = [(item.get_key_element(), item.key_or_group) for item in asked.swept]
        for _ in composed(ends, keys, config_dirs):
            pass
    result.record.fields |= {"fixed": asked.fixed, "search": settings.search}
    return result


def is_shared(key: str) -> bool:
    """Whether all jobs have one value of this key."""
    return any(key == shared or key.startswith(f"{shared}.") for shared in SHARED)


def first_of(asked: Axes, config_dirs: Sequence[str]) -> Composition:
    """The composition of the first value of each axis, an interval's lower end, for what all jobs share."""
    words = corners(search_axes(asked))
    return compose([*asked.fixed, *(words[0] if words else ())], config_dirs=config_dirs, strict=False)


def composed(
    jobs: Iterable[Sequence[str]], keys: Sequence[tuple[str, str]], config_dirs: Sequence[str]
) -> Iterator[Composition]:
    """The jobs' configurations; an error says which job it is of."""
    listed = [list(words) for words in jobs]
    for number, words in enumerate(listed, start=1):
        try:
            yield compose(words, config_dirs=config_dirs)
        except UserError as error:
            if number == 1 and len(listed) > 1 and fails_alike(listed[1], error, config_dirs):
                raise
            called = " ".join(f"{key}={value}" for key, value in typed_values(words, keys))
            if not called:
                raise
            raise of_job(error, called) from error


def fails_alike(words: Sequence[str], error: UserError, config_dirs: Sequence[str]) -> bool:
    """Whether another job has the same problems: they are then no matter of one job's values."""
    try:
        compose(words, config_dirs=config_dirs)
    except UserError as other:
        return [problem.what for problem in other.problems] == [problem.what for problem in error.problems]
    return False


def of_job(error: UserError, called: str) -> UserError:
    """The error, with the job that it is of."""
    problems = [replace(problem, what=f"{problem.what} (job {called})") for problem in error.problems]
    return UserError.many(problems)


def typed_values(words: Sequence[str], keys: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The swept keys of a job with their values as they were written."""
    given = dict(word.partition("=")[::2] for word in words)
    for element, key in keys:
        if element in given:
            yield key, given[element]


def with_fixed(asked: Axes, drawn: Iterable[Sequence[str]]) -> list[list[str]]:
    """The drawn words of each job behind those that all share."""
    return [[*asked.fixed, *words] for words in drawn]


def search_axes(asked: Axes) -> list[Axis]:
    """The axes as a search has them."""
    return [axis(override, asked.values(override)) for override in asked.swept]


def listed(value: Any) -> str:
    """An axis of `sweep.params` as the command line would have it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def sweep_name(asked: Axes) -> str:
    """After what is fixed and what is swept over, whatever the values: a wider grid is the same sweep."""
    fixed = sorted(word.lstrip("+") for word in asked.fixed if not SETTINGS.match(word))
    keys = sorted(item.key_or_group for item in asked.swept)
    digest = hashlib.sha256("\n".join([*fixed, "", *keys]).encode()).hexdigest()
    return f"sweep-{digest[:6]}"


def opened(sweep_dir: Path) -> SweepRecord:
    """The record of a sweep that there is, or one that is not written yet."""
    if (sweep_dir / FILE).exists():
        try:
            return SweepRecord.load(sweep_dir)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{sweep_dir / FILE} cannot be read: {error}",
                right="sweep.name=NAME starts another; the jobs' own directories are whole",
            ) from error
    return SweepRecord(sweep_dir, {"format": 1, "name": sweep_dir.name, "jobs": [], "asked": []})
