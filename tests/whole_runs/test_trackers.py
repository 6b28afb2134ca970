"""Trackers of the real program: stopped, gone on with, hanging, and not installed."""

from __future__ import annotations

import signal
import time

import pytest

pytestmark = pytest.mark.slow

RUN = ["+recipe=spirals", "args.logging_steps=10", "args.save_strategy=steps", "args.save_steps=50"]
STUCK = """\
import threading
import time

from trainer_cli.tracker import Tracker


class Stuck(Tracker):
    timeout = 1.0

    def start(self, run_dir, step, rows):
        # A package's own thread, for which Python's end would wait.
        threading.Thread(target=time.sleep, args=(600,)).start()

    def log(self, row):
        time.sleep(600)

    def close(self, status="finished"):
        pass
"""


def losses(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [event.step for event in events.Scalars("train/loss")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_a_run_that_was_stopped_goes_on_in_its_tracker_run(project, number):
    pytest.importorskip("tensorboard")
    words = [*RUN, "tracker=tensorboard"]
    started = project.start(*words)
    project.wait_for_rows(12)
    started.process.send_signal(number)
    started.end()
    project.run(*words, "resume=latest")
    assert losses(project.last) == list(range(10, 1001, 10))


def test_a_tracker_that_hangs_does_not_hold_up_the_end_of_the_program(project, tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    begin = time.monotonic()
    words = ["plugins=[stuck]", "tracker.mine._target_=stuck.Stuck"]
    ended = project.run(*RUN, *words, PYTHONPATH=str(tmp_path))
    assert time.monotonic() - begin < 60
    assert ended.text.count("metrics.jsonl has its rows") == 1
    assert project.record()["status"] == "finished"


@pytest.mark.parametrize("verb", [[], ["plan"]], ids=["run", "plan"])
def test_a_package_that_is_missing_is_said_before_training(project, tmp_path, verb):
    pytest.importorskip("tensorboard")
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'tensorboard' else find(name, *more)\n"
    )
    ended = project(*verb, *RUN, "tracker=tensorboard", PYTHONPATH=str(tmp_path))
    assert ended.code == 2 and not project.runs
    assert "tracker.tensorboard needs tensorboard, which is not installed" in ended.text
    assert "pip install 'trainer-cli[tensorboard]' adds it" in ended.text
