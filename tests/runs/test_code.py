"""The commit that a run runs on, and what is not committed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from trainer_cli.runs import code
from trainer_cli.runs.code import state_of_code

TOKEN = "hf_" + "aB3dE5" * 6


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, which is the current folder."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")
    (folder / "code.py").write_text("1\n")
    (folder / "image.bin").write_bytes(bytes(range(256)))
    (folder / "package").mkdir()
    (folder / "package" / "part.py").write_text("2\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return folder


def git(*words: str, folder: Path | None = None) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def changes() -> str | None:
    state, _ = state_of_code()
    assert state is not None
    text: str | None = state["changes"]
    return text


def applied(diff: str, tmp_path: Path) -> Path:
    """A clone of the repository with the diff applied."""
    clone = tmp_path / "clone"
    git("clone", "-q", ".", str(clone))
    (tmp_path / "diff").write_text(diff, errors="surrogateescape")
    git("apply", str(tmp_path / "diff"), folder=clone)
    return clone


def test_outside_of_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert state_of_code() == (None, None)


def test_a_repository_without_a_commit_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    assert state_of_code() == (None, None)


def test_what_is_committed_needs_no_diff(repository: Path) -> None:
    state, diff = state_of_code()
    commit = git("rev-parse", "HEAD").strip()
    assert state == {"commit": commit, "dirty": False, "changes": None, "diff": None} and diff is None
    # What a run writes is no edit of the code.
    (repository / "outputs").mkdir()
    (repository / "outputs" / "run.json").write_text("{}")
    assert state_of_code() == (state, diff)


def test_edits_are_told_apart(repository: Path) -> None:
    seen = []
    for text in ("2\n", "3\n"):
        (repository / "code.py").write_text(text)
        seen.append(changes())
    (repository / "code.py").write_text("1\n")
    for text in ("", "4\n"):
        (repository / "new.py").write_text(text)
        seen.append(changes())
    assert None not in seen and len(set(seen)) == 4


def test_the_diff_makes_the_same_changes_again(repository: Path, tmp_path: Path) -> None:
    contents = {
        "code.py": b"1\nno newline at the end",
        "image.bin": bytes(reversed(range(256))),
        "latin.py": b"# caf\xe9\n",
        "with a space.py": b"",
        "package/n\xc3\xa9w [1].py": b"new\n",
    }
    for name, text in contents.items():
        (repository / name).write_bytes(text)
    (repository / "notes.txt").write_text("not tracked, and no code")
    (repository / "package" / "part.py").unlink()
    _, diff = state_of_code()
    assert diff is not None
    clone = applied(diff, tmp_path)
    assert {name: (clone / name).read_bytes() for name in contents} == contents
    assert not (clone / "notes.txt").exists() and not (clone / "package" / "part.py").exists()


def test_an_edit_in_the_second_of_the_commit_is_seen(repository: Path) -> None:
    # Git compares times in seconds: only the index file's own time says that the entry cannot be trusted.
    (repository / "new.py").write_text("")
    for number in range(2):
        (repository / "code.py").write_text(f"{number}\n")
        git("add", "code.py")
        git("commit", "-q", "--allow-empty", "-m", "next")
        (repository / "code.py").write_text("9\n")
        time.sleep(1.1)
        _, diff = state_of_code()
        assert diff is not None and "+9\n" in diff


@pytest.mark.parametrize(
    "setting",
    ["diff.noprefix=true", "diff.mnemonicPrefix=true", "diff.relative=true", "diff.external=cat"],
)
def test_it_does_from_any_folder_and_with_any_of_gits_settings(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    git("config", *setting.split("="))
    (repository / "code.py").write_text("edited\n")
    (repository / "new.py").write_text("new\n")
    before, everything = state_of_code()
    monkeypatch.chdir(repository / "package")
    assert state_of_code() == (before, everything)
    monkeypatch.chdir(repository)
    assert everything is not None
    clone = applied(everything, tmp_path)
    assert [(clone / name).read_text() for name in ("code.py", "new.py")] == ["edited\n", "new\n"]


def test_looking_changes_nothing(repository: Path) -> None:
    (repository / "code.py").write_text("edited\n")
    (repository / "new.py").write_text("new\n")
    before = git("status", "--short"), (repository / ".git" / "index").read_bytes()
    state_of_code()
    assert before == (git("status", "--short"), (repository / ".git" / "index").read_bytes())
    assert before[0].splitlines() == [" M code.py", "?? new.py"]


def test_no_secret_is_in_the_diff(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sesame-open")
    (repository / "code.py").write_text(f"token = '{TOKEN}'\nkey = 'sesame-open'\n")
    _, diff = state_of_code()
    assert diff is not None
    assert TOKEN not in diff and "sesame-open" not in diff
    assert "+token = '***'\n+key = '***'" in diff and diff.startswith("secrets are *** in it")


def test_a_diff_with_masks_still_applies_where_they_are_new(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "code.py").write_text(f"1\ntoken = '{TOKEN}'\n")
    _, diff = state_of_code()
    assert diff is not None
    assert (applied(diff, tmp_path) / "code.py").read_text() == "1\ntoken = '***'\n"


def test_a_huge_diff_is_not_kept(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "LARGEST", 1000)
    (repository / "code.py").write_text("x\n" * 1000)
    state, diff = state_of_code()
    assert state is not None and state["dirty"] and state["changes"] is not None
    assert diff is not None and diff.startswith("not kept: the diff has 3,") and len(diff) < 100


def test_too_many_new_files_are_those_of_something_else(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "MOST_NEW", 3)
    for number in range(4):
        (repository / f"new{number}.py").write_text("")
    state, diff = state_of_code()
    assert state is not None and state["dirty"]
    assert diff == "4 untracked Python files are not in it\n"


def test_git_is_asked_in_no_time(repository: Path) -> None:
    (repository / "code.py").write_text("edited\n")
    (repository / "new.py").write_text("new\n")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        state_of_code()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1
