"""What is other when a run goes on, and what that does."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config import schema
from trainer_cli.config.compose import compose
from trainer_cli.config.resume import CHANGES, DEFAULT, HARMLESS, RULES, Setup, block, explain, page

DOCUMENT = Path(__file__).parents[2] / "docs" / "resuming.md"

BASE = (
    "model=mlp",
    "model.in_features=2",
    "model.out_features=2",
    "loss=cross_entropy",
    "data=python",
    "args.eval_strategy=no",
)
GIT = {"commit": "3f2a1bc8d4", "dirty": False, "changes": None}
PACKAGES = {"trainer-cli": "1.0", "torch": "2.12", "omegaconf": "2.3"}
MACHINE = {"host": "one", "python": "3.11.7", "cpus": 2, "system": "Linux"}


def setup(*overrides: str, processes: int | None = 1, **others: Any) -> Setup:
    known = {"git": GIT, "packages": PACKAGES, "machine": MACHINE} | others
    return Setup(compose([*BASE, *overrides]).config, processes, **known)


def effects(before: Setup, after: Setup) -> dict[str, tuple[str, str]]:
    return {found.key: (found.effect, found.why) for found in explain(before, after)}


def test_a_run_that_is_the_same_has_no_difference() -> None:
    assert explain(setup(), setup()) == [] and block([]) == []
    assert explain(setup(), setup("resume=auto")) == []


EVAL = "args.eval_strategy=epoch"
CASES = [
    # how long
    ((), ("args.max_steps=40",), "args.max_steps", CHANGES, "stretched"),
    (("args.max_steps=20",), ("args.max_steps=40",), "args.max_steps", CHANGES, "stretched"),
    (
        ("args.max_steps=20",),
        ("args.max_steps=10", "+scheduler.on_extend=hold"),
        "args.max_steps",
        CHANGES,
        "str",
    ),
    (
        ("args.max_steps=20",),
        ("args.max_steps=40", "+scheduler.on_extend=hold"),
        "args.max_steps",
        CHANGES,
        "keeps",
    ),
    ((), ("args.num_train_epochs=5",), "args.num_train_epochs", CHANGES, "stretched"),
    (
        ("args.max_steps=20",),
        ("args.max_steps=20", "args.num_train_epochs=5"),
        "args.num_train_epochs",
        HARMLESS,
        "args.max_steps decides",
    ),
    # rows and their order
    (
        (),
        ("args.per_device_train_batch_size=16",),
        "args.per_device_train_batch_size",
        CHANGES,
        "another number",
    ),
    (
        (),
        ("args.per_device_train_batch_size=4", "args.gradient_accumulation_steps=2"),
        "args.per_device_train_batch_size",
        HARMLESS,
        "as many rows",
    ),
    ((), ("args.seed=7",), "args.seed", CHANGES, "twice or not at all"),
    (("args.data_seed=1",), ("args.data_seed=1", "args.seed=7"), "args.seed", HARMLESS, "go on"),
    ((), ("args.data_seed=7",), "args.data_seed", CHANGES, "twice or not at all"),
    ((), ("args.train_sampling_strategy=sequential",), "args.train_sampling_strategy", CHANGES, "twice"),
    ((), ("args.dataloader_num_workers=2",), "args.dataloader_num_workers", HARMLESS, ""),
    ((), ("args.dataloader_drop_last=true",), "args.dataloader_drop_last", CHANGES, "last rows"),
    (
        (),
        ("data.train={_target_: torch.utils.data.Dataset}",),
        "data.train",
        CHANGES,
        "checkpoint.allow=[data]",
    ),
    (
        (),
        ("data.train={_target_: torch.utils.data.Dataset}", "checkpoint.allow=[data]"),
        "data.train",
        CHANGES,
        "rows of now",
    ),
    (
        (),
        ("data.eval={_target_: torch.utils.data.Dataset}",),
        "data.eval",
        CHANGES,
        "scores are of other rows",
    ),
    ((), ("data.predict={_target_: torch.utils.data.Dataset}",), "data.predict", HARMLESS, ""),
    # what is trained
    ((), ("model.dropout=0.5",), "model.dropout", CHANGES, "checkpoint.allow=[model]"),
    ((), ("model.dropout=0.5", "checkpoint.allow=[model]"), "model.dropout", CHANGES, "fit"),
    ((), ("optim=sgd",), "optim._target_", CHANGES, "checkpoint.allow=[optimizer]"),
    ((), ("optim=sgd", "checkpoint.allow=[optimizer]"), "optim._target_", CHANGES, "forgotten"),
    ((), ("optim.lr=1",), "optim.lr", CHANGES, "next update"),
    ((), ("optim.fused=false",), "optim.fused", HARMLESS, "rounding"),
    ((), ("scheduler=cosine",), "scheduler._target_", CHANGES, "learning rate"),
    ((), ("loss.label_smoothing=0.1",), "loss.label_smoothing", CHANGES, "minimised"),
    ((), ("args.max_grad_norm=0.5",), "args.max_grad_norm", CHANGES, ""),
    ((), ("args.ema_decay=0.9",), "args.ema_decay", CHANGES, ""),
    ((), ("args.precision=bf16",), "args.precision", CHANGES, "round"),
    ((), ("args.gradient_checkpointing=true",), "args.gradient_checkpointing", HARMLESS, ""),
    ((), ("args.on_nonfinite=skip",), "args.on_nonfinite", HARMLESS, "finite"),
    # what is seen and kept of it
    ((), (EVAL,), "args.eval_strategy", HARMLESS, "leave training as it is"),
    (
        (EVAL,),
        (EVAL, "args.eval_delay=1", "args.load_best_model_at_end=true"),
        "args.eval_delay",
        CHANGES,
        "score",
    ),
    (
        (EVAL, "callbacks=early_stopping"),
        (EVAL, "callbacks=early_stopping", "args.eval_delay=1"),
        "args.eval_delay",
        CHANGES,
        "score",
    ),
    (
        (EVAL, "scheduler=reduce_lr_on_plateau"),
        (EVAL, "scheduler=reduce_lr_on_plateau", "args.eval_delay=1"),
        "args.eval_delay",
        CHANGES,
        "score",
    ),
    ((), ("metrics=classification",), "metrics.accuracy", HARMLESS, "leave"),
    ((EVAL,), (EVAL, "args.load_best_model_at_end=true"), "args.load_best_model_at_end", CHANGES, "kept"),
    ((), ("args.per_device_eval_batch_size=1",), "args.per_device_eval_batch_size", HARMLESS, "depend"),
    ((), ("args.logging_steps=3",), "args.logging_steps", HARMLESS, "logged"),
    (
        ("args.eval_strategy=steps", "callbacks=early_stopping"),
        ("args.eval_strategy=steps", "callbacks=early_stopping", "args.logging_steps=3"),
        "args.logging_steps",
        CHANGES,
        "evaluations follow",
    ),
    ((), ("args.log_level=debug",), "args.log_level", HARMLESS, ""),
    ((), ("args.save_steps=3",), "args.save_steps", HARMLESS, ""),
    ((), ("args.save_total_limit=1",), "args.save_total_limit", HARMLESS, ""),
    ((), ("checkpoint.async_save=false",), "checkpoint.async_save", HARMLESS, ""),
    ((), ("args.output_dir=elsewhere",), "args.output_dir", HARMLESS, "stays"),
    ((), ("run.name=other",), "run.name", HARMLESS, "stays"),
    ((), ("args.stages=[train]",), "args.stages", HARMLESS, ""),
    ((), ("callbacks=monitor",), "callbacks.memory", HARMLESS, "shown"),
    ((EVAL,), (EVAL, "callbacks=early_stopping"), "callbacks.early_stopping", CHANGES, "end the run"),
    (
        (),
        ("+callbacks.mine={_target_: trainer_cli.callbacks.Callback}",),
        "callbacks.mine",
        CHANGES,
        "end the run",
    ),
    ((), ("plugins=[mine]",), "plugins", HARMLESS, ""),
]


@pytest.mark.parametrize(
    ("before", "after", "key", "effect", "fragment"), CASES, ids=lambda case: str(case)[:40]
)
def test_a_difference_says_what_it_does(
    before: tuple[str, ...], after: tuple[str, ...], key: str, effect: str, fragment: str
) -> None:
    found = effects(setup(*before), setup(*after))
    assert found[key][0] == effect
    assert fragment in found[key][1]


def test_processes_and_batches_are_one_matter() -> None:
    halves = ("strategy=ddp", "strategy.num_processes=2", "args.per_device_train_batch_size=4")
    found = effects(setup(), setup(*halves, processes=2))
    assert {key: effect for key, (effect, _) in found.items()} == {
        "args.per_device_train_batch_size": HARMLESS,
        "strategy.name": HARMLESS,
        "processes": HARMLESS,
    }
    found = effects(setup(), setup("strategy=ddp", "strategy.num_processes=2", processes=2))
    assert found["processes"][0] == found["strategy.name"][0] == CHANGES
    # How many GPUs there were is not known.
    assert effects(setup(), setup("strategy=ddp", processes=None))["processes"][0] == CHANGES


@pytest.mark.parametrize(
    ("name", "now", "key", "effect"),
    [
        ("git", {**GIT, "commit": "0000000000"}, "git", CHANGES),
        ("git", {**GIT, "dirty": True, "changes": "9a8b7c6d"}, "git", CHANGES),
        ("git", None, "git", CHANGES),
        ("packages", {**PACKAGES, "torch": "2.13"}, "packages.torch", CHANGES),
        ("packages", {**PACKAGES, "trainer-cli": "1.1"}, "packages.trainer-cli", CHANGES),
        ("packages", {**PACKAGES, "peft": "1.1"}, "packages.peft", CHANGES),
        ("packages", {**PACKAGES, "omegaconf": "2.4"}, "packages.omegaconf", HARMLESS),
        ("machine", {**MACHINE, "python": "3.12.1"}, "machine.python", CHANGES),
        ("machine", {**MACHINE, "host": "two"}, "machine.host", HARMLESS),
        ("machine", {**MACHINE, "cpus": 4}, "machine.cpus", HARMLESS),
    ],
)
def test_code_packages_and_machine_are_compared(name: str, now: Any, key: str, effect: str) -> None:
    ((found, (said, _)),) = effects(setup(), setup(**{name: now})).items()
    assert (found, said) == (key, effect)


def test_a_patch_of_python_or_another_kernel_is_no_difference() -> None:
    machine = {**MACHINE, "python": "3.11.9", "system": "another"}
    assert explain(setup(), setup(machine=machine)) == []


def test_other_edits_of_the_same_commit_are_a_difference() -> None:
    edited = {**GIT, "dirty": True, "changes": "11111111"}
    (found,) = explain(setup(git=edited), setup(git={**edited, "changes": "22222222"}))
    assert (found.old, found.new) == ("3f2a1bc8 with changes 11111111", "3f2a1bc8 with changes 22222222")
    assert explain(setup(git=edited), setup(git=edited)) == []


def test_a_part_of_another_kind_is_one_difference() -> None:
    found = explain(setup(), setup("optim=sgd", "optim.lr=1", "strategy=ddp"))
    assert [(difference.key, difference.old, difference.new) for difference in found] == [
        ("optim._target_", "AdamW", "SGD"),
        ("strategy.name", "single", "ddp"),
    ]


def test_the_block_puts_what_changes_the_results_first_and_in_columns() -> None:
    after = setup("args.logging_steps=3", "args.max_steps=40", "optim.lr=0.1", "callbacks=monitor")
    assert block(explain(setup(), after)) == [
        "  changes the results:",
        "    args.max_steps            -1 → 40               the schedule is stretched to the new length",
        "    optim.lr                  5e-05 → 0.1           from the next update on",
        "  harmless:",
        "    args.logging_steps        10 → 3                what is shown and logged",
        "    callbacks.learning_rates  null → LearningRates",
        "    callbacks.throughput      null → Throughput",
        "    callbacks.memory          null → Memory",
    ]


def test_a_long_value_is_cut() -> None:
    (line,) = block(explain(setup(), setup(f"run.name={'x' * 100}")))[1:]
    assert len(line) < 110 and "…" in line


PSEUDO = ["processes", "git", "machine.python", "machine.host", "machine.cpus", "machine.gpus"]
PSEUDO += [f"packages.{name}" for name in ("torch", "safetensors", "hydra-core", "omegaconf")]


def test_every_rule_is_of_a_key_that_there_is_and_every_field_has_one() -> None:
    typed = [
        f"{section}.{name}"
        for section, fields in {**schema.TYPED, "strategy": schema.DataParallel}.items()
        for name in schema.kinds(fields)
    ]
    free = ["data.eval", "data.eval.size", "data.eval_file", "data.test_file", "data.predict"]
    free += ["data.predict.size", "data.train", "model.trust_remote_code", "model.dropout", "loss.x"]
    free += ["optim.fused", "optim.foreach", "optim._target_", "optim.lr", "scheduler.x", "metrics.f1"]
    free += ["callbacks.x", "tracker.x", "sweep.x"]
    known = [*typed, *free, *schema.TOP, *PSEUDO]
    for rule in RULES:
        for pattern in rule.keys:
            assert any(fnmatchcase(key, pattern) for key in known), pattern
    # These change the updates themselves, in a way that needs no word.
    bare = {
        key for key in typed if not any(fnmatchcase(key, pattern) for rule in RULES for pattern in rule.keys)
    }
    assert bare == {
        "args.max_grad_norm",
        "args.max_grad_value",
        "args.neftune_noise_alpha",
        "args.ema_decay",
    }
    assert DEFAULT.effect == CHANGES


def test_the_page_has_the_table() -> None:
    assert page() in DOCUMENT.read_text(encoding="utf-8"), f"put this there:\n{page()}"
