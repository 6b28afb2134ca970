"""Which runs the words of a command line mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer_cli.config.errors import UserError
from trainer_cli.runs.named import runs_named
from trainer_cli.runs.record import FILE, Record
from trainer_cli.runs.show import is_run


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Two runs and one of another name below `outputs`, where the user stands."""
    monkeypatch.chdir(tmp_path)
    return [Record.create(Path("outputs"), name, {}) for name in ("glue", "glue", "lm")]


def named(*words: str) -> list[Path]:
    return [record.run_dir for record in runs_named(words)]


def test_a_run_is_named_by_its_directory_its_id_and_its_place_below_outputs(records: list[Record]) -> None:
    run_dir = records[0].run_dir
    for word in (str(run_dir), str(run_dir.resolve()), f"{run_dir}/", records[0].fields["id"]):
        assert [path.resolve() for path in named(word)] == [run_dir.resolve()]
    assert named(f"glue/{run_dir.name}") == [run_dir]


def test_a_directory_names_the_runs_in_it(records: list[Record]) -> None:
    assert named("outputs/glue") == named("glue") == [record.run_dir for record in records[:2]]
    assert named("outputs") == [record.run_dir for record in records]


def test_runs_come_in_the_order_of_the_words_and_once(records: list[Record]) -> None:
    first, second, third = (record.run_dir for record in records)
    assert named(str(third), str(first), third.name, "glue") == [third, first, second]
    assert named() == []


def test_a_word_that_is_nearly_a_run_is_answered_with_it(records: list[Record]) -> None:
    right = records[2].fields["id"]
    with pytest.raises(
        UserError, match=f"there is no directory {right[:-1]}, and no run of this id"
    ) as caught:
        named(right[:-1])
    assert right in caught.value.problems[0].right
    with pytest.raises(UserError) as caught:
        named("nonsense")
    assert "trainer-cli runs" in caught.value.problems[0].right


def test_what_is_no_run_says_why(records: list[Record], tmp_path: Path) -> None:
    run_dir = records[0].run_dir
    (run_dir / "checkpoint-5").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    broken = Record.create(Path("elsewhere"), "a", {}).run_dir
    (broken / FILE).write_text("{")
    for word, says in {
        f"{run_dir}/checkpoint-5": "is a part of a run",
        f"{run_dir}/{FILE}": f"is a file; its run is {run_dir}",
        "empty": "there are no runs in empty",
        "link": "is a symbolic link to nowhere",
        str(broken): "cannot be read",
    }.items():
        with pytest.raises(UserError, match=says):
            named(word)


def test_latest_is_the_newest_run(records: list[Record], tmp_path: Path) -> None:
    assert named("latest") == [records[2].run_dir] and is_run("latest")
    records[2].run_dir.rename(tmp_path / "gone")
    assert named("latest", "glue") == [records[1].run_dir, records[0].run_dir]
    (tmp_path / "outputs" / "latest").mkdir()
    with pytest.raises(UserError, match="there are no runs in outputs/latest"):
        named("latest")


def test_there_is_no_latest_where_there_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no run below outputs"):
        named("latest")
