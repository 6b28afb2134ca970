"""What `plan` shows of a run's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from small_run import OVERRIDES, built

from trainer_cli import preview
from trainer_cli.config.compose import compose

OWN_RATES = "optim.groups=[{modules: layers, lr: 0.5, betas: [0.5, 0.9]}]"


def printed(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def config(*overrides: str) -> dict[str, Any]:
    return compose([*OVERRIDES, *overrides]).config


def course(tmp_path: Path, *overrides: str, processes: int = 1) -> str:
    with built(tmp_path / "run", *overrides) as engine:
        return preview.learning_rate(engine, config(*overrides)["scheduler"], processes, 60)


def test_groups_are_listed_with_what_differs(tmp_path: Path) -> None:
    with built(tmp_path / "run", "optim.weight_decay=0.1", OWN_RATES) as engine:
        shown = printed(preview.groups(engine, config(OWN_RATES)["optim"]))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert rows == [
        ["layers.decay", "2", "144", "0.5", "0.1", "[0.5, 0.9]"],
        ["layers.no_decay", "2", "19", "0.5", "0", "[0.5, 0.9]"],
    ]


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        (["scheduler=linear"], ["0.01", "0.00583", "0.00167"]),
        (["scheduler=constant"], ["0.01"]),
        (
            [
                "scheduler=step",
                "~scheduler.num_warmup_steps",
                "scheduler.gamma=0.5",
                "scheduler.step_size=4",
                "scheduler._target_=torch.optim.lr_scheduler.StepLR",
            ],
            ["0.01", "0.00625", "0.0025"],
        ),
    ],
)
def test_the_curve_has_the_rates_of_the_run(tmp_path: Path, schedule: list[str], ends: list[str]) -> None:
    drawing = course(
        tmp_path, "args.max_steps=6" if "linear" in schedule[0] else "args.max_steps=12", *schedule
    )
    labels = [line.split("┤")[0].strip() for line in drawing.splitlines() if "┤" in line]
    assert labels == ends


def test_the_curve_is_as_long_as_the_run_over_its_processes(tmp_path: Path) -> None:
    assert course(tmp_path, processes=1).split()[-1] == "12"
    assert course(tmp_path, processes=2).split()[-1] == "6"


def test_the_group_is_named_where_rates_differ(tmp_path: Path) -> None:
    assert course(tmp_path).splitlines()[0] == "learning rate of each update"
    some = "optim.groups=[{modules: layers.0, lr: 0.5}]"
    assert course(tmp_path, some).splitlines()[0] == "learning rate of each update, group decay"


def test_a_schedule_that_waits_for_the_score_is_told_in_words(tmp_path: Path) -> None:
    text = course(tmp_path, "scheduler=reduce_lr_on_plateau", "args.metric_for_best_model=accuracy")
    assert text.startswith("learning rate: 0.01 at first, times 0.1 each time that eval/accuracy")
    assert "11 evaluations" in text


def test_drawing_leaves_a_schedule_that_is_a_function_of_the_step_where_it_is(tmp_path: Path) -> None:
    with built(tmp_path / "run", "scheduler=cosine") as engine:
        before = engine.scheduler.state_dict()["last_epoch"], engine.lr
        preview.learning_rate(engine, config("scheduler=cosine")["scheduler"], 1, 60)
        assert (engine.scheduler.state_dict()["last_epoch"], engine.lr) == before


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (232, "232 B"),
        (1_234, "1.2 kB"),
        (45_678, "46 kB"),
        (1_234_567, "1.2 MB"),
        (437_900_000, "438 MB"),
        (12_340_000_000, "12.3 GB"),
    ],
)
def test_bytes_have_the_digits_that_say_something(count: int, text: str) -> None:
    assert preview.size(count) == text


@pytest.mark.parametrize(
    ("words", "memory", "disk"),
    [
        (["optim=adamw"], "2.6 kB: 652 B weights + 652 B gradients + 1.3 kB optimizer state", "2.0 kB a"),
        (["optim=sgd", "optim.momentum=0"], "1.3 kB: 652 B weights + 652 B gradients + 0 B optim", "652 B a"),
        (
            ["optim=lomo", "args.max_grad_norm=0"],
            "1.0 kB: 652 B weights + 384 B gradients + 0 B optimizer state",
            "652 B a",
        ),
        (
            ["args.ema_decay=0.9"],
            "3.3 kB: 652 B weights + 652 B gradients + 1.3 kB optimizer state + 652 B averaged weights",
            "2.6 kB a",
        ),
        (["args.save_only_model=true"], "2.6 kB: 652 B weights + 652 B gradients + 1.3 kB optim", "652 B a"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_memory_is_what_the_parts_take_with_this_optimizer(
    tmp_path: Path, words: list[str], memory: str, disk: str
) -> None:
    with built(tmp_path, *words) as engine:
        lines = preview.estimates(engine, 1)
    assert lines["parameters"] == "163, all of them trained"
    assert lines["memory"].startswith(memory) and lines["memory"].endswith(", and activations")
    assert lines["disk"].startswith(disk)


def test_an_optimizer_that_cannot_be_tried_is_said_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with built(tmp_path) as engine:
        monkeypatch.setattr(engine.optimizer, "step", lambda: 1 / 0)
        text = preview.estimates(engine, 1)["memory"]
    assert "without the optimizer's state, which could not be measured" in text
