"""SwanLab, DVCLive, Comet and ClearML, through the trackers of accelerate."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trainer_cli import durable
from trainer_cli.tracker.base import Once, Status, Tracker, finite, installed
from trainer_cli.tracker.run import Run


class Accelerated(Tracker):
    """Logs finite numbers, and the configuration, to a tracker of accelerate."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.tracker: Any = None

    @abstractmethod
    def make(self, run: Run) -> Any:
        """The run's tracker, which is not started yet."""

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        if self.tracker is not None:
            return
        from accelerate import PartialState

        PartialState(cpu=True)  # its logger, which its trackers speak to, asks for it
        run = Run.read(run_dir)
        tracker = self.make(run)
        tracker.start()
        tracker.store_init_configuration(run.config)
        self.tracker = tracker

    def log(self, row: Mapping[str, Any]) -> None:
        self.tracker.log(finite(row), step=row["step"])

    def close(self, status: Status = "finished") -> None:
        self.tracker.finish()


class SwanLab(Accelerated):
    """Logs to an experiment of SwanLab, which a resumed run goes on with; the key is that of `swanlab login`.

    Args:
        project: Project of the run; null: the run's name.
        workspace: Workspace of the project; null: the user's own.
        mode: Offline and local keep all in the run's directory.
        timeout: Seconds that the end of the run waits for what is still to be sent.
    """

    def __init__(
        self,
        project: str | None,
        workspace: str | None,
        mode: Literal["online", "local", "offline", "disabled"] | None,
        timeout: float,
    ) -> None:
        super().__init__(timeout)
        self.package = installed("swanlab", "swanlab")
        self.project = project
        self.workspace = workspace
        self.mode = mode

    def make(self, run: Run) -> Any:
        from accelerate.tracking import SwanLabTracker

        # It neither asks nor listens in on the terminal, and is not told the command line.
        quiet = {
            "interactive": False,
            "terminal": {"proxy_type": "none"},
            "probe": {"runtime": False},
        }
        return SwanLabTracker(
            self.project or run.name,
            workspace=self.workspace,
            mode=self.mode,
            name=run.title,
            group=run.group,
            id=run.key[:21],
            resume="allow",
            log_dir=str(durable.whole_folder(run.run_dir / "swanlog")),
            settings=self.package.Settings.model_validate(quiet),
        )


class DVCLive(Accelerated):
    """Writes plots and metrics as files of DVC, below `dvclive` in the run's directory.

    Args:
        report: Kind of report that is written beside them; null: none.
        save_dvc_exp: Whether an experiment of DVC is made at the end, in the git repository around the run.
        timeout: Seconds that the end of the run waits for what is still to be written.
    """

    def __init__(self, report: Literal["md", "html"] | None, save_dvc_exp: bool, timeout: float) -> None:
        super().__init__(timeout)
        installed("dvclive", "dvclive")
        self.report = report
        self.save_dvc_exp = save_dvc_exp
        self.once = Once()

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        super().start(run_dir, step, rows)
        plots = run_dir / "dvclive" / "plots" / "metrics"
        self.once = Once(
            (path.relative_to(plots).with_suffix("").as_posix(), int(line.split("\t")[0]))
            for path in plots.rglob("*.tsv")
            for line in path.read_text(encoding="utf-8").splitlines()[1:]
        )

    def log(self, row: Mapping[str, Any]) -> None:
        super().log({"step": row["step"], **self.once.new(row)})

    def make(self, run: Run) -> Any:
        from accelerate.tracking import DVCLiveTracker

        folder = run.run_dir / "dvclive"
        return DVCLiveTracker(
            resume=folder.exists(),
            dir=str(durable.whole_folder(folder)),
            report=self.report,
            save_dvc_exp=self.save_dvc_exp,
            dvcyaml=str(folder / "dvc.yaml"),
        )


class Comet(Accelerated):
    """Logs to an experiment of Comet, which a resumed run goes on with; the key is that of `comet login`.

    Args:
        project: Project of the run; null: the run's name.
        workspace: Workspace of the project; null: the user's own.
        online: Whether it is sent at once; else it is kept in the run's directory, for `comet upload`.
        timeout: Seconds that the end of the run waits for what is still to be sent.
    """

    def __init__(self, project: str | None, workspace: str | None, online: bool, timeout: float) -> None:
        super().__init__(timeout)
        self.package = installed("comet_ml", "comet")
        self.project = project
        self.workspace = workspace
        self.online = online

    def make(self, run: Run) -> Any:
        from accelerate.tracking import CometMLTracker

        logging.getLogger("comet_ml").setLevel(logging.WARNING)
        settings = self.package.ExperimentConfig(
            name=run.title,
            tags=[run.group] if run.group else [],
            offline_directory=str(durable.whole_folder(run.run_dir / "comet")),
            display_summary_level=0,
            auto_output_logging=False,
            auto_param_logging=False,
            auto_metric_logging=False,
            parse_args=False,
            log_code=False,
            log_graph=False,
            log_git_patch=False,
        )
        return CometMLTracker(
            self.project or run.name,
            workspace=self.workspace,
            online=self.online,
            mode="get_or_create",
            experiment_key=run.key,
            experiment_config=settings,
        )


class ClearML(Accelerated):
    """Logs to a task of ClearML, which a resumed run goes on with; the server is that of `clearml-init`.

    Args:
        project: Project of the run; null: the run's name.
        timeout: Seconds that the end of the run waits for what is still to be sent.
    """

    def __init__(self, project: str | None, timeout: float) -> None:
        super().__init__(timeout)
        installed("clearml", "clearml")
        self.project = project

    def start(self, run_dir: Path, step: int, rows: int) -> None:
        super().start(run_dir, step, rows)
        self.tracker.tracker.set_initial_iteration(0)  # it would count on from the last step it has
        durable.write(run_dir / "clearml-task", self.tracker.tracker.id)

    def make(self, run: Run) -> Any:
        from accelerate.tracking import ClearMLTracker

        before = run.run_dir / "clearml-task"
        return ClearMLTracker(
            run.title,
            project_name=self.project or run.name,
            task_name=run.title,
            reuse_last_task_id=False,
            continue_last_task=durable.read_text(before) if before.exists() else False,
            auto_connect_arg_parser=False,
            auto_connect_frameworks=False,
            auto_connect_streams=False,
        )
