"""A secret reaches the part that is to have it, in every process, and no file of the run."""

import hashlib
import shutil

import pytest

pytestmark = pytest.mark.slow

SECRET, OTHER = "sesame-open-42", "open-other-43"
KEY = "callbacks.up.api_key"
PART = '''
import hashlib, logging, os
from trainer_cli.callbacks import Callback

class Uploads(Callback):
    """Leaves a digest of its key outside of the run, and says the key where it should not."""

    def __init__(self, api_key: str, fail: bool = False) -> None:
        self.api_key, self.fail = api_key, fail

    def on_begin(self, engine) -> None:
        with open(os.environ["SEEN"], "a") as file:
            print(engine.strategy.rank, hashlib.sha256(self.api_key.encode()).hexdigest(), file=file)
        logging.getLogger("trainer_cli").warning("uploads with %s", self.api_key)
        if self.fail:
            raise RuntimeError(f"401 for {self.api_key}")
'''
WORDS = [
    "+recipe=spirals",
    "args.max_steps=2",
    "data.train.size=40",
    "data.eval.size=10",
    "+callbacks.up._target_=uploads.Uploads",
]


@pytest.fixture
def project(shell, project_folder, tmp_path, monkeypatch):
    """A project with a part that takes a key."""
    shutil.copytree(project_folder, shell.folder, dirs_exist_ok=True)
    (shell.folder / "uploads.py").write_text(PART)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return shell


def seen(tmp_path):
    """The ranks that were given each secret, since the last call."""
    file = tmp_path / "seen"
    lines = [line.split() for line in file.read_text().splitlines()]
    file.unlink()
    digests = {hashlib.sha256(text.encode()).hexdigest(): text for text in (SECRET, OTHER)}
    return sorted((int(rank), digests[digest]) for rank, digest in lines)


def files_with_secrets(folder):
    secrets = [SECRET.encode(), OTHER.encode()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


def test_it_is_in_no_file_and_a_resumed_run_is_given_it_again(project, tmp_path):
    shown = project.run(*WORDS, f"+{KEY}={SECRET}")
    first = project.last
    assert seen(tmp_path) == [(0, SECRET)] and SECRET not in shown.text
    assert "uploads with ***" in (first / "train.log").read_text()

    refused = project(f"resume={first}", "args.max_steps=4")
    assert refused.code == 2 and f"{KEY} is a secret, and no file has it" in refused.err
    project.run(f"resume={first}", "args.max_steps=4", f"{KEY}={OTHER}")
    project.run(f"resume={first}", "args.max_steps=6", f"{KEY}=${{oc.env:MINE}}", MINE=SECRET)
    assert seen(tmp_path) == [(0, OTHER), (0, SECRET)]
    assert "api_key: ${oc.env:MINE}" in (first / "config.yaml").read_text()

    again = project("rerun", str(first), f"args.output_dir={project.outputs}", MINE=SECRET)
    assert again.code == 0, again.text
    assert "resumed at step 2, 4" in again.err and "with other code or overrides" in again.err
    assert project.record()["rerun_of"] == first.name and seen(tmp_path) == [(0, SECRET)]

    failed = project(
        *WORDS, f"+{KEY}={SECRET}", "+callbacks.up.fail=true", f"args.output_dir={project.outputs}"
    )
    assert failed.code == 1 and "401 for ***" in failed.err and SECRET not in failed.text
    assert project.record()["error"].endswith("401 for ***")
    assert not files_with_secrets(project.outputs)


def test_all_processes_have_it(project, tmp_path):
    ddp = ["strategy=ddp", "strategy.num_processes=2", "args.use_cpu=true"]
    project.run(*WORDS, *ddp, f"+{KEY}={SECRET}")
    assert seen(tmp_path) == [(0, SECRET), (1, SECRET)]
    assert not files_with_secrets(project.outputs)


@pytest.mark.parametrize("warm", ["false", "true"])
def test_all_jobs_of_a_sweep_have_it(project, tmp_path, warm):
    words = ["-m", *WORDS, "args.seed=1,2", f"sweep.warm={warm}", f"+{KEY}={SECRET}"]
    shown = project.run(*words)
    assert seen(tmp_path) == [(0, SECRET), (0, SECRET)] and SECRET not in shown.text
    for record in map(project.record, project.runs):
        assert (record["status"], record["error"]) == ("finished", None)
    assert not files_with_secrets(project.outputs)


def test_no_verb_shows_it(project):
    for verb in ("plan", "show"):
        shown = project(verb, *WORDS, f"+{KEY}={SECRET}")
        assert shown.code == 0 and SECRET not in shown.text, shown.text
    refused = project(*WORDS, f"+{KEY}={SECRET}", "args.max_stepz=3", f"+callbacks.up.api_kez={SECRET}")
    assert refused.code == 2 and SECRET not in refused.text
