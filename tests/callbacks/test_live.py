"""The live lines of a run: what they say, at any width, of every state that a run can be in."""

from __future__ import annotations

import io
import math
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from small_run import built

from trainer_cli import runner
from trainer_cli.callbacks import Callback, live, throughput
from trainer_cli.callbacks.live import Counts, RunView, in_steps, rate
from trainer_cli.callbacks.throughput import Clock
from trainer_cli.data.loader import GlobalBatch
from trainer_cli.engine import Engine
from trainer_cli.runs.screen import Screen

WIDTHS = (20, 40, 60, 80, 120, 200)
TWO_SETS = (
    "~data.eval",
    "+data.eval.easy={_target_: small_run.Rows, size: 17, seed: 1}",
    "+data.eval.hard={_target_: small_run.Rows, size: 9, seed: 5}",
)
ROW = {"step": 6, "epoch": 1.0, "train/loss": 0.5, "train/lr": 1e-4, "train/grad_norm": 2.5}


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


class Time:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(live, "monotonic", time)
    monkeypatch.setattr(throughput, "monotonic", time)
    return time


@pytest.fixture
def timed(time: Time, view: RunView) -> RunView:
    """The same run, of which an update takes half a second."""
    view.engine.state.step = 0
    timed = RunView(view.engine, Clock())
    timed.train()
    timed.clock.run()
    for _ in range(6):
        time.now += 0.5
        timed.clock.tick()
        timed.engine.state.step += 1
        timed.update(8, 2000)
    timed.engine.state.epoch = 1
    timed.row, timed.losses, timed.scores = view.row, view.losses, view.scores
    timed.memory = (time.now, "memory 0.7 GB")  # looked up just now
    return timed


def panel(view: RunView, width: int, height: int = 30) -> list[str]:
    """What a terminal of this size has on it, as rich draws it, without colours."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, color_system=None)
    screen = Screen(console, view.lines)
    screen.auto_refresh = False
    screen.start(refresh=True)
    screen.stop()
    *_, frame = file.getvalue().split("\x1b[2K")  # of the frames the last
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\r", "", frame).rstrip("\n").split("\n")


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
    view.evaluation.done = 1
    assert shown(view)[-1].strip() == "now  evaluating · 1 batch"


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


def test_without_colours_the_bar_can_be_read(view: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    Console(file=file, force_terminal=True, width=100).print(view.lines(100, 20)[0])
    text = file.getvalue()
    assert "━" in text and "─" in text and "\x1b[3" not in text


def test_other_rows_of_numbers_do_not_crowd_it(view: RunView) -> None:
    before = shown(view, 60)[1]
    more = {f"train/lr/group{n}": 0.1 for n in range(9)} | {"train/tokens_seen": 10**9}
    view.log({**ROW, **more})
    after = shown(view, 60)[1]
    assert "group" not in after and "tokens_seen" not in after and len(after) <= len(before) + 1


def test_on_a_gpu_the_memory_is_what_was_allocated_there(
    view: RunView, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = type("Properties", (), {"total_memory": 80 * 10**9})
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 6_140_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: room)
    view.engine.strategy.device = torch.device("cuda", 0)
    assert "GPU memory 6.1 of 80 GB" in shown(view)[2]


PANELS = {
    120: """
   train  ━━━━━━━━━━━━━━━━━━━━────────────────────  6/12 · 50% · epoch 1.00 · 3 s · ETA 3 s
    loss  0.5 █▃▁ · grad norm 2.5 · lr 0.0001
   speed  500 ms/step · 16 samples/s · 4,000 tokens/s · memory 0.7 GB
    eval  step 6 · loss 0.6 · accuracy 0.75 · best loss 0.6 at step 3
    next  checkpoint in 4 steps · evaluation in 6 steps""",
    60: """
   train  ━━━━━━━╸───────  6/12 · epoch 1.00 · 3 s · ETA 3 s
    loss  0.5 █▃▁ · grad norm 2.5 · lr 0.0001
   speed  500 ms/step · 16 samples/s · 4,000 tokens/s
    eval  step 6 · loss 0.6 · best loss 0.6 at step 3
    next  checkpoint in 4 steps · evaluation in 6 steps""",
    40: """
   train  ━━━━━━━───────  6/12 · ETA 3 s
    loss  0.5 █▃▁ · grad norm 2.5
   speed  500 ms/step · 16 samples/s
    eval  loss 0.6
    next  checkpoint in 4 steps""",
    24: """
6/12 · ETA 3 s
0.5 █▃▁ · grad norm 2.5
500 ms/step
loss 0.6
checkpoint in 4 steps""",
}


@pytest.mark.parametrize("width", PANELS)
def test_a_terminal_of_any_width_has_what_matters_most(timed: RunView, width: int) -> None:
    assert panel(timed, width) == PANELS[width].removeprefix("\n").split("\n")


@pytest.mark.parametrize("height", [1, 2, 4, 6])
def test_a_low_terminal_has_the_first_lines(timed: RunView, height: int) -> None:
    whole = PANELS[60].removeprefix("\n").split("\n")
    assert panel(timed, 60, height) == whole[: height - 1] or [""]


def test_wide_characters_take_two_columns(timed: RunView) -> None:
    timed.scores = {"step": 6, "eval/loss": 0.6, "eval/正確さ": 0.75, "eval/損失の平均": 1.5}
    assert "loss 0.6 · 正確さ 0.75 · 損失の平均 1.5" in panel(timed, 120)[3]
    for width in range(10, 120):
        lines = panel(timed, width)
        assert len(lines) <= 5 and all(cell_len(line) <= width for line in lines)


def test_before_the_first_update_there_is_only_what_is_known(timed: RunView) -> None:
    view = RunView(timed.engine, Clock())
    assert panel(view, 80) == ["    next  checkpoint in 4 steps · evaluation in 6 steps"]
    view.train()
    view.memory = timed.memory
    train, speed, following = panel(view, 80)
    assert "6/12" in train and "ETA" not in train
    assert speed.split() == ["speed", "memory", "0.7", "GB"]
    assert following.strip() == "next  checkpoint in 4 steps · evaluation in 6 steps"


def test_of_a_resumed_run_only_this_starts_updates_are_timed(time: Time, timed: RunView) -> None:
    engine = timed.engine
    view = RunView(engine, Clock())
    view.train()
    view.clock.run()
    engine.total_steps = 100
    for _ in range(3):
        time.now += 2.0
        view.clock.tick()
        engine.state.step += 1
        view.update(8, 0)
    # Two of the three lie between the first and the last: the first one may have warmed up.
    assert "9/100 · 9% · epoch 1.00 · 6 s · ETA 3 min 2 s" in panel(view, 80)[0]
    assert "2 s/step · 4 samples/s" in panel(view, 80)[1]


def test_updates_that_were_passed_over_are_no_longer_to_come(timed: RunView) -> None:
    timed.engine.state.skipped_steps = 3
    assert "6/12 · 75% · epoch 1.00 · 3 s · ETA 2 s" in panel(timed, 80)[0]
    timed.engine.state.skipped_steps = 9
    assert "ETA 0 s" in panel(timed, 80)[0]


def test_a_shape_has_the_last_losses_alone(timed: RunView) -> None:
    for step in range(100):
        timed.log({**ROW, "train/loss": 1.0 if step < 50 else 2.0})
    assert len(timed.losses) == live.RECENT_LOSSES
    assert panel(timed, 120)[1].strip() == f"loss  2 {'▅' * 40} · grad norm 2.5 · lr 0.0001"
    # Where there is no room for all of them, the oldest go.
    timed.log({**ROW, "train/loss": 3.0})
    assert panel(timed, 40)[1].strip() == f"loss  3 {'▁' * 11}█ · grad norm 2.5"


def test_the_score_that_picks_the_best_model_is_the_last_to_go(tmp_path: Path) -> None:
    words = ("args.metric_for_best_model=eval/hard/accuracy", "args.greater_is_better=true")
    with built(tmp_path, *TWO_SETS, *words) as engine:
        view = RunView(engine, Clock())
        view.train()
        sets = ("easy", "hard")
        scores = {f"eval/{name}/{metric}": 0.25 for name in sets for metric in ("loss", "accuracy")}
        view.scores = {"step": 6, **scores}
        engine.state.best_metric, engine.state.best_step = 0.25, 6
        (line,) = [line for line in panel(view, 120) if line.strip().startswith("eval")]
        assert line.strip() == (
            "eval  step 6 · hard/accuracy 0.25 · easy/loss 0.25 · easy/accuracy 0.25 · hard/loss 0.25"
            " · the best so far"
        )
        (line,) = [line for line in panel(view, 50) if line.strip().startswith("eval")]
        assert line.strip() == "eval  hard/accuracy 0.25 · the best so far"


class Watch(Callback):
    """What the panel announces before each step, and the steps at which it then comes."""

    def __init__(self, engine: Engine) -> None:
        self.view = RunView(engine, Clock())
        self.said: list[tuple[int, int | None, int | None]] = []
        self.evaluations: list[int] = []
        self.checkpoints: list[int] = []

    def on_step_begin(self, engine: Engine, batch: GlobalBatch) -> None:
        due = self.view.steps_to_evaluation(), self.view.steps_to_save()
        self.said.append((engine.state.step, *due))

    def on_evaluate(self, engine: Engine, row: Mapping[str, Any]) -> None:
        self.evaluations.append(engine.state.step)

    def on_save(self, engine: Engine, checkpoint: Path) -> None:
        self.checkpoints.append(int(checkpoint.name.removeprefix("checkpoint-")))


@pytest.mark.parametrize("evaluate", ["no", "steps", "epoch"])
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("args.stages=[train]",),
        ("args.eval_delay=1.5",),
        ("args.eval_delay=5",),
        ("args.max_steps=8",),
        ("args.gradient_accumulation_steps=2", "args.num_train_epochs=4"),
        ("args.dataloader_drop_last=true",),
    ],
    ids=lambda words: ",".join(words) or "as it is",
)
def test_what_is_announced_is_what_comes(tmp_path: Path, evaluate: str, words: tuple[str, ...]) -> None:
    save = {"no": "steps", "steps": "epoch", "epoch": "steps"}[evaluate]
    cadence = (f"args.eval_strategy={evaluate}", "args.eval_steps=3", f"args.save_strategy={save}")
    with built(tmp_path, *cadence, "args.save_steps=5", *words) as engine:
        watch = Watch(engine)
        engine.callbacks["watch"] = watch
        engine.__post_init__()
        runner.run(engine)
    assert watch.said[-1][0] + 1 == engine.state.step == engine.total_steps
    for step, evaluation, checkpoint in watch.said:
        for due, came in ((evaluation, watch.evaluations), (checkpoint, watch.checkpoints)):
            assert (None if due is None else step + due) == min(
                (at for at in came if at > step), default=None
            ), (step, came)


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (5.0, "5"), (99.94, "99.9"), (100.4, "100"), (12345.6, "12,346")]
)
def test_how_many_a_second(value: float, text: str) -> None:
    assert rate(value) == text
