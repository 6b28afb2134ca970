"""Jobs carried out by one of Hydra's launchers: on a cluster (submitit), by joblib, or by Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from trainer_cli.config.compose import escaped
from trainer_cli.config.errors import UserError
from trainer_cli.config.printable import say
from trainer_cli.launch import run_alone
from trainer_cli.runs.lock import still_running, take
from trainer_cli.runs.record import Record, provenance
from trainer_cli.runs.sweeps import DONE
from trainer_cli.sweep.jobs import Job, Jobs
from trainer_cli.sweep.pool import OUTPUT, command, how_it_ended, not_started

EXTRAS = ("submitit", "joblib", "ray")
"""What brings launchers, each with its name in theirs."""


def launcher_config(jobs: Jobs) -> DictConfig:
    """Hydra's configuration with the launcher that a sweep's command chooses; raises UserError."""
    if jobs.has_study:
        raise UserError(
            "a search that learns from results asks for jobs one by one, and a launcher takes all at once",
            right="sweep.search=random without a pruner; or leave hydra/launcher out",
        )
    loader = config_loader()
    directory = quoted(str((jobs.sweep_dir / "launcher").resolve()))
    own = (f"hydra.sweep.dir={directory}", "hydra.output_subdir=null")
    silent = ("hydra/job_logging=none", "hydra/hydra_logging=none")
    try:
        return loader.load_configuration(None, [*jobs.launcher, *own, *silent], RunMode.MULTIRUN)
    except HydraException as error:
        known = loader.get_group_options("hydra/launcher")
        lines = [f"there are: {', '.join(known)}"]
        lines += [
            f"pip install 'trainer-cli[{extra}]' adds those of {extra}"
            for extra in EXTRAS
            if not any(extra in name for name in known)
        ]
        first = str(error).splitlines()[0]
        raise UserError(f"{' '.join(jobs.launcher)}: {first}", "command line", "\n".join(lines)) from error


def launch_jobs(config: DictConfig, jobs: Jobs, argv: Sequence[str], traceback: bool) -> int:
    """Have the jobs that are not done run by the launcher, and wait for them; returns the exit code.

    Their directories are made first, with the configurations that are frozen in them: what a launcher hands
    out is a directory's name.
    """
    now_is = provenance()
    refused: dict[str, str] = {}
    waiting = [job for job in jobs.jobs if status(jobs, job) not in DONE]
    for attempt in range(1 + jobs.settings.retries):
        if not waiting:
            break
        again = f", try {attempt + 1}" if attempt else ""
        say(f"{len(waiting)} of {len(jobs.jobs)} jobs to {' '.join(jobs.launcher)}{again}")
        run_dirs = []
        for job in waiting:
            try:
                prepared = jobs.prepare(job, argv, now_is)
                prepared.lock.release()  # it is held by what carries the job out, wherever that is
                run_dirs.append(prepared.run_dir.resolve())
            except (UserError, OSError) as error:
                refused[job.id] = not_started(error)
                say(f"job {job.number}: {refused[job.id]}")
        launch(config, run_dirs, traceback)
        waiting = [job for job in waiting if status(jobs, job) == "failed" and job.id not in refused]
    if refused:
        jobs.record.update(refused=refused)
    ends = [status(jobs, job) for job in jobs.jobs]
    return 1 if any(end not in ("finished", "pruned") for end in ends) else 0


def config_loader() -> ConfigLoaderImpl:
    """Hydra's loader, with nothing of its own to load."""
    return ConfigLoaderImpl(create_config_search_path(None))


def launch(config: DictConfig, run_dirs: Sequence[Path], traceback: bool) -> None:
    """Have the runs in these directories carried out, and wait for all."""
    context = HydraContext(config_loader=config_loader(), callbacks=Callbacks())
    launcher = Plugins.instance().instantiate_launcher(context, carry_out, config)
    flag = f"+traceback={str(traceback).lower()}"
    launcher.launch([[f"+run_dir={quoted(str(run_dir))}", flag] for run_dir in run_dirs], initial_job_idx=0)


def quoted(text: str) -> str:
    """Text as one value of an override."""
    literal = str(escaped(text)).replace("'", "\\'")
    return f"'{literal}'"


def carry_out(config: DictConfig) -> int:
    """One job, where the launcher has brought it; returns its exit code, as the record says how it ended."""
    run_dir = Path(config.run_dir)
    try:
        lock = take(run_dir, still_running)
    except UserError as error:
        say(error.block())
        return 2
    record = Record.load(run_dir)
    record.start()  # its process and machine are these
    strategy = record.fields["choices"].get("strategy", "single")
    code = run_alone(command(run_dir, strategy, config.traceback), run_dir / OUTPUT)
    record = Record.load(run_dir)
    if record.fields["status"] == "running":
        record.end("failed", error=how_it_ended(code))
    lock.release()
    return code


def status(jobs: Jobs, job: Job) -> str:
    """How a job stands."""
    record = jobs.record.record(job.entry)
    return "waiting" if record is None else record.status
