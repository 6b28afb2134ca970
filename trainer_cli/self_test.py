"""trainer-cli verify --resume: whether a run that is stopped ends as one that is not, and if not, why."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from trainer_cli.checkpoint.store import Checkpoints
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import RunFailed, UserError
from trainer_cli.prepare import without_resume
from trainer_cli.runs.find import all_runs
from trainer_cli.signals import leaving_at_signals
from trainer_cli.tracker.jsonl import FILE as METRICS
from trainer_cli.tracker.jsonl import read

if TYPE_CHECKING:
    from trainer_cli.checkpoint.compare import Comparison

UPDATES = 6
STOP = 3
"""Updates of the test, and the step after which one of its runs is stopped."""

CLOCKS = re.compile(r"_per_second$|^train/seconds|_memory_mb$")
"""Names of logged numbers that are no two times the same."""

WHERE = {
    "rows": "the rows of the batch",
    "batch": "{name} of the batch, for the same rows",
    "weights": "{name} of the model",
    "generators": "the state of the global generator of {name}",
    "lr": "the learning rate",
    "gradients": "the gradient of {name}, of the same batch and weights",
}
"""What a witness saw, in words."""

Cause = tuple[str, str]
"""Why two runs may differ, and what would help."""

KEPT: Cause = (
    "the optimizer, or a callback that changes weights, keeps a state that no checkpoint has",
    "Optimizer.state_dict() and Callback.state_dict() must have all that the next update depends on",
)
DRAWS = (
    "random, numpy.random and torch serve: they are seeded for each row of the data and stored for the rest"
)

STOPPED: dict[str, Cause] = {
    "rows": (
        "the order of the data depends on more than the seed and the epoch",
        "a dataset of fixed length",
    ),
    "batch": (
        "the data draws from a generator of its own, or counts what was read: no checkpoint has that",
        f"{DRAWS};\nor seed a generator with the row's index in __getitem__;"
        " a stream may have state_dict() and load_state_dict()",
    ),
    "weights": (
        "the model has weights or buffers that its state_dict(), and so the checkpoint, leaves out",
        "register_buffer without persistent=False keeps them",
    ),
    "generators": (
        "a part draws numbers when a run starts or goes on: a callback in on_train_begin, on_epoch_begin or"
        " on_resume",
        "draw them in __init__, or from a generator of its own that is seeded there",
    ),
    "lr": (
        "the schedule has a state that its state_dict() leaves out",
        "a schedule of the step alone has none",
    ),
    "gradients": (
        "the model or the loss keeps a state that no checkpoint has, such as a count in a Python attribute",
        "self.register_buffer(NAME, tensor) makes it part of the model",
    ),
    "weights later": KEPT,
    "generators later": (
        "the model or a callback drew other numbers: it keeps a state that no checkpoint has",
        "self.register_buffer(NAME, tensor) in a model, state_dict() in a callback",
    ),
}
"""By the first fact that differs after a stop; `later` where the update before it was still made alike."""

UNDISTURBED: dict[str, Cause] = {
    "rows": (
        "the order of the data depends on more than the seed and the epoch",
        "a dataset of fixed length",
    ),
    "batch": ("the data draws from a generator that nothing seeds, or depends on the time", DRAWS),
    "weights": ("the first weights are drawn from a generator that nothing seeds", DRAWS),
    "generators": ("a part draws a number of times that changes from run to run", "a number that is fixed"),
    "lr": ("the schedule depends on something outside of the run", "a schedule of the step alone"),
    "gradients": (
        "the model draws from a generator that nothing seeds, or a kernel gives other bits each time",
        f"{DRAWS};\nargs.full_determinism=true takes only kernels that give the same bits",
    ),
    "weights later": (
        "the optimizer or a callback draws from a generator that nothing seeds, or depends on the time",
        DRAWS,
    ),
    "generators later": ("a part draws a number of times that changes from run to run", "a fixed number"),
}
"""The same, of two runs that nothing stopped."""

WITNESS = "witness"
WATCHES_SCORE = "trainer_cli.scheduler.ReduceLROnPlateau"
NEEDS_EVALUATIONS = "trainer_cli.callbacks.EarlyStopping"


@dataclass(frozen=True)
class Logged:
    """A logged number that differs, at the first step at which it does."""

    name: str
    step: int
    how: str


@dataclass(frozen=True)
class Parting:
    """The first thing in which the updates of two runs differ; `begins` where it is in the first of them."""

    step: int
    fact: str
    name: str
    begins: bool


def verify_resume(overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Train straight, and with a stop in between; the exit code says whether both end the same.

    Where they do not, two undisturbed runs are compared as well. Raises UserError and RunFailed.
    """
    words = [*without_resume(overrides)]
    words += changes(compose(words, config_dirs=config_dirs).config)
    flags = [f"--config-dir={folder}" for folder in config_dirs]
    place = tempfile.TemporaryDirectory(prefix="trainer-cli-verify-", ignore_cleanup_errors=True)
    with leaving_at_signals(), place as name:
        folder = Path(name)
        straight = train(f"{UPDATES} updates in one go", [*flags, *words], folder / "straight")
        steps = Checkpoints(straight, None).steps()
        if len(steps) < 2:
            raise UserError(
                f"the run has {steps[-1]} updates, and is stopped after {STOP} of them",
                right=f"args.max_steps={UPDATES}, or more",
            )
        again = [*flags, f"resume={quoted(straight / f'checkpoint-{STOP}')}"]
        resumed = train(f"those after {STOP} in another process", again, folder / "straight")
        differing, rows = differences(straight, resumed, steps[-1])
        if not differing and not rows:
            return report_equal(straight, resumed, steps[-1])
        control = train("all of them once more in one go", [*flags, *words], folder / "control")
        at_random, random_rows = differences(straight, control, steps[-1])
        if at_random:
            print("not repeatable: two runs that nothing stopped do not end the same")
            return report(at_random, random_rows, parting(straight, control), UNDISTURBED)
        measured = {row.name for row in random_rows}
        rows = [row for row in rows if row.name not in measured]
        if not differing and not rows:
            print(f"left out, as it differs each time: {', '.join(sorted(measured))}")
            return report_equal(straight, resumed, steps[-1])
        print(f"not equal: a run that is stopped after step {STOP} does not end as one that is not")
        return report(differing, rows, parting(straight, resumed), STOPPED)


def changes(config: dict[str, Any]) -> list[str]:
    """What makes a few updates of a configured run, of which nothing but its own directory has a trace.

    Evaluations stay where the learning rate waits for their score.
    """
    evaluates = config["scheduler"]["_target_"] == WATCHES_SCORE
    words = [
        "args.stages=[train]",
        "args.save_strategy=steps",
        f"args.save_steps={STOP}",
        "args.save_total_limit=null",
        "args.save_only_model=false",
        "args.logging_strategy=steps",
        "args.logging_steps=2",  # a row is of updates before and after the stop
        "args.eval_on_start=false",
        "args.load_best_model_at_end=false",
        *(["args.eval_strategy=steps", "args.eval_steps=2", "args.eval_delay=0"] if evaluates else []),
        *([] if evaluates else ["args.eval_strategy=no", "args.metric_for_best_model=null"]),
        "run.name=null",
        f"+callbacks.{WITNESS}._target_=trainer_cli.callbacks.witness.Witness",
        f"+callbacks.{WITNESS}.updates={UPDATES}",
    ]
    for name, node in config["callbacks"].items():
        if node is not None and node["_target_"] == NEEDS_EVALUATIONS and not evaluates:
            words.append(f"callbacks.{name}=null")
    return [*words, *(f"tracker.{name}=null" for name in config["tracker"])]


def quoted(path: Path) -> str:
    """A path as Hydra's grammar takes any text."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def train(what: str, words: Sequence[str], root: Path) -> Path:
    """Run the program in a process of its own; returns the directory of the run, the newest below `root`.

    Raises RunFailed, or UserError where it is the configuration, with what it said.
    """
    print(f"{what:<40}", end="", flush=True)
    command = [sys.executable, "-m", "trainer_cli", *words]
    if not any(word.startswith("resume=") for word in words):
        command.append(f"args.output_dir={quoted(root)}")
    begin = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True)
    print(f"{time.monotonic() - begin:5.1f} s", flush=True)
    if ended.returncode != 0:
        kind = UserError if ended.returncode == 2 else RunFailed
        raise kind(f"there is nothing to compare: {what} failed", right=ended.stderr.strip())
    return all_runs(root)[-1].run_dir


def differences(expected: Path, actual: Path, step: int) -> tuple[list[Comparison], list[Logged]]:
    """The files of both runs' checkpoints at this step that differ, and the logged numbers that do."""
    from trainer_cli.checkpoint.compare import compare

    name = f"checkpoint-{step}"
    found = [item for item in compare(expected / name, actual / name) if item.differing]
    return found, list(logged_differences(read(expected / METRICS), read(actual / METRICS)))


def logged_differences(
    expected: Sequence[Mapping[str, Any]], actual: Sequence[Mapping[str, Any]]
) -> Iterator[Logged]:
    """Each name whose numbers differ somewhere, clocks apart."""
    seen: set[str] = set()
    nothing: Mapping[str, Any] = {}
    for was, now in itertools.zip_longest(expected, actual, fillvalue=nothing):
        for name in dict.fromkeys([*was, *now]):
            if was.get(name) != now.get(name) and name not in seen and not CLOCKS.search(name):
                seen.add(name)
                step = (was or now)["step"]
                yield Logged(name, step, contrast(now.get(name), was.get(name)))


def contrast(now: Any, was: Any) -> str:
    """Two values that differ, in as few digits as show it."""
    for form in ("{:.4g}", "{:.8g}", "{!r}"):
        texts = [form.format(value) if isinstance(value, float) else str(value) for value in (now, was)]
        if texts[0] != texts[1]:
            break
    return f"is {texts[0]}, not {texts[1]}"


def parting(expected: Path, actual: Path) -> Parting | None:
    """Where the updates of two runs first differ, as far as their witnesses saw."""
    from trainer_cli.callbacks import witness

    ranks = list(zip(witness.read(expected), witness.read(actual), strict=True))
    steps = sorted(set.intersection(*(was.keys() & now.keys() for was, now in ranks)))
    for step, fact in itertools.product(steps, witness.FACTS):
        for was, now in ranks:
            then, today = was[step][fact], now[step][fact]
            for name in dict.fromkeys([*then, *today]):
                if then.get(name) != today.get(name):
                    return Parting(step, fact, name, begins=step == steps[0])
    return None


def report(
    files: Sequence[Comparison], rows: Sequence[Logged], found: Parting | None, causes: Mapping[str, Cause]
) -> int:
    """What differs, and the likely cause; returns the exit code."""
    width = max(len(name) for name in [METRICS, *(item.file for item in files)])
    for item in files:
        name, how = next(iter(item.differing.items()))
        print(f"  {item.file:<{width}}  {len(item.differing)} of {item.count}: {name} {how}")
    for row in rows[:1]:
        print(f"  {METRICS:<{width}}  step {row.step}: {row.name} {row.how}")
    what, right = cause(files, rows, found, causes)
    if found is not None:
        print(f"first difference: step {found.step}, {WHERE[found.fact].format(name=found.name)}")
    print(f"likely cause: {what}\n" + indent(right, "  "))
    return 1


def cause(
    files: Sequence[Comparison], rows: Sequence[Logged], found: Parting | None, causes: Mapping[str, Cause]
) -> Cause:
    """The likely cause: of the first fact that differs, or if none does, of what the checkpoints have."""
    if found is not None:
        later = f"{found.fact} later"
        return causes[found.fact if found.begins or later not in causes else later]
    if not files:
        return (
            f"the callback that gives {rows[0].name} keeps a state that no checkpoint has",
            "its state_dict() must return it, and load_state_dict() take it back",
        )
    names = [name for item in files for name in item.differing]
    if all(name.startswith("callbacks.") for name in names):
        callback = names[0].split(".")[1]
        return (
            f"the callback {callback} does not go on from the state that its checkpoint has",
            "load_state_dict() takes back what state_dict() returned",
        )
    return causes["weights later"]


def report_equal(straight: Path, resumed: Path, step: int) -> int:
    """What was found to be equal; returns the exit code."""
    from trainer_cli.checkpoint.compare import compare

    name = f"checkpoint-{step}"
    tensors = sum(
        item.count for item in compare(straight / name, resumed / name) if item.file.endswith(".safetensors")
    )
    rows = len(read(straight / METRICS))
    print(f"equal, bit for bit: all {tensors} tensors of {name}, its state, and {rows} logged rows")
    return 0
