"""`trainer-cli compare`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trainer_cli.config.errors import UserError
from trainer_cli.runs.compare import MOST, print_comparison
from trainer_cli.runs.record import Record

CONFIG = """\
args:
  seed: {seed}
  output_dir: {output_dir}
optim:
  lr: {lr}
sweep:
  jobs: {seed}
"""


def make_run(root: Path, seed: int = 1, lr: float = 0.1, accuracy: float = 0.5, **fields: Any) -> str:
    about = {
        "choices": {"recipe": "glue"},
        "git": {"commit": "0123456789abcdef", "dirty": False, "changes": None},
        "packages": {"torch": "2.13"},
        "machine": {"host": "here", "gpus": [{"name": "A"}]},
        "data_fingerprint": "abc",
    }
    record = Record.create(root, "glue", {**about, **fields})
    config = CONFIG.format(seed=seed, lr=lr, output_dir=record.run_dir)
    (record.run_dir / "config.yaml").write_text(config)
    results = {"eval/accuracy": accuracy, "train/seconds": 3.0 + seed}
    record.end("finished", step=10, best={"eval/accuracy": accuracy, "step": 10}, results=results)
    record.update(ended=record.fields["created"])
    return str(record.run_dir)


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The words of each line."""
    print_comparison(words, as_json=False)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    print_comparison(words, as_json=True)
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_only_what_differs_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_run(tmp_path)
    other = make_run(tmp_path, lr=0.3, accuracy=0.75, packages={"torch": "2.14"})
    assert rows(capsys, one, other) == [
        [Path(one).name, Path(other).name, "difference"],
        ["configuration"],
        ["optim.lr", "0.1", "0.3"],
        ["packages"],
        ["torch", "2.13", "2.14"],
        ["result"],
        ["eval/accuracy", "0.5", "0.75", "+0.25"],
        ["equal:", "code,", "machine,", "data,", "speed"],
    ]


def test_runs_that_differ_by_their_seed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, make_run(tmp_path, seed=1), make_run(tmp_path, seed=2))
    assert ["args.seed", "1", "2"] in found
    assert ["configuration:", "equal", "but", "for", "the", "seed"] in found


def test_equal_runs_with_other_results_are_pointed_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = make_run(tmp_path), make_run(tmp_path, accuracy=0.51)
    assert " ".join(rows(capsys, one, other)[-1]).endswith("is equal, and the results differ")
    assert " ".join(rows(capsys, one, make_run(tmp_path))[-1]) == (
        "equal: configuration, code, packages, machine, data, result, speed"
    )


def test_code_is_its_commit_and_what_was_not_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        make_run(tmp_path, git={"commit": "0123456789abcdef", "changes": changes, "diff": "git.diff"})
        for changes in ("a1", "a1", "b2")
    ]
    for run in runs:
        Path(run, "git.diff").write_text("-old\n+new\n")
    assert "code" in compared(capsys, *runs[:2])["equal"]
    assert compared(capsys, *runs[1:])["differing"]["code"] == {
        "uncommitted changes": ["a1 (git.diff, 2 lines)", "b2 (git.diff, 2 lines)"]
    }
    assert compared(capsys, runs[0], make_run(tmp_path, git=None))["differing"]["code"]["commit"][1] is None


def test_json_has_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path, lr=lr, machine={"host": f"node{lr}"}) for lr in (0.1, 0.2, 0.3)]
    report = compared(capsys, *runs)
    assert report == {
        "runs": runs,
        "equal": ["code", "packages", "data", "result", "speed"],
        "differing": {
            "configuration": {"optim.lr": [0.1, 0.2, 0.3]},
            "machine": {"host": ["node0.1", "node0.2", "node0.3"]},
        },
    }


def test_runs_without_scores_or_configuration_can_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = str(Record.create(tmp_path, "glue", {}).run_dir)
    found = rows(capsys, bare, make_run(tmp_path))
    assert ["optim.lr", "-", "0.1"] in found
    assert ["eval/accuracy", "-", "0.5"] in found


@pytest.mark.parametrize("damage", [b"args: [", b"args", b"- a\n", b"a: 2020-99-99\n"])
def test_a_damaged_configuration_is_the_users_error(tmp_path: Path, damage: bytes) -> None:
    one, other = make_run(tmp_path), make_run(tmp_path)
    (Path(other) / "config.yaml").write_bytes(damage)
    with pytest.raises(UserError, match=rf"{other}/config\.yaml cannot be read"):
        print_comparison([one, other], as_json=False)


def test_one_run_is_none_to_compare(tmp_path: Path) -> None:
    one = make_run(tmp_path)
    for words in ([], [one], [one, one]):
        with pytest.raises(UserError, match="compare takes two runs or more"):
            print_comparison(words, as_json=False)


def test_many_are_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(MOST + 1):
        make_run(tmp_path, seed=seed)
    with pytest.raises(UserError, match="side by side"):
        print_comparison([str(tmp_path)], as_json=False)
    assert compared(capsys, str(tmp_path))["differing"]["configuration"]["args.seed"] == [*range(MOST + 1)]


def test_a_long_key_leaves_the_values_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    monkeypatch.setattr("trainer_cli.runs.compare.console", lambda: out)
    words = [make_run(tmp_path, processes=count, machine={"a" * 60: count}) for count in (1, 2)]
    print_comparison(words, as_json=False)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.split() == ["…" + "a" * 25, "1", "2"] for line in lines)
