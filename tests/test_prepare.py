"""From a command line to a run's directory: what is gone on with, what is said, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer_cli import prepare
from trainer_cli.checkpoint.store import FORMAT, MANIFEST, STATE, Checkpoints, verify, write_manifest
from trainer_cli.config.environment import Configuration
from trainer_cli.config.errors import UserError
from trainer_cli.prepare import Prepared, read_again, take_back
from trainer_cli.runs import find
from trainer_cli.runs.lock import FILE as LOCK
from trainer_cli.runs.lock import Lock
from trainer_cli.runs.record import CONFIG, FILE, Record, identity, start_of
from trainer_cli.tracker.jsonl import FILE as METRICS

WORDS = (
    "model=mlp",
    "model.in_features=2",
    "model.out_features=2",
    "loss=cross_entropy",
    "data=python",
    "args.eval_strategy=no",
    "args.stages=[train]",
    "args.max_steps=40",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def begin(*words: str) -> Prepared:
    """What `trainer-cli WORDS` prepares."""
    return prepare.prepare(words, [], words)


def save(run_dir: Path, step: int, state: Any = None) -> Path:
    """A checkpoint, as far as the command line looks into one."""

    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(b"weights")
        text = {"format": FORMAT, "run": {"step": step}} if state is None else state
        if text:
            (directory / STATE).write_text(json.dumps(text))

    return Checkpoints(run_dir, None).save(step, 0, write)


def made(*words: str, steps: tuple[int, ...] = (10, 20, 30), status: str = "preempted") -> Path:
    """A run that has ended, with checkpoints of these steps."""
    run_dir = begin(*WORDS, *words).run_dir
    (run_dir / METRICS).write_text('{"step": 5}\n')
    for step in steps:
        save(run_dir, step)
    Record.load(run_dir).end(status, total_steps=40)
    return run_dir


def damage(run_dir: Path, *steps: int) -> None:
    for step in steps:
        (run_dir / f"checkpoint-{step}" / "model.safetensors").write_bytes(b"weighty")


def tree(folder: Path) -> dict[Path, tuple[int, bytes | None]]:
    """Every file and directory with its time and contents, but for locks."""
    found = [path for path in folder.rglob("*") if not path.is_symlink() and path.name != LOCK]
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in found}


def refused(*words: str) -> str:
    """The block with which the words are refused; nothing has changed on the disk then."""
    before = tree(Path())
    with pytest.raises(UserError) as caught:
        begin(*words)
    assert tree(Path()) == before
    return caught.value.block()


# which run, which checkpoint


@pytest.mark.parametrize("resume", ["latest", "auto", "RUN", "ID", "RUN/checkpoint-30"])
def test_a_run_goes_on_in_its_own_directory(resume: str) -> None:
    run_dir = made()
    resume = resume.replace("RUN", str(run_dir)).replace("ID", run_dir.name)
    prepared = begin(f"resume={resume}")
    assert prepared.run_dir.resolve() == run_dir.resolve() and not prepared.fresh
    assert prepared.notes == [f"resuming {run_dir} at step 30 of 40 (checkpoint-30; preempted)"]
    fields = Record.load(run_dir).fields
    assert fields["resume_from"] == str((run_dir / "checkpoint-30").resolve())
    assert (fields["status"], fields["pid"]) == ("running", os.getpid())


def test_a_damaged_newest_is_rejected_aloud_and_the_one_before_is_taken() -> None:
    run_dir = made()
    damage(run_dir, 30)
    (run_dir / "checkpoint-20" / MANIFEST).unlink()
    assert begin("resume=latest").notes == [
        f"resuming {run_dir} at step 10 of 40 (checkpoint-10; preempted)",
        "  rejected checkpoint-30: model.safetensors has changed since it was written (SHA-256)",
        "  rejected checkpoint-20: manifest.json is missing",
    ]


@pytest.mark.parametrize("resume", ["latest", "auto", "RUN"])
@pytest.mark.parametrize("own", [True, False])
def test_damage_can_be_refused(resume: str, own: bool) -> None:
    word = "checkpoint.on_damage=fail"
    run_dir = made(*[word] * own)
    damage(run_dir, 30, 20)
    resume = resume.replace("RUN", str(run_dir))
    assert refused(f"resume={resume}", *[word] * (not own)) == (
        f"error: the newest checkpoint of {run_dir} cannot be used, and checkpoint.on_damage is fail\n"
        "  checkpoint-30: model.safetensors has changed since it was written (SHA-256)\n"
        "  checkpoint-20: model.safetensors has changed since it was written (SHA-256)\n"
        "  checkpoint.on_damage=fallback goes on at checkpoint-10"
    )
    assert begin(f"resume={resume}", "checkpoint.on_damage=fallback").run_dir == run_dir


def test_a_whole_newest_is_not_refused() -> None:
    run_dir = made("checkpoint.on_damage=fail")
    damage(run_dir, 20)
    assert begin("resume=latest").run_dir == run_dir


@pytest.mark.parametrize("resume", ["latest", "auto", "RUN", "ID"])
def test_a_run_of_damaged_checkpoints_never_starts_at_step_0(resume: str) -> None:
    made()
    run_dir = made(steps=(10, 20))
    damage(run_dir, 10, 20)
    resume = resume.replace("RUN", str(run_dir)).replace("ID", run_dir.name)
    assert refused(*WORDS, f"resume={resume}") == (
        f"error: none of the 2 checkpoints of {run_dir} can be used\n"
        "  checkpoint-20: model.safetensors has changed since it was written (SHA-256)\n"
        "  checkpoint-10: model.safetensors has changed since it was written (SHA-256)\n"
        "  resume=null starts afresh; resume=RUN goes on with another run (trainer-cli runs lists them)"
    )


def test_auto_starts_a_run_again_that_ended_before_its_first_checkpoint() -> None:
    made()
    run_dir = made(steps=(), status="failed")
    prepared = begin(*WORDS, "args.seed=7", "resume=auto")
    assert prepared.run_dir == run_dir and not prepared.fresh
    assert prepared.notes == [
        f"starting {run_dir} again from its start: it ended before its first checkpoint",
        "  from the start on:",
        "    args.seed  42 → 7",
    ]
    assert Record.load(run_dir).fields["resume_from"] is None


def test_latest_passes_over_a_run_without_a_checkpoint_and_says_so() -> None:
    older, newer = made(), made(steps=(), status="failed")
    prepared = begin(*WORDS, "resume=latest")
    assert prepared.run_dir == older
    assert prepared.notes[1:] == [f"  passed over {newer}: it has no checkpoint"]


def test_a_named_run_without_a_checkpoint_is_refused() -> None:
    run_dir = made(steps=(), status="failed")
    block = refused(f"resume={run_dir}")
    assert f"{run_dir} has no checkpoint\n  resume=auto starts this run again from its start" in block


@pytest.mark.parametrize("resume", ["latest", "auto", "RUN"])
def test_a_finished_run_says_so(resume: str) -> None:
    run_dir = made(status="finished")
    damage(run_dir, 10, 20, 30)
    before = tree(run_dir)
    resume = resume.replace("RUN", str(run_dir))
    # Where its files lie and how loud it is are no reasons to go on.
    prepared = begin(*WORDS, f"resume={resume}", "args.log_level=debug")
    assert prepared.done and prepared.notes == [f"{run_dir} is finished"]
    assert tree(run_dir) == before


def test_a_finished_run_without_a_checkpoint_is_not_made_again() -> None:
    run_dir = made(steps=(), status="finished")
    block = refused(*WORDS, "resume=auto", "args.max_steps=50")
    assert f"{run_dir} is finished, and has no checkpoint to go on from" in block


def test_auto_says_why_it_starts_a_fresh_run() -> None:
    run_dir = made()
    prepared = begin(*WORDS, "optim=sgd", "resume=auto")
    assert prepared.fresh and prepared.notes == [f"a fresh run: {run_dir} was made with optim=adamw"]


def test_the_first_start_says_nothing() -> None:
    assert begin(*WORDS, "resume=auto").notes == []


def test_a_run_goes_on_under_another_strategy_or_checkpoint_option() -> None:
    run_dir = made()
    words = ("strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=4")
    prepared = begin(*WORDS, *words, "resume=auto")
    assert prepared.run_dir == run_dir
    assert prepared.config["strategy"]["timeout"] == 1800
    assert [line.split()[0] for line in prepared.notes[1:]] == [
        "harmless:",
        "args.per_device_train_batch_size",
        "strategy.name",
        "processes",
    ]
    fields = Record.load(run_dir).fields
    assert fields["processes"] == 2 and fields["choices"]["strategy"] == "ddp"
    prepared.lock.release()
    # It is its own now, and goes on so without a word; and back.
    Record.load(run_dir).end("preempted")
    assert begin("resume=latest").notes[1:] == []
    Record.load(run_dir).end("preempted")
    prepared = begin(*WORDS, "strategy=single", "resume=latest")
    assert prepared.config["strategy"] == {"name": "single", "num_processes": 1, "max_restarts": 0}


@pytest.mark.parametrize(
    ("word", "part"), [("optim=sgd", "optimizer"), ("model=causal_lm", "model"), ("data=glue", "data")]
)
def test_another_model_data_or_optimizer_is_refused_unless_it_is_allowed(word: str, part: str) -> None:
    run_dir = made("optim.betas=[0.8,0.9]")
    group = word.partition("=")[0]
    block = refused(f"resume={run_dir}", word, "args.seed=7")
    assert f"{word}: the run to resume was made with {group}=" in block
    assert f"checkpoint.allow=[{part}] goes on with it" in block
    if group == "optim":  # what was set for the other one does not come along
        prepared = begin(f"resume={run_dir}", word, f"checkpoint.allow=[{part}]")
        assert "betas" not in prepared.config["optim"]
        assert prepared.config["optim"]["_target_"] == "torch.optim.SGD"
        assert Record.load(run_dir).fields["choices"]["optim"] == "sgd"
        assert not [note for note in prepared.notes if "not applied" in note]


def test_other_callbacks_metrics_and_schedules_are_composed_anew() -> None:
    run_dir = made("scheduler.num_warmup_steps=5")
    words = ("callbacks=monitor", "~callbacks.progress", "metrics=classification", "scheduler=cosine")
    config = begin(f"resume={run_dir}", *words).config
    assert list(config["callbacks"]) == ["learning_rates", "throughput", "memory"]
    assert "accuracy" in config["metrics"]
    assert config["scheduler"]["_target_"] == "trainer_cli.scheduler.cosine"
    assert config["scheduler"]["num_warmup_steps"] == 0


def test_a_run_keeps_its_recipe(folder: Path) -> None:
    (folder / "recipes").mkdir()
    for name in ("one", "two"):
        (folder / "recipes" / f"{name}.yaml").write_text("# @package _global_\nargs:\n  seed: 1\n")
    run_dir = made("+recipe=one")
    assert "recipe=two: the run to resume was made with recipe=one" in refused(
        f"resume={run_dir}", "+recipe=two"
    )
    assert begin(f"resume={run_dir}", "+recipe=one", "strategy=ddp").run_dir == run_dir


# a run that still runs


@pytest.fixture
def other_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("resume", ["latest", "auto", "RUN", "RUN/checkpoint-30"])
def test_a_run_that_still_runs_is_left_alone(resume: str, other_process: int) -> None:
    run_dir = made()
    Record.load(run_dir).update(status="running", pid=other_process, pid_start=start_of(other_process))
    block = refused(*WORDS, f"resume={resume.replace('RUN', str(run_dir))}")
    assert f"{run_dir} is still running: process {other_process} on {platform.node()}" in block
    assert f"kill {other_process}" in block


@pytest.mark.parametrize("resume", ["latest", "auto", "RUN", "ID", "RUN/checkpoint-30", "RUN/checkpoint-10"])
def test_of_two_starts_of_a_killed_run_one_has_it_and_the_other_is_refused(resume: str) -> None:
    run_dir = made()
    Record.load(run_dir).update(status="running", pid_start="a boot 17")
    first = begin(*WORDS, "resume=auto")
    resume = resume.replace("RUN", str(run_dir)).replace("ID", run_dir.name)
    block = refused(*WORDS, f"resume={resume}")
    assert f"{run_dir} is still running: process {os.getpid()} on {platform.node()}" in block
    Record.load(run_dir).end("preempted")
    first.lock.release()
    assert begin(*WORDS, f"resume={resume}").notes[0].startswith(f"resuming {run_dir} at step")


def test_a_fresh_run_is_held_from_before_it_is_one() -> None:
    prepared = begin(*WORDS)
    assert f"{prepared.run_dir} is still running: process {os.getpid()}" in refused(*WORDS, "resume=auto")
    older = made()
    os.utime(older / FILE)
    assert begin(*WORDS, "resume=latest").run_dir == older


def test_what_was_done_meanwhile_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = made()
    take = find.take

    def late(*words: Any) -> Lock:
        Record.load(run_dir).end("finished")
        save(run_dir, 40)
        return take(*words)

    monkeypatch.setattr(find, "take", late)
    prepared = begin(*WORDS, "resume=auto")
    assert prepared.done and prepared.notes == [f"{run_dir} is finished"]


def test_a_finished_run_and_a_refused_one_are_let_go() -> None:
    run_dir = made(status="finished")
    with pytest.raises(UserError) as caught:
        begin(f"resume={run_dir}", "model=causal_lm")
    held = [begin(f"resume={run_dir}"), begin(f"resume={run_dir}")]
    assert [prepared.done for prepared in held] == [True, True]
    assert "checkpoint.allow" in caught.value.block()


def test_without_locks_a_run_of_another_machine_is_not_taken_for_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dir = made()
    Record.load(run_dir).update(status="running", pid=1, host="elsewhere")

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    block = refused(*WORDS, "resume=auto")
    assert (
        f"{run_dir} may still be running: run.json names elsewhere, its disk has no locks, and"
        f" {platform.node()} cannot tell whether it has ended there"
    ) in block
    assert "the same command on elsewhere can tell" in block and '"status": "failed" in run.json' in block
    Record.load(run_dir).update(status="failed")
    assert begin(*WORDS, "resume=auto").run_dir == run_dir


def test_a_later_process_of_the_same_number_is_none_of_its(other_process: int) -> None:
    run_dir = made()
    Record.load(run_dir).update(status="running", pid=other_process, pid_start="a boot 17")
    assert "(checkpoint-30; failed)" in begin("resume=latest").notes[0]


def test_a_run_of_another_machine_goes_on_and_says_where_it_was() -> None:
    run_dir = made()
    Record.load(run_dir).update(status="running", pid=1, host="elsewhere")
    head, lock, *_ = begin("resume=latest").notes
    assert "(checkpoint-30; last seen running on elsewhere)" in head
    assert lock.startswith("  its lock is free: it has ended on elsewhere, or that machine does not share")


# bad input


def copied(run_dir: Path) -> str:
    shutil.copytree(run_dir / "checkpoint-30", "copied")
    return "copied"


def link_to_nowhere(run_dir: Path) -> str:
    Path("link").symlink_to("nowhere")
    return "link"


def empty(run_dir: Path) -> str:
    Path("empty").mkdir()
    return "empty"


def foreign(run_dir: Path) -> str:
    Path("foreign").mkdir()
    Path("foreign", "notes.txt").write_text("")
    return "foreign"


def of_transformers(run_dir: Path) -> str:
    foreign(run_dir)
    Path("foreign", "model.safetensors").write_text("")
    Path("foreign", "trainer_state.json").write_text("{}")
    return "foreign"


def another_format(number: int) -> Callable[[Path], str]:
    def make(run_dir: Path) -> str:
        save(run_dir, 40, {"format": number, "anything": "else"})
        return str(run_dir)

    return make


def model_alone(run_dir: Path) -> str:
    return str(save(run_dir, 40, ()))


def broken_record(run_dir: Path) -> str:
    (run_dir / FILE).write_text('{"id": "2026')
    return str(run_dir)


def no_record(run_dir: Path) -> str:
    (run_dir / FILE).unlink()
    return str(run_dir / "checkpoint-30")


def without_config(run_dir: Path) -> str:
    (run_dir / CONFIG).unlink()
    return str(run_dir)


def broken_config(text: str) -> Callable[[Path], str]:
    def make(run_dir: Path) -> str:
        (run_dir / CONFIG).write_text(text)
        return str(run_dir)

    return make


def no_manifest(run_dir: Path) -> str:
    (run_dir / "checkpoint-30" / MANIFEST).unlink()
    return str(run_dir / "checkpoint-30")


def not_json(run_dir: Path) -> str:
    checkpoint = run_dir / "checkpoint-30"
    (checkpoint / MANIFEST).unlink()
    (checkpoint / STATE).write_text("{")
    write_manifest(checkpoint, 30)
    return str(checkpoint)


PLACES = {
    "no such checkpoint": (
        lambda run_dir: f"{run_dir}/checkpoint-7",
        ["no checkpoint-7 in", "checkpoint-30"],
    ),
    "nothing there": (lambda run_dir: "nowhere/checkpoint-7", ["neither a run nor a checkpoint"]),
    "an empty directory": (empty, ["resume=empty is an empty directory", "latest, auto, RUN/checkpoint-N"]),
    "a link to nowhere": (link_to_nowhere, ["a symbolic link to nowhere: it points to nowhere"]),
    "a foreign directory": (foreign, ["neither a run nor a checkpoint"]),
    "a file": (lambda run_dir: f"{run_dir}/run.json", ["is a file"]),
    "a directory of runs": (
        lambda run_dir: "outputs",
        ["holds 1 runs and is none itself", "resume=outputs/run/"],
    ),
    "a model": (of_transformers, ["no checkpoint of trainer-cli", "model.pretrained=foreign"]),
    "a copied checkpoint": (copied, ["outside of its run", "run.json", "model.pretrained=copied"]),
    "a run without its record": (no_record, ["outside of its run", "run.json"]),
    "a checkpoint without a manifest": (no_manifest, ["manifest.json is missing", "another checkpoint"]),
    "a state that is no JSON": (not_json, ["state.json is damaged"]),
    "a newer release": (another_format(FORMAT + 1), ["a newer release", f"format {FORMAT + 1}", "run.json"]),
    "an older release": (another_format(1), ["an older release", "format 1", "model.pretrained="]),
    "the model alone": (model_alone, ["args.save_only_model=true", "model.pretrained="]),
    "a broken run.json": (broken_record, ["run.json cannot be read", "put them back"]),
    "no config.yaml": (without_config, ["config.yaml cannot be read", "put them back"]),
    "a broken config.yaml": (broken_config("args: {seed"), ["is not YAML", "put them back"]),
    "an empty config.yaml": (broken_config(""), ["is missing", "put them back"]),
    "a config.yaml cut off": (broken_config("args:\n  seed: 42\nstrategy:\n"), ["put them back"]),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_bad_path_is_refused_in_a_block_and_nothing_changes(place: str) -> None:
    make, fragments = PLACES[place]
    block = refused(f"resume={make(made())}")
    for fragment in fragments:
        assert fragment in block


@pytest.mark.parametrize("resume", ["latest", "auto"])
def test_the_newest_of_another_release_is_not_passed_over(resume: str) -> None:
    run_dir = made()
    save(run_dir, 40, {"format": FORMAT + 1})
    assert f"{run_dir}/checkpoint-40 was written by a newer release" in refused(*WORDS, f"resume={resume}")


@pytest.mark.parametrize("resume", ["latest", "auto"])
def test_a_newest_run_whose_record_is_broken_is_not_passed_over(resume: str) -> None:
    older = made()
    newer = older.parent / "20991231-000000-ffff"
    shutil.copytree(older, newer)
    broken_record(newer)
    block = refused(*WORDS, f"resume={resume}")
    assert f"{newer}/run.json cannot be read" in block and "resume=RUN goes on with another run" in block
    assert begin(f"resume={older}").run_dir == older
    Record.load(older).end("preempted")
    # An older one is no concern of today's.
    newer.rename(older.parent / "20000101-000000-ffff")
    assert begin(*WORDS, f"resume={resume}").run_dir == older


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize(
    ("path", "mode", "verb"),
    [
        ("", 0o500, "written to"),
        ("", 0o000, "read"),
        ("checkpoint-30", 0o000, "read"),
        ("checkpoint-30/model.safetensors", 0o000, "read"),
        ("checkpoint-30/manifest.json", 0o000, "read"),
    ],
)
def test_what_may_not_be_read_or_written_is_refused(path: str, mode: int, verb: str) -> None:
    run_dir = made()
    (run_dir / path).chmod(mode)
    try:
        with pytest.raises(UserError, match=f"cannot be {verb}"):
            begin(f"resume={run_dir}")
    finally:
        (run_dir / path).chmod(0o700)


def test_a_file_that_may_not_be_read_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    made()

    def forbid(directory: Path) -> None:
        raise PermissionError(13, "Permission denied", str(directory / "model.safetensors"))

    monkeypatch.setattr("trainer_cli.runs.find.verify", forbid)
    assert "checkpoint-30/model.safetensors cannot be read" in refused("resume=latest")


def test_a_disk_that_cannot_be_read_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    made()

    def broken(directory: Path) -> str | None:
        if directory.name == "checkpoint-30":
            raise OSError(5, "Input/output error", str(directory / "model.safetensors"))
        return verify(directory)

    monkeypatch.setattr("trainer_cli.runs.find.verify", broken)
    notes = begin("resume=latest").notes
    assert "(checkpoint-20; preempted)" in notes[0]
    assert notes[1] == "  rejected checkpoint-30: model.safetensors cannot be read: Input/output error"


# what is written


def test_a_refused_resume_leaves_every_byte_as_it_was() -> None:
    run_dir = made()
    before = {path: text for path, (_, text) in tree(run_dir).items()}
    prepared = begin(f"resume={run_dir}", "optim.lr=1")
    assert {path: text for path, (_, text) in tree(run_dir).items()} != before
    take_back(prepared)
    assert {path: text for path, (_, text) in tree(run_dir).items()} == before


@pytest.mark.parametrize("saved", ["checkpoint-10", "model"])
def test_what_has_saved_anything_is_not_taken_back(saved: str) -> None:
    prepared = begin(*WORDS)
    (prepared.run_dir / saved).mkdir()
    take_back(prepared)
    assert (prepared.run_dir / saved).is_dir() and Record.load(prepared.run_dir)


def test_each_start_is_noted() -> None:
    run_dir = made()
    ended = Record.load(run_dir).fields["ended"]
    first = Record.load(run_dir).fields["sessions"]
    assert [session["step"] for session in first] == [0] and "argv" not in first[0]
    begin("resume=latest", "optim.lr=1")
    fields = Record.load(run_dir).fields
    assert [session["step"] for session in fields["sessions"]] == [0, 30]
    assert fields["sessions"][0]["ended"] == ended is not None and "ended" not in fields["sessions"][1]
    assert fields["sessions"][1]["argv"] == ["resume=latest", "optim.lr=1"]
    assert fields["argv"] == list(WORDS)


def test_code_packages_and_machine_become_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = made()
    packages = {**Record.load(run_dir).fields["packages"], "torch": "1.0"}
    Record.load(run_dir).update(packages=packages, git={"commit": "f" * 40, "dirty": False, "changes": None})
    notes = begin("resume=latest").notes
    assert notes[1] == "  changes the results:"
    assert notes[2].split()[:4] == ["git", "ffffffff", "→", "no"]
    assert notes[3].split()[:3] == ["packages.torch", "1.0", "→"]
    fields = Record.load(run_dir).fields
    assert fields["packages"]["torch"] != "1.0" and fields["git"] is None


def test_a_run_that_was_moved_goes_on(folder: Path) -> None:
    run_dir = made()
    (folder / "archive").mkdir()
    moved = Path(shutil.move(run_dir, "archive/moved"))
    prepared = begin(f"resume={moved}")
    assert prepared.run_dir == moved
    assert Record.load(moved).fields["resume_from"] == str(folder / "archive" / "moved" / "checkpoint-30")
    Record.load(moved).end("preempted")
    prepared.lock.release()
    assert begin("resume=latest", "args.output_dir=archive").run_dir == moved


def test_a_link_to_a_checkpoint_serves() -> None:
    run_dir = made()
    Path("best").symlink_to(run_dir / "checkpoint-30")
    assert begin("resume=best").run_dir.resolve() == run_dir.resolve()


def test_an_older_checkpoint_begins_a_run_of_its_own_and_the_old_one_stays() -> None:
    run_dir = made()
    before = tree(run_dir)
    prepared = begin(f"resume={run_dir / 'checkpoint-10'}", "optim.lr=1")
    assert prepared.fresh and prepared.run_dir != run_dir and tree(run_dir) == before
    assert prepared.notes[-1] == (
        f"  as a run of its own, for there is a newer checkpoint: {prepared.run_dir}"
    )
    record = Record.load(prepared.run_dir)
    assert record.fields["parent"] == run_dir.name
    assert [session["step"] for session in record.fields["sessions"]] == [10]
    assert (prepared.run_dir / METRICS).read_text() == (run_dir / METRICS).read_text()
    # Killed before a checkpoint of its own, it begins again where it began.
    record.end("failed")
    prepared.lock.release()
    again = begin(*WORDS, "resume=auto")
    assert again.run_dir == prepared.run_dir
    assert again.notes[0].startswith(f"resuming {prepared.run_dir} at step 10")
    take_back(again)
    again.lock.release()
    shutil.rmtree(run_dir / "checkpoint-10")
    assert "the only checkpoint of" in refused(*WORDS, "resume=auto")


# the code that it ran on


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose one file is committed."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")
    (folder / "code.py").write_text("1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], check=True)
    return folder


def test_what_is_not_committed_stands_beside_the_record(repository: Path) -> None:
    clean = begin(*WORDS).run_dir
    assert not (clean / "git.diff").exists() and Record.load(clean).fields["git"]["diff"] is None
    (repository / "code.py").write_text("2\n")
    edited = begin(*WORDS).run_dir
    assert "-1\n+2\n" in (edited / "git.diff").read_text()
    assert Record.load(edited).fields["git"]["diff"] == "git.diff"
    assert "diff" not in Record.load(edited).fields


def test_other_changes_at_a_resume_stand_beside_those_of_before(repository: Path) -> None:
    (repository / "code.py").write_text("2\n")
    run_dir = made()
    begin("resume=latest")
    assert [path.name for path in run_dir.glob("*.diff")] == ["git.diff"]
    assert Record.load(run_dir).fields["git"]["diff"] == "git.diff"
    Record.load(run_dir).end("preempted")
    (repository / "code.py").write_text("3\n")
    begin("resume=latest")
    git = Record.load(run_dir).fields["git"]
    assert git["diff"] == f"git-{git['changes']}.diff"
    assert "+2\n" in (run_dir / "git.diff").read_text() and "+3\n" in (run_dir / git["diff"]).read_text()
    changes = [session["changes"] for session in Record.load(run_dir).fields["sessions"]]
    assert changes[0] == changes[1] != changes[2] == git["changes"]


def test_a_resume_that_is_refused_takes_its_changes_back(repository: Path) -> None:
    run_dir = made()
    before = tree(run_dir)
    (repository / "code.py").write_text("3\n")
    prepared = begin("resume=latest")
    assert len(list(run_dir.glob("*.diff"))) == 1
    take_back(prepared)
    assert {path: text for path, (_, text) in tree(run_dir).items()} == {
        path: text for path, (_, text) in before.items()
    }


def test_a_record_has_times_and_seeds() -> None:
    run_dir = made("args.seed=3", "args.data_seed=4")
    fields = Record.load(run_dir).fields
    assert (fields["seed"], fields["data_seed"]) == (3, 4)
    assert fields["created"] and fields["started"] <= fields["ended"]
    begin("resume=latest", "args.data_seed=5")
    assert (Record.load(run_dir).fields["data_seed"], Record.load(run_dir).fields["ended"]) == (5, None)
    assert Record.load(run_dir).fields["machine"]["memory"] > 10**8


def test_a_resume_says_what_the_environment_may_give_otherwise() -> None:
    config = Configuration({"data": {"file": "b"}, "optim": {}}, {("data", "file"): ("${oc.env:DATA}", "b")})
    assert read_again(config, identity(config)) == read_again(config, None) == []
    assert read_again(Configuration(config, {}), "other") == []
    assert read_again(config, "other") == [
        "  read from the environment, and perhaps not what it was: data.file=${oc.env:DATA}"
    ]


# Looking, as plan does


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below the folder, with its content and the time that it was written."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_who_looks_is_told_what_a_start_would_be_told_and_changes_nothing(folder: Path) -> None:
    run_dir = made()
    (run_dir / LOCK).unlink()
    before, words = files(folder), [*WORDS, "resume=latest", "optim.lr=0.5"]
    looked = prepare.look(words, [])
    assert files(folder) == before
    assert looked.checkpoint is not None and looked.checkpoint.name == "checkpoint-30" and not looked.done
    assert looked.composition.config["optim"]["lr"] == 0.5
    assert f"resuming {run_dir} at step 30 of 40" in looked.notes[0]
    assert any("optim.lr" in note for note in looked.notes)
    prepared = begin(*words)
    assert prepared.notes == looked.notes and prepared.config == looked.composition.config


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["resume=nowhere/checkpoint-10"], "is neither a run nor a checkpoint"),
        (["resume=latest", "optim=sgd"], "has a checkpoint"),
        (["resume=latest", "args.sed=1"], "there is no args.sed"),
        (["resume=true"], "resume is true"),
    ],
)
def test_who_looks_is_refused_what_a_start_is(folder: Path, words: list[str], what: str) -> None:
    made()
    before = files(folder)
    said = []
    for way in (prepare.look, lambda given, dirs: prepare.prepare(given, dirs, given)):
        with pytest.raises(UserError) as caught:
            way([*WORDS, *words], [])
        said.append(caught.value.block())
        assert {name: text for name, text in files(folder).items() if not name.endswith(LOCK)} == {
            name: text for name, text in before.items() if not name.endswith(LOCK)
        }
    assert said[0] == said[1] and what in said[0]


def test_who_looks_at_a_run_that_runs_is_told_so() -> None:
    run_dir = made()
    lock = find.at_newest(run_dir).lock
    with pytest.raises(UserError, match="is still running"):
        prepare.look([*WORDS, f"resume={run_dir}"], [])
    lock.release()
    assert prepare.look([*WORDS, f"resume={run_dir}"], []).checkpoint is not None


def test_who_looks_for_a_run_to_go_on_with_and_finds_none_sees_a_fresh_one(folder: Path) -> None:
    looked = prepare.look([*WORDS, "resume=auto"], [])
    assert looked.checkpoint is None and not looked.done and not (folder / "outputs").exists()
    run_dir = made(status="finished")
    looked = prepare.look([*WORDS, f"resume={run_dir}"], [])
    assert looked.done and looked.notes == [f"{run_dir} is finished"]
