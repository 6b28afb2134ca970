"""A run again from its record: what is said before, what it is made of, and how the two compare."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer_cli import rerun
from trainer_cli.config.compose import load
from trainer_cli.config.errors import UserError
from trainer_cli.prepare import Prepared, prepare
from trainer_cli.rerun import again, asked_for, comparison, history, of_rows
from trainer_cli.runs.record import CONFIG, Record

WORDS = (
    "model=mlp",
    "model.in_features=2",
    "model.out_features=2",
    "loss=cross_entropy",
    "data=python",
    "args.eval_strategy=no",
    "args.max_steps=40",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def made(*words: str, **fields: Any) -> Record:
    """A run that has ended."""
    record = Record.load(prepare([*WORDS, *words], [], words).run_dir)
    record.end("finished", **{"results": {"eval/loss": 0.5, "train/seconds": 3.0}, **fields})
    return record


def run_of(record: Record, *overrides: str) -> Prepared:
    return again(record, list(overrides), [], ["rerun", str(record.run_dir), *overrides])


def test_it_is_a_fresh_run_of_the_same_configuration() -> None:
    original = made("args.seed=7")
    prepared = run_of(original)
    new = Record.load(prepared.run_dir)
    assert (
        prepared.fresh and new.run_dir != original.run_dir and new.fields["rerun_of"] == original.fields["id"]
    )
    assert new.fields["identity"] == original.fields["identity"] and new.fields["seed"] == 7
    assert load(new.run_dir / CONFIG) == load(original.run_dir / CONFIG)
    assert new.fields["overrides"] == original.fields["overrides"]
    assert "results" not in new.fields and len(new.fields["sessions"]) == 1
    assert prepared.notes == [
        f"running {original.run_dir} again (finished)",
        "  code: no repository, as then",
        "  configuration, packages and machine are those of then",
    ]


def test_overrides_come_on_top_and_are_told() -> None:
    original = made()
    prepared = run_of(original, "args.seed=8", "optim=sgd")
    assert prepared.config["args"]["seed"] == 8
    assert prepared.config["optim"]["_target_"] == "torch.optim.SGD"
    notes = "\n".join(prepared.notes)
    assert "from the start on:" in notes and "args.seed" in notes and "42 → 8" in notes
    assert Record.load(prepared.run_dir).fields["choices"]["optim"] == "sgd"
    assert run_of(Record.load(prepared.run_dir)).config["optim"] == prepared.config["optim"]


def test_a_recipe_that_was_edited_is_told_and_not_applied(folder: Path) -> None:
    (folder / "recipes").mkdir()
    recipe = folder / "recipes" / "mine.yaml"
    recipe.write_text("# @package _global_\noptim:\n  lr: 0.5\n")
    original = made("+recipe=mine")
    recipe.write_text("# @package _global_\noptim:\n  lr: 0.25\n")
    prepared = run_of(original)
    assert prepared.config["optim"]["lr"] == 0.5
    assert (
        "  not applied: the recipe or a default now says optim.lr=0.25, the run keeps 0.5" in prepared.notes
    )
    recipe.unlink()
    assert run_of(original).config["optim"]["lr"] == 0.5


def test_what_differs_of_packages_and_machine_is_told() -> None:
    original = made()
    fields = original.fields
    fields["packages"]["torch"], fields["machine"]["cpus"] = "1.0", 512
    notes = "\n".join(run_of(original).notes)
    assert "packages.torch" in notes and "1.0 →" in notes and "machine.cpus" in notes


def test_the_code_of_then_is_named_with_what_brings_it_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout

    (folder / ".gitignore").write_text("outputs\n")
    (folder / "code.py").write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD").strip()
    (folder / "code.py").write_text("2\n")
    (folder / "new.py").write_text("new\n")
    original = made()
    assert "  code: " in (same := run_of(original).notes[1]) and same.endswith(", as then")
    git("add", ".")
    git("commit", "-q", "-m", "second")
    (folder / "code.py").write_text("3\n")
    notes = run_of(original).notes
    assert "    yours are not committed: in a clean checkout," in notes
    commands = [note.strip() for note in notes if note.startswith("      ")]
    assert commands == [f"git checkout {commit}", f"git apply {original.run_dir.resolve() / 'git.diff'}"]
    git("checkout", "-q", "--", ".")
    for command in commands:
        git(*command.split()[1:])
    assert [(folder / name).read_text() for name in ("code.py", "new.py")] == ["2\n", "new\n"]
    assert run_of(original).notes[1] == same
    (original.run_dir / "git.diff").unlink()
    git("checkout", "-q", "--", ".")
    assert "    its changes were not kept" in run_of(original).notes


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sessions": [{"step": 0}]}, []),
        ({}, []),
        (
            {"sessions": [{"step": 0}, {"step": 10}, {"step": 20}]},
            ["  it was resumed at step 10, 20; that changes nothing where nothing else did"],
        ),
        (
            {"sessions": [{"step": 0, "commit": "a"}, {"step": 10, "commit": "b"}]},
            [
                "  it was resumed at step 10; that changes nothing where nothing else did",
                "  with other code or overrides at times: this is the run as it was started last",
            ],
        ),
        (
            {"sessions": [{"step": 30}], "parent": "older"},
            ["  it began at step 30 of older: this one begins at step 0"],
        ),
        ({"status": "pruned"}, ["  its sweep ended it early: this one goes to its end"]),
    ],
)
def test_the_way_of_the_original_is_told(fields: dict[str, Any], told: list[str]) -> None:
    assert history(fields) == told


def test_a_run_of_another_folder_is_told() -> None:
    assert history({"project": ["/elsewhere"]}) == [
        "  it was started in /elsewhere: relative paths are now those of this folder"
    ]


def test_a_job_of_a_sweep_is_a_run_of_its_own() -> None:
    callback = "{_target_: trainer_cli.callbacks.pruning.Pruning, journal: x, trial: 0, pruner: median}"
    original = made(f"+callbacks.pruning={callback}", sweep={"name": "s", "number": 1, "values": {}})
    prepared = run_of(original)
    assert "sweep" not in Record.load(prepared.run_dir).fields
    assert "pruning" not in prepared.config["callbacks"]


def test_as_many_processes_as_a_launcher_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = made("strategy=ddp", processes=3)
    assert run_of(original).config["strategy"]["num_processes"] == 3
    assert run_of(original, "strategy.num_processes=2").config["strategy"]["num_processes"] == 2
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="rerun starts the processes of a run itself"):
        rerun.run_again([str(original.run_dir)], [], [], False)


def test_a_run_is_named_by_its_directory_or_id() -> None:
    original = made()
    for name in (str(original.run_dir), original.fields["id"]):
        found, overrides = asked_for(["args.seed=1", name, "~callbacks.progress"])
        assert found.run_dir.resolve() == original.run_dir.resolve()
        assert overrides == ["args.seed=1", "~callbacks.progress"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "rerun takes one run, not 0"),
        (["args.seed=1"], "rerun takes one run, not 0"),
        (["RUN", "RUN2"], "rerun takes one run, not 2"),
        (["nothing-like-it"], "nothing-like-it"),
        (["outputs"], "outputs holds 2 runs"),
        (["RUN", "resume=latest"], "a rerun has no resume"),
        (["RUN", "+recipe=glue"], "a rerun has no recipe"),
    ],
)
def test_what_is_no_rerun_is_refused(words: list[str], said: str) -> None:
    names = {"RUN": str(made().run_dir), "RUN2": str(made().run_dir)}
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError) as caught:
        rerun.run_again([names.get(word, word) for word in words], [], [], False)
    assert said in caught.value.block()
    assert sorted(Path().rglob("*")) == before


def break_config(record: Record) -> None:
    (record.run_dir / CONFIG).write_text("args: [")


def lose_config(record: Record) -> None:
    (record.run_dir / CONFIG).unlink()


def still_run(record: Record) -> None:
    record.start()


@pytest.mark.parametrize(
    ("change", "said"),
    [(break_config, "is not YAML"), (lose_config, "cannot be read"), (still_run, "still runs")],
)
def test_a_run_that_cannot_be_run_again_says_why(change: Callable[[Record], None], said: str) -> None:
    original = made()
    change(original)
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError, match=said):
        rerun.run_again([str(original.run_dir)], [], [], False)
    assert sorted(Path().rglob("*")) == before


def compared(then: dict[str, Any], now: dict[str, Any], rows: tuple[list[Any], list[Any]]) -> list[str]:
    records = [made(results=results) for results in (then, now)]
    for record, own in zip(records, rows, strict=True):
        (record.run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    return comparison(*records)[1:]


def test_equal_numbers_are_said_to_be_so() -> None:
    then = {"eval/loss": 0.1 + 0.2, "train/seconds": 1.0, "eval/f1": None}
    row = {"step": 1, "train/loss": "nan", "train/samples_per_second": 3.0}
    other = {**row, "train/samples_per_second": 4.0}
    assert compared(then, {**then, "train/seconds": 2.0}, ([row], [other])) == [
        "  eval/loss  0.30000000000000004, equal to the last bit",
        "  eval/f1  None, equal to the last bit",
        "  all rows of metrics.jsonl are equal: 1",
    ]


def test_other_numbers_are_told_with_their_distance() -> None:
    rows = [{"step": 1, "train/loss": 1.0}], [{"step": 1, "train/loss": 1.5}]
    assert compared({"eval/loss": 0.3}, {"eval/loss": 0.30000000000000004}, rows) == [
        "  eval/loss  0.3 then, 0.30000000000000004 now: +5.55e-17",
        "  the rows differ from the first on; at step 1 train/loss is 1.5, and was 1.0",
    ]


def test_rows_are_equal_up_to_where_they_part() -> None:
    rows = [{"step": step, "train/loss": float(step)} for step in (1, 2, 3)]
    other = [*rows[:2], {"step": 3, "train/loss": 9.0}]
    assert of_rows(rows, other) == "equal up to row 2; at step 3 train/loss is 9.0, and was 3.0"
    assert of_rows(rows, rows[:2]) == "the first 2 rows are equal; that one has 3, this one 2"


def test_a_run_without_results_is_compared_by_its_rows() -> None:
    lines = compared({}, {"eval/loss": 1.0}, ([], []))
    assert lines[0] == "  no results to compare: that one finished, this one finished"


def test_a_run_whose_directory_was_moved_is_run_again(folder: Path) -> None:
    original = made()
    moved = folder / "elsewhere"
    shutil.move(original.run_dir, moved)
    prepared = run_of(Record.load(moved))
    assert prepared.run_dir.parts[0] == "outputs"
