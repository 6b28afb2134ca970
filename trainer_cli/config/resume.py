"""What is other when a run goes on, and whether that changes its results: one table for all keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from trainer_cli.config.secrets import Secret
from trainer_cli.config.swaps import plain

Effect = Literal["changes the results", "harmless", "from the start on"]
CHANGES: Effect = "changes the results"
HARMLESS: Effect = "harmless"
FROM_START: Effect = "from the start on"


@dataclass(frozen=True)
class Setup:
    """What a run's numbers depend on, as it was or as it is now.

    `processes` is None where there is one per GPU; `git`, `packages` and `machine` are those of run.json.
    """

    config: Mapping[str, Any]
    processes: int | None
    git: Mapping[str, Any] | None
    packages: Mapping[str, str]
    machine: Mapping[str, Any]

    def values(self) -> dict[str, Any]:
        """All that is compared, by dotted keys as config.yaml and run.json have them."""
        strategy = {name: value for name, value in self.config["strategy"].items() if name != "num_processes"}
        config = {key: value for key, value in self.config.items() if key != "resume"}
        known = {name: self.machine[name] for name in ("host", "cpus", "gpus") if self.machine.get(name)}
        if "python" in self.machine:  # a patch of Python computes nothing else
            known["python"] = ".".join(str(self.machine["python"]).split(".")[:2])
        return {
            **config,
            "strategy": strategy,
            "processes": "one per GPU" if self.processes is None else self.processes,
            "git": commit(self.git),
            "packages": self.packages,
            "machine": known,
        }


@dataclass(frozen=True)
class Change:
    """A key whose value is another now."""

    key: str
    old: Any
    new: Any
    before: Setup
    after: Setup


@dataclass(frozen=True)
class Rule:
    """The effect of a change to any of the keys, patterns with `*`, where the condition holds."""

    keys: tuple[str, ...]
    effect: Effect
    why: str = ""
    condition: Callable[[Change], bool] | None = None

    def holds(self, change: Change) -> bool:
        """Whether it says what the change does."""
        named = any(fnmatchcase(change.key, key) for key in self.keys)
        return named and (self.condition is None or self.condition(change))


def epochs_do_not_count(change: Change) -> bool:
    """`args.max_steps` decides"""
    return all(setup.config["args"]["max_steps"] > 0 for setup in (change.before, change.after))


def schedule_is_held(change: Change) -> bool:
    """`scheduler.on_extend=hold`, and longer"""
    held = change.after.config["scheduler"].get("on_extend") == "hold"
    return held and (-1 in (change.old, change.new) or change.new > change.old)


def rows_stay(change: Change) -> bool:
    """batch × accumulation × processes is the same"""
    return rows_of_an_update(change.before) == rows_of_an_update(change.after)


def order_has_its_own_seed(change: Change) -> bool:
    """`args.data_seed` is set"""
    return all(setup.config["args"]["data_seed"] is not None for setup in (change.before, change.after))


def score_decides(change: Change) -> bool:
    """a score decides which model is kept, when the run ends, or the learning rate"""
    return any(decides_by_score(setup.config) for setup in (change.before, change.after))


def score_of_logging_steps_decides(change: Change) -> bool:
    """as for `args.eval_steps`, which is null and so follows"""
    args = [setup.config["args"] for setup in (change.before, change.after)]
    follows = any(values["eval_strategy"] == "steps" and values["eval_steps"] is None for values in args)
    return follows and score_decides(change)


def watches_alone(change: Change) -> bool:
    """one of the package's own, except EarlyStopping"""
    name = change.key.split(".")[1]
    parts = [setup.config["callbacks"].get(name) for setup in (change.before, change.after)]
    return all(part is None or part.get("_target_") in WATCHING for part in parts)


def model_may_differ(change: Change) -> bool:
    """`checkpoint.allow` has `model`"""
    return "model" in change.after.config["checkpoint"]["allow"]


def optimizer_may_differ(change: Change) -> bool:
    """`checkpoint.allow` has `optimizer`"""
    return "optimizer" in change.after.config["checkpoint"]["allow"]


def data_may_differ(change: Change) -> bool:
    """`checkpoint.allow` has `data`"""
    return "data" in change.after.config["checkpoint"]["allow"]


WATCHING = tuple(
    f"trainer_cli.callbacks.{name}" for name in ("Progress", "LearningRates", "Throughput", "Memory")
)
"""Callbacks that never end a run."""


def rows_of_an_update(setup: Setup) -> tuple[int, int | None]:
    """The rows that make an update, and what they are to be multiplied by where that is not known."""
    args = setup.config["args"]
    rows = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"]
    return (rows, None) if setup.processes is None else (rows * setup.processes, 1)


def decides_by_score(config: Mapping[str, Any]) -> bool:
    """Whether evaluations have a say in what the run ends with."""
    args = config["args"]
    targets = [part["_target_"] for part in config["callbacks"].values() if part is not None]
    return (
        args["load_best_model_at_end"]
        or args["save_strategy"] == "best"
        or config["scheduler"]["_target_"] == "trainer_cli.scheduler.ReduceLROnPlateau"
        or any(target not in WATCHING for target in targets)
    )


BATCH = (
    "args.per_device_train_batch_size",
    "args.gradient_accumulation_steps",
    "strategy.name",
    "processes",
)
EVALUATIONS = (
    "args.eval_strategy",
    "args.eval_steps",
    "args.eval_delay",
    "args.eval_on_start",
    "metrics.*",
)
LENGTH = ("args.max_steps", "args.num_train_epochs")

RULES: tuple[Rule, ...] = (
    # How long.
    Rule(("args.num_train_epochs",), HARMLESS, "args.max_steps decides", epochs_do_not_count),
    Rule(LENGTH, CHANGES, "the schedule keeps the length that it had", schedule_is_held),
    Rule(LENGTH, CHANGES, "the schedule is stretched to the new length"),
    # Which rows, and in which order.
    Rule(BATCH, HARMLESS, "as many rows an update as before; up to rounding and dropout", rows_stay),
    Rule(BATCH, CHANGES, "another number of rows an update", epochs_do_not_count),
    Rule(BATCH, CHANGES, "another number of rows an update: the epochs stay, the last step does not"),
    Rule(("args.seed",), HARMLESS, "the random numbers go on where they were", order_has_its_own_seed),
    Rule(
        ("args.seed", "args.data_seed", "args.train_sampling_strategy"),
        CHANGES,
        "another order: in this epoch, rows may come twice or not at all",
    ),
    Rule(("args.dataloader_drop_last",), CHANGES, "the last rows of each epoch"),
    Rule(("args.dataloader_*",), HARMLESS, "the same batches, sooner or later"),
    Rule(("data.test_file", "data.predict", "data.predict.*"), HARMLESS, "training does not read it"),
    Rule(("data.eval", "data.eval.*", "data.eval_file"), CHANGES, "scores are of other rows"),
    Rule(("*.trust_remote_code",), HARMLESS, "what may be run, not what is trained"),
    Rule(("data.*",), CHANGES, "the place in the epoch is counted in the rows of now", data_may_differ),
    Rule(("data.*",), CHANGES, "other rows are refused without checkpoint.allow=[data]"),
    # What is trained.
    Rule(("model.*",), CHANGES, "weights that fit are the checkpoint's, others begin anew", model_may_differ),
    Rule(
        ("model.*",),
        CHANGES,
        "the weights are the checkpoint's; other shapes are refused without checkpoint.allow=[model]",
    ),
    Rule(("optim.fused", "optim.foreach"), HARMLESS, "up to rounding"),
    Rule(("optim._target_",), CHANGES, "what it has learned is forgotten", optimizer_may_differ),
    Rule(("optim._target_",), CHANGES, "another kind is refused without checkpoint.allow=[optimizer]"),
    Rule(("optim.*",), CHANGES, "from the next update on"),
    Rule(("scheduler.*",), CHANGES, "the learning rate from here on"),
    Rule(("loss.*",), CHANGES, "what is minimised from here on"),
    Rule(("args.on_nonfinite", "args.max_nonfinite_steps"), HARMLESS, "as long as all values are finite"),
    Rule(
        (
            "args.gradient_checkpointing*",
            "args.torch_empty_cache_steps",
            "args.auto_find_batch_size",
        ),
        HARMLESS,
        "the same updates in other memory",
    ),
    Rule(
        ("args.precision", "args.tf32", "args.use_cpu", "args.full_determinism", "args.torch_compile*"),
        CHANGES,
        "kernels that round otherwise",
    ),
    # What is seen and kept of it.
    Rule(("args.logging_steps",), CHANGES, "evaluations follow it", score_of_logging_steps_decides),
    Rule(EVALUATIONS, CHANGES, "what is decided by a score", score_decides),
    Rule(EVALUATIONS, HARMLESS, "evaluations leave training as it is"),
    Rule(("args.per_device_eval_batch_size",), HARMLESS, "scores do not depend on it"),
    Rule(
        ("args.load_best_model_at_end", "args.metric_for_best_model", "args.greater_is_better"),
        CHANGES,
        "which model is kept; the best score so far stays as it was",
    ),
    Rule(("callbacks.*",), HARMLESS, "what is shown and logged", watches_alone),
    Rule(("callbacks.*",), CHANGES, "it may end the run"),
    Rule(("args.logging_*", "args.log_*", "tracker.*"), HARMLESS, "what is shown and logged"),
    Rule(("args.save_*", "checkpoint.*"), HARMLESS, "how checkpoints are written and used"),
    Rule(("args.stages",), HARMLESS, "what is done beside it"),
    Rule(("args.output_dir", "run.name"), HARMLESS, "the run stays in its directory"),
    Rule(("plugins", "sweep.*"), HARMLESS, "what may be named"),
    # How it is spread.
    Rule(("strategy.broadcast_buffers",), CHANGES, "BatchNorm's statistics"),
    Rule(("strategy.*",), HARMLESS, "how processes are joined; up to rounding"),
    # What it runs on.
    Rule(("git",), CHANGES, "other code may compute other things"),
    Rule(
        ("packages.safetensors", "packages.hydra-core", "packages.omegaconf"),
        HARMLESS,
        "files and configuration alone",
    ),
    Rule(("packages.*", "machine.python"), CHANGES, "another version may compute other things"),
    Rule(("machine.host", "machine.cpus", "machine.gpus"), HARMLESS, "up to rounding"),
)
"""For a key the first rule that holds; what no rule names changes the results."""

DEFAULT = Rule(("*",), CHANGES)


@dataclass(frozen=True)
class Difference:
    """A key whose value is another now, with what that does."""

    key: str
    old: str
    new: str
    effect: Effect
    why: str


def explain(before: Setup, after: Setup) -> list[Difference]:
    """Every difference, what changes the results first."""
    found = []
    for key, old, new in differences(before.values(), after.values()):
        rule = rule_of(Change(key, old, new, before, after))
        found.append(Difference(key, *texts(old, new), rule.effect, rule.why))
    return sorted(found, key=lambda difference: difference.effect == HARMLESS)


def rule_of(change: Change) -> Rule:
    """The rule that says what the change does."""
    return next((rule for rule in RULES if rule.holds(change)), DEFAULT)


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every dotted key whose value differs, with both values; None where a side lacks it.

    Of a part that is of another kind now, that is all: the rest of it has nothing to be compared with.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = list(dict.fromkeys([*old, *new]))
        if key == "strategy" and old.get("name") != new.get("name"):
            names = [name for name in names if name in old and name in new]
        elif old.get("_target_") != new.get("_target_"):
            names = ["_target_"]
        for name in names:
            yield from differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new and not (isinstance(old, Secret) and isinstance(new, Secret)):
        yield key, old, new


def texts(old: Any, new: Any) -> tuple[str, str]:
    """Both values in few words: a part by its name alone, where the other's is another."""
    full, short = (text(old), text(new)), (text(old, short=True), text(new, short=True))
    return short if short[0] != short[1] else full


def text(value: Any, short: bool = False) -> str:
    """A value in few words."""
    if isinstance(value, Mapping) and "_target_" in value:
        value = value["_target_"]
    words = plain(value)
    if short and re.fullmatch(r"[a-z]\w*(\.\w+)+", words):
        return words.rpartition(".")[2]
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


LONGEST = 40
"""Characters of a value that are shown."""


def commit(git: Mapping[str, Any] | None) -> str:
    """A state of the code in few words."""
    if git is None:
        return "no repository"
    return str(git["commit"])[:8] + (f" with changes {git.get('changes', '')}" if git["dirty"] else "")


def block(found: Sequence[Difference]) -> list[str]:
    """The differences as they are printed: below what they do, in columns."""
    lines = []
    width = max((len(difference.key) for difference in found), default=0)
    values = {difference: f"{difference.old} → {difference.new}" for difference in found}
    middle = max((len(value) for value in values.values() if len(value) <= LONGEST), default=0)
    for effect in (CHANGES, HARMLESS, FROM_START):
        of_effect = [difference for difference in found if difference.effect == effect]
        lines += [f"  {effect}:"] if of_effect else []
        said = ""
        for difference in of_effect:
            why = difference.why if difference.why != said else ""
            lines.append(f"    {difference.key:{width}}  {values[difference]:{middle}}  {why}".rstrip())
            said = difference.why
    return lines


def page() -> str:
    """The table as the documentation has it."""
    lines = ["| key | where | effect | |", "|---|---|---|---|"]
    for rule in RULES:
        keys = ", ".join(f"`{key}`" for key in rule.keys)
        condition = "" if rule.condition is None else (rule.condition.__doc__ or "")
        lines.append(f"| {keys} | {condition} | {rule.effect} | {rule.why} |")
    return "\n".join([*lines, f"| anything else | | {DEFAULT.effect} | |"])
