"""docs/callbacks_and_metrics.md: its lists are those of the classes, and its examples run."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_run import run

from trainer_cli.callbacks import Callback
from trainer_cli.metrics import BY_NAME

PAGE = (Path(__file__).parents[2] / "docs" / "callbacks_and_metrics.md").read_text(encoding="utf-8")


def first_paragraph(part: Any) -> str:
    return " ".join((inspect.getdoc(part) or "").partition("\n\n")[0].split())


def events() -> str:
    """A row for each event of `Callback`, in the order of the class."""
    lines = ["| event | when |", "|---|---|"]
    for name, method in vars(Callback).items():
        if name.startswith("on_"):
            given = list(inspect.signature(method).parameters)[2:]
            title = f"`{name}`" + (f" ({', '.join(given)})" if given else "")
            lines.append(f"| {title} | {first_paragraph(method)} |")
    return "\n".join(lines)


def metrics() -> str:
    """A row for each metric that comes along."""
    lines = ["| metric | score |", "|---|---|"]
    lines += [f"| `{metric.__name__}` | {first_paragraph(metric)} |" for metric in BY_NAME.values()]
    return "\n".join(lines)


@pytest.mark.parametrize("table", [events, metrics])
def test_the_lists_are_those_of_the_classes(table: Any) -> None:
    assert table() in PAGE, f"put this there:\n{table()}"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n# mine.py\n(.*?)```", PAGE, re.DOTALL)
    (metric,) = re.findall(r"^    (metrics\..*)$", PAGE, re.MULTILINE)
    (callback,) = re.findall(r"^    (callbacks\..*)$", PAGE, re.MULTILINE)
    (tmp_path / "mine.py").write_text("\n\n".join(blocks))
    monkeypatch.syspath_prepend(tmp_path)
    words = ["plugins=[small_run, mine]", metric, callback]
    engine = run(tmp_path / "run", *words, "args.metric_for_best_model=confidence")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert 0 < rows[-1]["eval/confidence"] < 1 and engine.score_name(None) == "eval/confidence"
    growth = [row["train/weight_growth"] for row in rows if "train/loss" in row]
    assert len(set(growth)) == 12 and min(growth) > 0
    start = engine.callbacks["growth"].state_dict()
    again = run(tmp_path / "run", *words, resume_from=tmp_path / "run" / "checkpoint-6")
    assert again.callbacks["growth"].state_dict() == start
    low = run(tmp_path / "low", "plugins=[small_run, mine]", callback.replace("100.0", "0.5"))
    assert low.state.step == 1 and low.state.stop == "the weights have grown by more than 0.5"
