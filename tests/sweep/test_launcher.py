from __future__ import annotations

from pathlib import Path

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.sweep.jobs import jobs_of
from trainer_cli.sweep.launcher import config_loader, launcher_config, quoted

SWEEP = ("+recipe=glue", "optim.lr=1e-5,3e-5")


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (("hydra/launcher=basic",), "BasicLauncher"),
        (("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=7"), "SlurmLauncher"),
        (("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=7"), "LocalLauncher"),
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=7"), "JoblibLauncher"),
        (("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=7"), "RayLauncher"),
    ],
)
def test_each_launcher_is_composed_with_its_settings(
    tmp_path: Path, words: tuple[str, ...], target: str
) -> None:
    jobs = jobs_of([*SWEEP, *words, f"args.output_dir={tmp_path}"], [])
    assert jobs.launcher == list(words)
    config = launcher_config(jobs)
    assert config.hydra.launcher._target_.endswith(target)
    assert str(config.hydra.sweep.dir).startswith(str(tmp_path))
    assert len(words) == 1 or "7" in str(config.hydra.launcher)


def test_a_launcher_hands_on_a_directory_whatever_it_is_called(tmp_path: Path) -> None:
    jobs = jobs_of([*SWEEP, "hydra/launcher=basic", f"args.output_dir={tmp_path}"], [])
    run_dir = tmp_path / "it's, a=b [c] \\ {d} ${e}"
    words = [f"+run_dir={quoted(str(run_dir))}", "+traceback=false"]
    job = config_loader().load_sweep_config(launcher_config(jobs), words)
    assert Path(job.run_dir) == run_dir and job.traceback is False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("hydra/launcher=slurm",), "there are: basic"),
        (("hydra/launcher=joblib", "hydra.launcher.n_job=7"), "n_job"),
        (("hydra/launcher=joblib", "sweep.search=tpe"), "asks for jobs one by one"),
        (("hydra/launcher=joblib", "sweep.search=random", "sweep.pruner=median"), "asks for jobs one by one"),
    ],
)
def test_a_launcher_that_cannot_take_the_jobs_is_refused(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        launcher_config(jobs_of([*SWEEP, *words], []))
    assert says in caught.value.block()
