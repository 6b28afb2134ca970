"""A sweep under way, with jobs that are played: which are started, when, and what comes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from played_jobs import KILLED, End, Played, Process, failed, finished

from trainer_cli.config.errors import DiskFailed, DiskFull, UserError
from trainer_cli.runs.lock import still_running, take
from trainer_cli.sweep import run as module
from trainer_cli.sweep.jobs import Jobs, jobs_of
from trainer_cli.sweep.run import alone, code_of, run_sweep, said_where_refused

FOUR = ("optim.lr=0.1,0.2,0.3,0.4",)


class Runner:
    """Runs sweeps below a directory, with played jobs."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.root = root
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        self.out = self.err = ""

    def __call__(self, nursery: Played, *words: str) -> int:
        self.monkeypatch.setattr(module, "Cold", lambda: nursery)
        overrides = ["+recipe=glue", f"args.output_dir={self.root}", *words]
        try:
            return run_sweep(overrides, [], ["-m", *overrides], False)
        finally:
            self.out, self.err = self.capsys.readouterr()

    @property
    def folder(self) -> Path:
        """The directory of the one sweep."""
        (file,) = self.root.rglob("sweep.json")
        return file.parent

    @property
    def statuses(self) -> dict[int, str]:
        """How the jobs that have a record stand, by number."""
        records = [json.loads(path.read_text()) for path in self.folder.glob("*/run.json")]
        return dict(sorted((record["sweep"]["number"], record["status"]) for record in records))

    @property
    def board(self) -> bytes:
        """The leaderboard as it is written."""
        return (self.folder / "leaderboard.csv").read_bytes()


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(module, "visible_gpus", lambda: ["0", "1", "2"])
    return Runner(tmp_path / "outputs", monkeypatch, capsys)


def score(number: int, _: int) -> End:
    """Every job finishes, the last one with the best score."""
    return finished(number / 10)


def test_all_jobs_run_in_their_order_and_none_twice(sweep: Runner) -> None:
    first = Played(score)
    assert sweep(first, *FOUR) == 0
    assert first.started == [1, 2, 3, 4]
    assert first.is_closed
    assert "optim.lr=0.4 is best: accuracy 0.4000" in sweep.out
    board = sweep.board
    again = Played(score)
    assert sweep(again, *FOUR) == 0
    assert again.started == []
    assert sweep.board == board
    wider = Played(score)
    assert sweep(wider, "optim.lr=0.5,0.1,0.2,0.3,0.4,0.6") == 0
    assert wider.started == [5, 6]


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 8])
def test_so_many_run_at_a_time_each_with_a_share_of_its_own(sweep: Runner, at_a_time: int) -> None:
    seen = []

    class Watched(Played):
        def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Process:
            process = super().start(run_dir, command, environment)
            seen.append([one.share.get("CUDA_VISIBLE_DEVICES") for one in self.running])
            return process

    words = ["optim.lr=0.1,0.2,0.3", "args.seed=1,2,3", f"sweep.jobs={at_a_time}"]
    assert sweep(Watched(lambda number, _: finished(0.5, looks=1 + number * 7 % 5)), *words) == 0
    assert max(map(len, seen)) == at_a_time
    if 1 < at_a_time <= 3:
        assert all(len(set(devices)) == len(devices) for devices in seen)
    assert len(sweep.statuses) == 9


def test_what_failed_is_tried_again_by_the_same_command_and_what_diverged_is_not(sweep: Runner) -> None:
    ends = {1: failed(), 2: failed("the loss is nan", "diverged"), 3: KILLED, 4: finished(0.5)}
    assert sweep(Played(lambda number, _: ends[number]), *FOUR) == 1
    assert sweep.statuses == {1: "failed", 2: "diverged", 3: "failed", 4: "finished"}
    assert "job 3 failed: optim.lr=0.3: its process was killed by SIGKILL" in sweep.out
    again = Played(score)
    assert sweep(again, *FOUR) == 1  # what diverged has still no model
    assert again.started == [1, 3]
    assert sweep.statuses == {1: "finished", 2: "diverged", 3: "finished", 4: "finished"}


def test_jobs_that_are_done_are_counted_before_any_is_started(sweep: Runner) -> None:
    sweep(Played(lambda number, _: failed() if number == 2 else finished(0.5)), *FOUR)
    assert sweep(Played(score), *FOUR) == 0
    counted, started, *_ = sweep.out.splitlines()
    assert counted == "3 of 4 jobs were done before"
    assert started.startswith("job 2/4 started")


def test_combinations_that_are_one_job_are_said(sweep: Runner) -> None:
    nursery = Played(score)
    assert sweep(nursery, "optim.lr=0.1,0.10,0.2") == 0
    assert nursery.started == [1, 2]
    assert "optim.lr=0.1 is job 1 again" in sweep.err


def test_a_job_that_fails_is_started_again_as_often_as_asked_for(sweep: Runner) -> None:
    ends = {(1, 1): failed(), (1, 2): KILLED, (1, 3): finished(0.5), (2, 1): failed("x", "diverged")}
    nursery = Played(lambda number, times: ends.get((number, times), failed("again")))
    assert sweep(nursery, "optim.lr=0.1,0.2,0.3", "sweep.retries=2") == 1
    assert nursery.started == [1, 1, 1, 2, 3, 3, 3]
    assert sweep.statuses == {1: "finished", 2: "diverged", 3: "failed"}
    assert "job 1 failed, and is started again: no memory" in sweep.out + sweep.err


@pytest.mark.parametrize("end", [failed(), failed("the loss is nan", "diverged"), KILLED])
def test_with_fail_fast_no_job_is_started_after_one_that_failed(sweep: Runner, end: End) -> None:
    ends = {1: finished(0.5, looks=9), 2: end}
    nursery = Played(lambda number, _: ends[number])
    assert sweep(nursery, *FOUR, "sweep.fail_fast=true", "sweep.jobs=2") == 1
    assert nursery.started == [1, 2]
    assert sweep.statuses[1] == "finished"
    assert "2 jobs not done" in sweep.out


def test_a_job_that_was_stopped_by_another_is_not_tried_again_and_is_no_success(sweep: Runner) -> None:
    nursery = Played(lambda number, _: End(143, "preempted"))
    assert sweep(nursery, "optim.lr=0.1,0.2", "sweep.retries=1") == 1
    assert nursery.started == [1, 2]


def test_a_pruned_job_is_a_success(sweep: Runner) -> None:
    assert sweep(Played(lambda number, _: End(0, "pruned", {"stopped": "pruned"})), "optim.lr=0.1,0.2") == 0


# ---- signals


def at_look(look: int, then: Callable[[], None], end: End) -> Callable[[Path, dict[str, str]], Process]:
    """A process during whose look that happens."""

    class Interrupting(Process):
        def poll(self) -> int | None:
            if self.looked + 1 == look:
                then()
            return super().poll()

    return lambda run_dir, share: Interrupting(run_dir, share, end)


class Interrupted(Played):
    """Jobs of which the second meets something at its second look."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__(lambda number, _: finished(number / 10, looks=9))
        self.then = then

    def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Process:
        process = super().start(run_dir, command, environment)
        if self.started == [1, 2]:
            self.processes[-1] = at_look(2, self.then, process.end)(run_dir, environment)
        return self.processes[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_has_the_jobs_save_their_work_and_the_command_goes_on(sweep: Runner, number: int) -> None:
    undisturbed = Runner(sweep.root.parent / "undisturbed", sweep.monkeypatch, sweep.capsys)
    undisturbed(Played(score), *FOUR)
    nursery = Interrupted(lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert sweep(nursery, *FOUR, "sweep.jobs=2") == 128 + number
    assert signal.getsignal(number) is before
    assert nursery.started == [1, 2]
    assert [process.signals for process in nursery.processes] == [[number]] * 2
    assert sweep.statuses == {1: "preempted", 2: "preempted"}
    assert f"{signal.Signals(number).name}: stopped; the same command goes on with the sweep" in sweep.err
    rest = Played(score)
    assert sweep(rest, *FOUR) == 0
    assert rest.started == [1, 2, 3, 4]
    assert sweep.board == undisturbed.board


@pytest.mark.parametrize(("apart", "sent"), [(1000.0, 1), (0.0, 2)])
def test_signals_that_come_together_are_one_and_a_later_one_reaches_the_jobs_too(
    sweep: Runner, apart: float, sent: int
) -> None:
    sweep.monkeypatch.setattr(module, "ONE_SIGNAL", apart)

    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    nursery = Interrupted(twice)
    assert sweep(nursery, *FOUR, "sweep.jobs=2") == 143
    assert [len(process.signals) for process in nursery.processes] == [sent, sent]


def test_a_signal_that_comes_while_a_process_is_made_reaches_it(sweep: Runner) -> None:
    class Early(Played):
        def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Process:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().start(run_dir, command, environment)

    nursery = Early(score)
    assert sweep(nursery, *FOUR) == 143
    assert [process.signals for process in nursery.processes] == [[signal.SIGTERM]]


def test_a_process_that_the_signal_ends_before_it_has_begun_is_preempted(sweep: Runner) -> None:
    class Deaf(Process):
        def send_signal(self, number: int, /) -> None:
            self.end = End(-number)

    class Early(Played):
        def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Process:
            os.kill(os.getpid(), signal.SIGTERM)
            process = super().start(run_dir, command, environment)
            return Deaf(run_dir, process.share, process.end)

    assert sweep(Early(score), *FOUR) == 143
    assert sweep.statuses == {1: "preempted"}


def test_an_error_of_the_sweep_itself_has_the_jobs_save_their_work(sweep: Runner) -> None:
    bugs = [RuntimeError("a bug")]

    def broken() -> None:
        if bugs:
            raise bugs.pop()

    nursery = Interrupted(broken)
    with pytest.raises(RuntimeError, match="a bug"):
        sweep(nursery, *FOUR, "sweep.jobs=2")
    assert [process.signals for process in nursery.processes] == [[signal.SIGTERM]] * 2
    assert [process.code for process in nursery.processes] == [143] * 2
    assert nursery.is_closed
    assert sweep(Played(score), *FOUR) == 0  # nothing is left locked


# ---- what stands in the way


def test_a_job_that_cannot_be_started_is_failed_with_its_cause_until_it_can(sweep: Runner) -> None:
    sweep(Played(lambda number, _: failed()), *FOUR)
    (place,) = sweep.folder.glob("lr-0.2_*")
    shutil.rmtree(place)
    place.write_text("in its way")
    nursery = Played(score)
    assert sweep(nursery, *FOUR) == 1
    assert nursery.started == [1, 3, 4]
    assert "job 2 failed: optim.lr=0.2: it could not be started" in sweep.out
    place.unlink()
    assert sweep(Played(score), *FOUR) == 0
    assert "could not be started" not in sweep.out


@pytest.mark.parametrize(
    "error", [OSError(11, "Resource temporarily unavailable"), UserError("it is no use")]
)
def test_a_place_is_given_back_by_a_job_whose_process_cannot_be_made(sweep: Runner, error: Exception) -> None:
    class Unable(Played):
        def start(self, run_dir: Path, command: Sequence[str], environment: dict[str, str]) -> Process:
            process = super().start(run_dir, command, environment)
            if self.started[-1] % 2:
                self.processes.pop()
                raise error
            return process

    assert sweep(Unable(score), *FOUR) == 1
    assert [sweep.statuses[number] for number in (2, 4)] == ["finished"] * 2
    for number in (1, 3):
        assert f"job {number} failed: optim.lr=0.{number}: it could not be started" in sweep.out


def test_a_job_whose_record_is_taken_away_while_it_runs_has_failed_and_the_others_go_on(
    sweep: Runner,
) -> None:
    nursery = Interrupted(lambda: shutil.rmtree(nursery.processes[0].run_dir))
    nursery.ends = lambda number, _: End(0, None if number == 1 else "finished", looks=4)
    assert sweep(nursery, *FOUR, "sweep.jobs=2") == 1
    assert nursery.started == [1, 2, 3, 4]
    assert "job 1 failed: optim.lr=0.1: its run.json was taken away while it ran" in sweep.out
    again = Played(score)
    sweep(again, *FOUR)
    assert again.started == [1]


def test_a_directory_that_cannot_be_made_is_the_users_error(sweep: Runner) -> None:
    sweep.root.write_text("a file")
    with pytest.raises(UserError, match=r"the sweep's directory .* cannot be made"):
        sweep(Played(score), *FOUR)


def test_a_directory_that_nothing_can_be_written_to_is_the_users_error(sweep: Runner) -> None:
    sweep(Played(score), *FOUR)
    (sweep.folder / ".lock").unlink()
    (sweep.folder / ".lock").mkdir()
    with pytest.raises(UserError, match=r"the sweep's directory .* cannot be .*written to: Is a directory"):
        sweep(Played(score), *FOUR)


def test_a_sweep_that_is_run_already_is_left_alone(sweep: Runner) -> None:
    sweep(Played(score), *FOUR)
    board = sweep.board
    with alone(sweep.folder), pytest.raises(UserError, match=f"is being run already: process {os.getpid()} "):
        sweep(Played(score), *FOUR)
    assert sweep.board == board
    assert sweep(Played(score), *FOUR) == 0


def test_what_another_start_of_the_sweep_has_done_since_it_was_read_is_seen(
    sweep: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery, times = Played(score), []

    def read(*words: Any) -> Jobs:
        times.append(len(nursery.started))
        jobs = jobs_of(*words)
        if len(times) == 1:
            assert sweep(nursery, *FOUR) == 0
        return jobs

    monkeypatch.setattr(module, "jobs_of", read)
    assert sweep(nursery, *FOUR) == 0
    assert nursery.started == [1, 2, 3, 4] and times == [0, 0, 4]


def test_a_job_that_another_sweep_or_a_resume_carries_out_is_left_alone(sweep: Runner) -> None:
    sweep(Played(lambda number, _: End(0, "preempted" if number == 2 else "finished")), *FOUR)
    (second,) = [path.parent for path in sweep.folder.glob("*/run.json") if "lr-0.2" in str(path)]
    with take(second, still_running).released_by_errors() as lock:
        nursery = Played(score)
        assert sweep(nursery, *FOUR) == 1
        assert nursery.started == [] and "still running" in sweep.out
        lock.release()
    assert sweep(nursery, *FOUR) == 0 and nursery.started == [2]


def test_a_job_is_held_while_it_runs_and_no_longer(sweep: Runner) -> None:
    held = []

    def ends(number: int, _: int) -> End:
        for path in sweep.folder.glob("*/run.json"):
            text = (path.parent / ".lock").read_text()
            held.append((json.loads(path.read_text())["sweep"]["number"], bool(text)))
        return finished(0.5)

    assert sweep(Played(ends), "optim.lr=0.1,0.2") == 0
    assert held == [(1, True), (1, False), (2, True)] or held == [(1, True), (2, True), (1, False)]


def test_the_lock_is_given_back_however_the_sweep_ends(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), alone(tmp_path):
        raise RuntimeError
    with alone(tmp_path), pytest.raises(UserError, match="is being run already"), alone(tmp_path):
        pass
    with alone(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(("number", "error"), [(28, DiskFull), (122, DiskFull), (13, PermissionError)])
def test_a_full_disk_is_said_and_no_other_error_is_taken_for_one(
    tmp_path: Path, number: int, error: type[Exception]
) -> None:
    with pytest.raises(error), said_where_refused(tmp_path):
        raise OSError(number, "words of the system")


def test_what_the_disk_refuses_of_a_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match=r"sweep\.json: words of the system"), said_where_refused(tmp_path):
        raise OSError(5, "words of the system", str(tmp_path / "sweep.json"))


def test_what_other_code_has_done_is_kept_and_said(sweep: Runner) -> None:
    sweep(Played(score), *FOUR)
    assert "other code" not in sweep.err
    (place,) = sweep.folder.glob("lr-0.3_*")
    fields = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps({**fields, "packages": {"torch": "0.4"}}))
    nursery = Played(score)
    assert sweep(nursery, *FOUR) == 0
    assert nursery.started == []
    assert "1 of the jobs that were done before were done by other code or packages" in sweep.err


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"git": {"commit": "a", "changes": None, "dirty": False}, "packages": {"torch": "1"}}, True),
        ({"git": {"commit": "b", "changes": None}, "packages": {"torch": "1"}}, False),
        ({"git": {"commit": "a", "changes": "x"}, "packages": {"torch": "1"}}, False),
        ({"git": {"commit": "a", "changes": None}, "packages": {"torch": "2"}}, False),
        ({"git": None, "packages": {"torch": "1"}}, False),
    ],
)
def test_code_is_told_apart_by_commit_changes_and_packages(fields: dict[str, Any], same: bool) -> None:
    mine = {"git": {"commit": "a", "changes": None}, "packages": {"torch": "1"}, "machine": {}}
    assert (code_of(fields) == code_of(mine)) == same
