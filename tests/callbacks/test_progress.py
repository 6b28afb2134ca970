"""What a run shows: live lines that fit any terminal, plain lines where there is none."""

from __future__ import annotations

import io
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_run import built, run

from trainer_cli.callbacks import Progress, live
from trainer_cli.callbacks.live import Counts, RunView, in_steps
from trainer_cli.callbacks.throughput import Clock
from trainer_cli.engine import Engine

WIDTHS = (20, 40, 60, 80, 120, 200)
SHOWN = "callbacks={progress: {_target_: trainer_cli.callbacks.Progress}}"
TWO_SETS = (
    "~data.eval",
    "+data.eval.easy={_target_: small_run.Rows, size: 17, seed: 1}",
    "+data.eval.hard={_target_: small_run.Rows, size: 9, seed: 5}",
)
ROW = {"step": 6, "epoch": 1.0, "train/loss": 0.5, "train/lr": 1e-4, "train/grad_norm": 2.5}


class Terminal(io.StringIO):
    """What a terminal was sent."""

    def isatty(self) -> bool:
        return True


def terminal(width: int = 100) -> Console:
    return Console(file=Terminal(), force_terminal=True, width=width, height=30, highlight=False)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with built(tmp_path, "args.save_strategy=steps", "args.save_steps=5") as engine:
        yield engine


@pytest.fixture
def view(engine: Engine) -> RunView:
    """Of a run with a row and an evaluation, half-way."""
    view = RunView(engine, Clock())
    view.train()
    view.clock.run()
    for _ in range(6):
        view.clock.tick()
        engine.state.step += 1
        view.update(8, 0)
    for loss in (0.9, 0.6, 0.5):
        view.log({**ROW, "train/loss": loss})
    view.scores = {"step": 6, "epoch": 1.0, "eval/loss": 0.6, "eval/accuracy": 0.75}
    engine.state.best_metric, engine.state.best_step = 0.6, 3
    return view


def shown(view: RunView, width: int = 120) -> list[str]:
    return [line.plain for line in view.lines(width, 20)]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_longer_than_the_terminal_is_wide(view: RunView, width: int) -> None:
    view.engine.state.nonfinite_steps = 2
    for lines in (shown(view, width), (view.evaluate(view.engine.eval_loaders[""]), shown(view, width))[1]):
        assert lines and all(len(line) <= width for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_shown_is_shown_whole(view: RunView, width: int) -> None:
    view.began -= 3700.0
    whole = {
        piece.strip(" ━╸─")
        for line in shown(view, 400)
        for piece in line[10:].replace("  ", " · ").split(" · ")
    }
    for line in shown(view, width):
        text = line[10:] if width >= 40 else line
        pieces = {piece.strip(" ━╸─") for piece in text.replace("  ", " · ").split(" · ")}
        assert pieces - {""} <= whole or "speed" in line


def test_there_is_all_that_one_wants_to_know(view: RunView) -> None:
    train, loss, speed, scores, following = shown(view)
    assert "━" in train and "─" in train
    for part in ("6/12", "50%", "epoch 0.00", "0 s", "ETA 0 s"):
        assert part in train
    assert "loss  0.5 █▃▁ · grad norm 2.5 · lr 0.0001" in loss
    assert "ms/step" in speed and "samples/s" in speed and "memory" in speed and "tokens" not in speed
    assert scores.strip() == "eval  step 6 · loss 0.6 · accuracy 0.75 · best loss 0.6 at step 3"
    assert following.strip() == "next  checkpoint in 4 steps · evaluation in 6 steps"


def test_what_matters_most_goes_last(view: RunView) -> None:
    lines = shown(view, 40)
    assert "6/12" in lines[0] and "0.5" in lines[1] and "checkpoint in 4 steps" in lines[4]
    assert shown(view, 24)[0].endswith("6/12 · ETA 0 s")
    assert len(view.lines(120, 2)) == 2


def test_a_loss_that_is_not_finite_is_seen_and_stays_in_the_shape(view: RunView) -> None:
    view.log({**ROW, "train/loss": math.nan})
    view.engine.state.nonfinite_steps = 1
    line = view.lines(120, 20)[1]
    assert "loss  nan █▃▁✕" in line.plain and "1 not finite" in line.plain
    assert any("red" in str(span.style) and line.plain[span.start : span.end] == "nan" for span in line.spans)
    view.log(ROW)
    assert "0.5 █▃▁✕▁" in shown(view)[1]


def test_the_evaluation_at_hand_has_a_bar_and_the_last_one_stays(view: RunView, engine: Engine) -> None:
    view.evaluate(engine.eval_loaders[""])
    assert view.evaluation is not None
    view.evaluation.batches, view.evaluation.done = 8, 2
    *_, scores, now = shown(view)
    assert "accuracy 0.75" in scores
    assert now.strip().startswith("now  evaluating  ━━━━━━━╸─") and "2/8 · ETA 0 s" in now
    view.evaluation.batches = None
    assert shown(view)[-1].strip() == "now  evaluating · 2 batches"


def test_a_set_is_called_by_its_name(tmp_path: Path) -> None:
    with built(tmp_path, *TWO_SETS) as engine:
        view = RunView(engine, Clock())
        for name, loader in engine.eval_loaders.items():
            view.evaluate(loader)
            (line,) = shown(view)
            assert f"evaluating {name}  " in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("args.save_strategy=epoch",), "checkpoint in 6 steps · evaluation in 6 steps"),
        (("args.save_strategy=no",), "evaluation in 6 steps"),
        (("args.save_strategy=best",), "checkpoint at the best score · evaluation in 6 steps"),
        (
            ("args.save_strategy=steps", "args.save_steps=100"),
            "checkpoint in 12 steps · evaluation in 6 steps",
        ),
        (
            ("args.save_strategy=no", "args.eval_strategy=steps", "args.eval_steps=2", "args.eval_delay=5"),
            "evaluation in 6 steps",
        ),
        (("args.save_strategy=no", "args.eval_strategy=no"), "evaluation in 12 steps"),
        (("args.save_strategy=no", "args.eval_strategy=no", "args.stages=[train]"), None),
        (("args.save_strategy=no", "args.max_steps=4"), "evaluation in 4 steps"),
    ],
)
def test_what_comes_next(tmp_path: Path, words: tuple[str, ...], said: str | None) -> None:
    with built(tmp_path, *words) as engine:
        view = RunView(engine, Clock())
        view.train()
        following = [line.strip() for line in shown(view) if line.strip().startswith("next")]
        assert following == ([] if said is None else [f"next  {said}"])


def test_a_checkpoint_that_is_being_written_and_a_signal_are_told(view: RunView, engine: Engine) -> None:
    engine.state.saved_step = 6
    assert "writing checkpoint-6" in shown(view)[-1]
    view.saved = 6
    assert "checkpoint in 4 steps" in shown(view)[-1]
    engine.state.signal = signal.SIGTERM
    assert "SIGTERM: ends after this step, and saves" in shown(view)[-1]


def test_a_speed_is_that_of_the_last_seconds(view: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WINDOW", 10.0)
    view.clock.updates, view.clock.seconds, view.samples, view.tokens = 20, 10.5, 160, 2000
    assert "525 ms/step · 15.2 samples/s · 190 tokens/s" in shown(view)[2]
    assert view.marks[-1] == Counts(20, 10.5, 160, 2000)
    view.clock.updates, view.clock.seconds, view.samples, view.tokens = 30, 40.5, 240, 5000
    assert "1.35 s/step · 5.93 samples/s · 123 tokens/s" in shown(view)[2]
    view.clock.updates, view.clock.seconds, view.samples, view.tokens = 130, 50.5, 1240, 105_000
    assert "364 ms/step · 27 samples/s · 2,575 tokens/s" in shown(view)[2]


def test_what_is_over_stands_still(view: RunView) -> None:
    view.began -= 100
    view.end()
    lines = shown(view)
    assert not any("next" in line or "ETA" in line for line in lines)
    assert "1 min 40 s" in lines[0]
    view.ended -= 40
    assert "1 min 0 s" in shown(view)[0]


@pytest.mark.parametrize("steps", [(0, "now"), (1, "in 1 step"), (1200, "in 1,200 steps")])
def test_when(steps: tuple[int, str]) -> None:
    assert in_steps(steps[0]) == steps[1]


def shows(engine: Engine, width: int = 100) -> tuple[Progress, Terminal]:
    """The engine's progress, on a terminal."""
    part: Any = engine.callbacks["progress"]
    part.console = terminal(width)
    return part, part.console.file


def test_a_run_on_a_terminal_leaves_its_last_state_and_a_line_an_evaluation(tmp_path: Path) -> None:
    from trainer_cli import runner

    with built(tmp_path, SHOWN, "args.stages=[train]") as engine:
        part, screen = shows(engine)
        runner.run(engine)
    text = screen.getvalue()
    assert text.count("step 6 · eval/loss") == 1 and text.count("step 12 · eval/loss") == 1
    last = text[text.rindex("train") :]
    assert "12/12" in last and "eval" in last and "step 12" in last and "next" not in last
    assert "\x1b[?25l" not in text or text.count("\x1b[?25l") <= text.count("\x1b[?25h")
    assert part.screen is None and part.view is None
    assert not [thread for thread in threading.enumerate() if "Refresh" in type(thread).__name__]


def test_an_error_gives_the_terminal_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from trainer_cli import loop, runner

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    streams = sys.stdout, sys.stderr
    with built(tmp_path, SHOWN) as engine:
        part, _ = shows(engine)
        monkeypatch.setattr(loop, "train_step", fail)
        with pytest.raises(RuntimeError, match="broken"):
            runner.run(engine)
    assert part.screen is None
    assert (sys.stdout, sys.stderr) == streams


def test_the_view_of_an_evaluation_alone_leaves_nothing_but_its_scores(tmp_path: Path) -> None:
    from trainer_cli import runner

    with built(tmp_path, SHOWN, "args.stages=[eval]") as engine:
        part, screen = shows(engine)
        runner.run(engine)
    text = screen.getvalue()
    assert "now" in text and "step 0 · eval/loss" in text
    assert part.screen is None
    assert "train" not in text[text.index("run") :]


def test_a_process_without_a_terminal_has_plain_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Colours can be asked for in a log file, a moving cursor cannot be wanted there.
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(tmp_path, SHOWN)
    out = capsys.readouterr().out
    assert (
        len([line for line in out.splitlines() if line.startswith("step ") and "/12 · epoch" in line]) == 12
    )
    assert "\x1b[2K" not in out and "━" not in out


def test_so_has_a_dumb_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer_cli import runner

    monkeypatch.setenv("TERM", "dumb")
    with built(tmp_path, SHOWN) as engine:
        _, screen = shows(engine)
        runner.run(engine)
    text = screen.getvalue()
    assert "step 12/12 · epoch 2.00 · loss" in text and "\x1b[1A" not in text


def test_without_colours_the_bar_can_be_read(view: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = terminal()
    console.print(view.lines(100, 20)[0])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "━" in text and "─" in text and "\x1b[3" not in text


def test_other_rows_of_numbers_do_not_crowd_it(view: RunView) -> None:
    before = shown(view, 60)[1]
    more = {f"train/lr/group{n}": 0.1 for n in range(9)} | {"train/tokens_seen": 10**9}
    view.log({**ROW, **more})
    after = shown(view, 60)[1]
    assert "group" not in after and "tokens_seen" not in after and len(after) <= len(before) + 1


def test_an_update_costs_next_to_nothing(view: RunView) -> None:
    start = time.perf_counter()
    for _ in range(10_000):
        view.update(8, 100)
    assert (time.perf_counter() - start) / 10_000 < 20e-6


def test_on_a_gpu_the_memory_is_what_was_allocated_there(
    view: RunView, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = type("Properties", (), {"total_memory": 80 * 10**9})
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 6_140_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: room)
    view.engine.strategy.device = torch.device("cuda", 0)
    assert "GPU memory 6.1 of 80 GB" in shown(view)[2]
