"""docs/trackers.md: its numbers are those of the code, and its tracker runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_run import run

from trainer_cli.tracker import background
from trainer_cli.tracker.jsonl import FILE, RECENT, read

PAGE = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")


def test_its_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"of the last {RECENT:,} rows" in text
    assert "fails ten times in a row" in text and background.MOST_FAILURES == 10
    assert f"up to {background.MOST_WAITING:,} rows wait" in text
    assert f"30 by default, and after a signal {background.GRACE:g} at most" in text


def test_every_option_is_in_it() -> None:
    options = {path.stem for path in (Path(__file__).parents[2] / "configs" / "tracker").glob("*.yaml")}
    assert options - {"default"} == set(re.findall(r"^\| `(\w+)` \| .*\|.*\|$", PAGE, re.MULTILINE)) & options


def test_its_tracker_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n# mine.py\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plugins = "plugins=[small_run,mine]"
    run(tmp_path / "run", plugins, "tracker.csv._target_=mine.CSV", "tracker.csv.file=loss.csv")
    losses = [row["train/loss"] for row in read(tmp_path / "run" / FILE) if "train/loss" in row]
    lines = (tmp_path / "run" / "loss.csv").read_text().splitlines()
    assert [float(line.split(",")[1]) for line in lines] == losses
