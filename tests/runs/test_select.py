"""Filters on runs, and their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.runs.record import Record
from trainer_cli.runs.select import Filter, Run, flat, last_step, section, select

CONFIG = """\
# run 1: trainer-cli +recipe=glue
args:
  seed: {seed}
  stages:
  - train
optim:
  _target_: torch.optim.AdamW
  lr: {lr}
  betas:
  - 0.9

  - 0.999
plugins:
- mine
run:
  name: null
"""


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Four runs, of which the last two have no scores."""
    made = []
    for number, (lr, accuracy) in enumerate(
        [("1.0e-05", 0.9), ("3.0e-05", 0.8), ("0.0001", None), ("1.0", None)]
    ):
        choices = {"recipe": "glue" if number < 3 else "lm", "optim": "adamw"}
        record = Record.create(tmp_path, choices["recipe"], {"seed": number, "choices": choices})
        (record.run_dir / "config.yaml").write_text(CONFIG.format(seed=number, lr=lr))
        scores: dict[str, Any] = {}
        if accuracy is not None:
            scores = {"results": {"eval/accuracy": accuracy}, "best": {"eval/accuracy": accuracy, "step": 3}}
        record.end("failed" if accuracy is None else "finished", step=10 * number, **scores)
        made.append(Run(record))
    return made


def chosen(runs: list[Run], *words: str, sort: str | None = None) -> list[int]:
    """The seeds of the runs that are left."""
    filters = [Filter.parse(word) for word in words]
    return [run.record.fields["seed"] for run in select(runs, [one for one in filters if one], sort)]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["status=failed"], [2, 3]),
        (["status!=failed"], [0, 1]),
        (["recipe=glue"], [0, 1, 2]),
        (["name=g*"], [0, 1, 2]),
        (["optim=adamw", "seed>=2"], [2, 3]),
        (["optim.lr=3e-5"], [1]),
        (["optim.lr=0.00003"], [1]),
        (["optim.lr>1e-5", "recipe=glue"], [1, 2]),
        (["args.seed<2"], [0, 1]),
        (["optim.betas=[0.9,0.999]", "seed=0"], [0]),
        (["args.stages=[train]"], [0, 1, 2, 3]),
        (["plugins=[mine]", "steps=20"], [2]),
        (["run.name=null", "seed=1"], [1]),
        (["eval/accuracy>0.85"], [0]),
        (["accuracy<0.85"], [1]),
        (["best!=0.9"], [1, 2, 3]),
        (["created>2020"], [0, 1, 2, 3]),
        (["created<2020-01-01"], []),
        (["status=failed", "eval/accuracy>0.5"], []),
    ],
)
def test_filters(runs: list[Run], words: list[str], left: list[int]) -> None:
    assert chosen(runs, *words) == left


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("-seed", [3, 2, 1, 0]),
        ("optim.lr", [0, 1, 2, 3]),
        ("-optim.lr", [3, 2, 1, 0]),
        ("best", [1, 0, 2, 3]),
        ("-eval/accuracy", [0, 1, 2, 3]),
        ("recipe", [0, 1, 2, 3]),
        ("-status", [0, 1, 2, 3]),
    ],
)
def test_sorting_puts_what_lacks_the_value_last(runs: list[Run], sort: str, order: list[int]) -> None:
    assert chosen(runs, sort=sort) == order


@pytest.mark.parametrize(
    ("key", "meant"),
    [("lr", "optim.lr"), ("optim.lrr", "optim.lr"), ("statu", "status"), ("eval/acuracy", "eval/accuracy")],
)
def test_a_key_that_no_run_has_is_answered_with_the_nearest(runs: list[Run], key: str, meant: str) -> None:
    for words, sort in (([f"{key}=1"], None), ([], f"-{key}")):
        with pytest.raises(UserError, match=f"no run has {key}") as caught:
            chosen(runs, *words, sort=sort)
        assert meant in caught.value.problems[0].right


def test_configurations_are_read_only_where_a_filter_needs_them(runs: list[Run]) -> None:
    assert chosen(runs, "optim.lr>0", "seed=1") == [1]
    # The first is asked for the key; of the others only the one that the record's own filter leaves.
    assert ["config_text" in vars(run) for run in runs] == [True, True, False, False]


@pytest.mark.parametrize("damage", [b"optim: [\n", b"optim\n", b"- optim\n", b"run:\n  name: \xff\n", b""])
def test_a_damaged_configuration_has_no_number_to_filter_by(runs: list[Run], damage: bytes) -> None:
    for place in (1, -1):
        (runs[place].record.run_dir / "config.yaml").write_bytes(damage)
    assert chosen(runs, "optim.lr>0") == [0, 2]
    with pytest.raises(UserError, match=r"no run has optim\.lrr"):
        chosen(runs, "optim.lrr>0")


def test_a_section_is_what_the_whole_file_has_of_it() -> None:
    text = CONFIG.format(seed=1, lr="0.1")
    assert section(text, "optim") == {
        "optim": {"_target_": "torch.optim.AdamW", "lr": 0.1, "betas": [0.9, 0.999]}
    }
    assert section(text, "plugins") == {"plugins": ["mine"]}
    assert section(text, "run") == {"run": {"name": None}}
    assert section(text, "op") == section(text, "lr") == section("", "optim") == {}


def test_steps_of_a_run_that_runs_are_those_of_its_last_row(tmp_path: Path) -> None:
    record = Record.create(tmp_path, "a", {"step": 5})
    metrics = record.run_dir / "metrics.jsonl"
    assert Run(record).steps == 5
    rows = "".join(json.dumps({"step": step, "train/loss": 0.5}) + "\n" for step in range(1, 5001))
    metrics.write_text(rows + '{"step": 5001, "tra')
    assert Run(record).steps == 5000
    record.end("preempted", step=7)
    assert Run(record).steps == 7


def test_the_last_step_of_what_has_no_whole_row(tmp_path: Path) -> None:
    for text in ("", '{"step": 3', "nonsense\n", "[]\n"):
        (tmp_path / "rows").write_text(text)
        assert last_step(tmp_path / "rows") is None
    assert last_step(tmp_path / "missing") is None


def test_flat_keeps_empty_sections() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


@pytest.mark.parametrize(
    ("sessions", "ended", "seconds"),
    [
        ([], "10:00:30", 30),
        ([("10:00:00", None)], "10:00:30", 30),
        ([("10:00:00", "10:00:20"), ("12:00:00", None)], "12:00:10", 30),
        ([("10:00:00", "10:00:20"), ("11:00:00", None), ("12:00:00", None)], "12:00:10", None),
        ([("10:00:00", "10:00:20"), ("12:00:00", None)], None, None),
    ],
    ids=["none noted", "one", "two", "one cut off", "the last cut off"],
)
def test_a_run_took_what_its_sessions_took(
    tmp_path: Path, sessions: list[tuple[str, str | None]], ended: str | None, seconds: int | None
) -> None:
    def at(time: str | None) -> str | None:
        return time and f"2026-01-01T{time}+00:00"

    noted = [{"at": at(start), "ended": at(end)} for start, end in sessions]
    fields = {"created": at("10:00:00"), "status": "failed", "sessions": noted, "ended": at(ended)}
    assert Run(Record(tmp_path, fields)).seconds == seconds
