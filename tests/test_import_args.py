"""`trainer-cli import-args`: what transformers wrote becomes a recipe that composes; nothing is left out."""

from __future__ import annotations

import contextlib
import functools
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import trainer_cli.metrics
from trainer_cli import cli
from trainer_cli.config import schema
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.hugging_face import ARGUMENTS, OLD, OPTIMIZERS, SCHEDULERS, SCRIPTS
from trainer_cli.import_args import _METRICS, Imported, import_arguments

OTHER: dict[str, Any] = {
    "output_dir": "elsewhere",
    "max_steps": 7,
    "optim": "adafactor",
    "optim_args": "weight_decay=0.3",
    "optim_target_modules": ["attn"],
    "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": {"num_cycles": 2},
    "neftune_noise_alpha": 5.0,
    "activation_checkpointing_kwargs": {"every_n_layers": 2},
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "torch_compile_backend": "aot_eager",
    "torch_compile_mode": "max-autotune",
    "liger_kernel_config": {"rope": True},
    "torch_empty_cache_steps": 3,
    "logging_strategy": "epoch",
    "include_num_input_tokens_seen": "all",
    "log_level": "error",
    "log_level_replica": "error",
    "report_to": ["wandb", "tensorboard"],
    "run_name": "mine",
    "project": "mine",
    "eval_strategy": "steps",
    "eval_steps": 50,
    "eval_accumulation_steps": 4,
    "include_for_metrics": ["inputs"],
    "save_strategy": "epoch",
    "save_total_limit": 3,
    "hub_strategy": "end",
    "metric_for_best_model": "accuracy",
    "data_seed": 3,
    "accelerator_config": {"split_batches": True},
    "parallelism_config": {"tp_size": 2},
    "dataloader_num_workers": 2,
    "dataloader_prefetch_factor": 4,
    "dataloader_multiprocessing_context": "spawn",
    "label_names": ["target"],
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "len",
    "ddp_bucket_cap_mb": 40,
    "ddp_backend": "gloo",
    "fsdp": "full_shard",
    "fsdp_config": {"min_num_params": 1000},
    "deepspeed": "ds.json",
    "debug": "underflow_overflow",
    "resume_from_checkpoint": "checkpoint-5",
    "generation_max_length": 20,
    "generation_num_beams": 4,
    "generation_config": "generation.json",
}
"""A value that is not the default, for fields whose default does not suggest one."""


def other(name: str, default: Any) -> Any:
    if name in OTHER:
        return OTHER[name]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1 if default >= 1 else 0.25
    return "other" if name.startswith(("hub_", "trackio_")) else True


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported(given: Mapping[str, Any]) -> Imported:
    return import_arguments(given, Path("mine.json"))


def composed(result: Imported) -> dict[str, Any]:
    """The configuration that the recipe composes to, as a user would have it."""
    Path("recipes").mkdir(exist_ok=True)
    Path("recipes/mine.yaml").write_text(result.recipe)
    return compose(["+recipe=mine"]).config


@functools.cache
def nothing() -> Imported:
    return imported({})


def written(**given: Any) -> dict[str, Any]:
    """What transformers itself writes of these arguments, each field with its value."""
    from transformers import Seq2SeqTrainingArguments

    arguments = Seq2SeqTrainingArguments(
        **{"output_dir": "outputs", "use_cpu": True, "disable_tqdm": False, **given}
    )
    values: dict[str, Any] = json.loads(arguments.to_json_string())
    assert len(values) == len(ARGUMENTS)
    return values


@pytest.mark.slow
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_field_has_an_effect_or_a_line_with_the_reason(name: str) -> None:
    value = other(name, ARGUMENTS[name].default)
    assert value != ARGUMENTS[name].default
    result = imported({name: value})
    today = name.replace("gradient_", "activation_") if name.startswith("gradient_checkpointing_k") else name
    assert result.missing.get(today) or result.recipe != nothing().recipe


def test_a_recipe_of_all_fields_at_once_composes() -> None:
    # bf16 excludes fp16, and several processes finding a batch size.
    names = [name for name in ARGUMENTS if name not in ("bf16", "auto_find_batch_size")]
    values = {name: other(name, ARGUMENTS[name].default) for name in names}
    config = composed(imported({**values, "nproc_per_node": 2}))
    assert config["args"]["precision"] == "fp16"
    assert config["strategy"]["timeout"] == 1801


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OLD, *SCRIPTS])
def test_so_has_every_older_name_and_every_word_of_a_script(name: str) -> None:
    default = OLD[name].default if name in OLD else None
    result = imported({name: "mine" if name in SCRIPTS else other(name, default)})
    if name in OLD:
        assert name in result.missing or result.recipe != nothing().recipe
    else:
        assert SCRIPTS[name].key.rpartition(".")[2] in result.recipe


def test_transformers_defaults_are_what_is_in_the_recipe_where_ours_differ() -> None:
    config = composed(imported({}))
    for name in ARGUMENTS.keys() & schema.kinds(schema.Args).keys():
        default = ARGUMENTS[name].default
        if name not in ("output_dir", "gradient_checkpointing"):
            assert config["args"][name] == default, name
    assert config["args"]["precision"] == "fp32"
    assert config["args"]["stages"] == ["train"]


def test_what_transformers_writes_of_its_defaults_is_nothing_to_speak_of() -> None:
    result = imported(written())
    assert not result.missing
    assert result.recipe == imported({"use_cpu": True, "dataloader_pin_memory": False}).recipe
    v4 = {"evaluation_strategy": "no", "warmup_ratio": 0.0, "group_by_length": False, "no_cuda": False}
    v4 |= {"save_safetensors": True, "half_precision_backend": "auto", "fsdp": [], "lr_scheduler_kwargs": {}}
    assert imported(v4) == nothing()


REAL = {
    "a BERT": (
        {
            "learning_rate": 2e-5,
            "weight_decay": 0.01,
            "per_device_train_batch_size": 16,
            "gradient_accumulation_steps": 2,
            "warmup_steps": 0.06,
            "lr_scheduler_type": "cosine",
            "num_train_epochs": 4,
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": "accuracy",
            "label_smoothing_factor": 0.1,
            "seed": 7,
            "bf16": True,
        },
        {
            "optim.lr": 2e-5,
            "optim.weight_decay": 0.01,
            "optim._target_": "torch.optim.AdamW",
            "args.per_device_train_batch_size": 16,
            "args.gradient_accumulation_steps": 2,
            "scheduler.num_warmup_steps": 0.06,
            "scheduler._target_": "trainer_cli.scheduler.cosine",
            "args.num_train_epochs": 4.0,
            "args.eval_strategy": "epoch",
            "args.load_best_model_at_end": True,
            "args.metric_for_best_model": "accuracy",
            "args.greater_is_better": True,
            "loss.label_smoothing": 0.1,
            "args.seed": 7,
            "args.precision": "bf16",
            "args.stages": ["train", "eval"],
        },
    ),
    "a language model": (
        {
            "max_steps": 1000,
            "optim": "lion_8bit",
            "adam_beta2": 0.95,
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": 100, "min_lr_ratio": 0.1},
            "warmup_steps": 100,
            "activation_checkpointing": True,
            "torch_compile_mode": "max-autotune",
            "logging_steps": 0.01,
            "save_steps": 200.0,
            "dataloader_num_workers": 2,
            "dataloader_prefetch_factor": 4,
            "include_num_input_tokens_seen": True,
            "skip_memory_metrics": False,
            "disable_tqdm": True,
            "neftune_noise_alpha": 5,
            "run_name": "lm/first try",
            "ddp_find_unused_parameters": False,
            "ddp_timeout": 7200,
        },
        {
            "args.max_steps": 1000,
            "optim._target_": "trainer_cli.optim.lion_8bit",
            "optim.betas": [0.9, 0.95],
            "scheduler.num_decay_steps": 100,
            "scheduler.min_lr_ratio": 0.1,
            "scheduler.num_warmup_steps": 100,
            "args.gradient_checkpointing": True,
            "args.torch_compile": True,
            "args.torch_compile_mode": "max-autotune",
            "args.logging_steps": 0.01,
            "args.save_steps": 200,
            "args.dataloader_prefetch_factor": 4,
            "callbacks.throughput._target_": "trainer_cli.callbacks.Throughput",
            "callbacks.memory._target_": "trainer_cli.callbacks.Memory",
            "callbacks.progress": None,
            "args.neftune_noise_alpha": 5.0,
            "run.name": "lm-first-try",
            "strategy.name": "single",
        },
    ),
    "GaLore": (
        {
            "optim": "galore_adamw",
            "optim_target_modules": [r".*attn.*", "mlp"],
            "optim_args": "rank=64, update_proj_gap=50, scale=0.1, proj_type=reverse_std",
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": '{"factor": 0.5, "patience": 2}',
            "eval_strategy": "steps",
            "eval_steps": 10,
            "warmup_steps": 5,
        },
        {
            "optim._target_": "trainer_cli.optim.galore_adamw",
            "optim.target_modules": [".*attn.*", "mlp"],
            "optim.rank": 64,
            "optim.update_proj_gap": 50,
            "optim.scale": 0.1,
            "optim.proj_type": "reverse_std",
            "optim.eps": 1e-6,
            "scheduler.factor": 0.5,
            "scheduler.patience": 2,
            "args.eval_steps": 10,
        },
    ),
}


@pytest.mark.parametrize(("given", "expected"), REAL.values(), ids=REAL)
def test_what_transformers_writes_arrives(given: dict[str, Any], expected: dict[str, Any]) -> None:
    config = composed(imported(written(**given)))
    for key, value in expected.items():
        node: Any = config
        for part in key.split("."):
            node = node[part]
        assert node == value, key


def test_its_own_words_are_read_too() -> None:
    given = {"eval_strategy": "IntervalStrategy.STEPS", "optim": "OptimizerNames.ADAMW_BNB"}
    given |= {"lr_scheduler_type": "SchedulerType.COSINE", "learning_rate": "3e-05", "bf16": "True"}
    config = composed(imported(given))
    assert config["args"]["eval_strategy"] == "steps"
    assert config["optim"]["_target_"] == "trainer_cli.optim.adamw_8bit"
    assert (config["optim"]["lr"], config["args"]["precision"]) == (3e-5, "bf16")


def test_an_older_name_is_read_as_today_s() -> None:
    given = {"evaluation_strategy": "epoch", "warmup_ratio": 0.1, "group_by_length": True, "no_cuda": True}
    config = composed(imported({**given, "per_gpu_train_batch_size": 4, "adafactor": True}))
    args = config["args"]
    assert (args["eval_strategy"], args["use_cpu"]) == ("epoch", True)
    assert args["train_sampling_strategy"] == "group_by_length"
    assert args["per_device_train_batch_size"] == 4
    assert config["scheduler"]["num_warmup_steps"] == 0.1
    assert config["optim"]["_target_"].endswith("Adafactor")


def all_names() -> list[tuple[str, str]]:
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    schedules = [("lr_scheduler_type", str(name.value)) for name in SchedulerType]
    return schedules + [("optim", str(name.value)) for name in OptimizerNames]


NEEDED = {
    "cosine_with_min_lr": {"min_lr": 1e-6},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-6},
    "warmup_stable_decay": {"num_decay_steps": 5},
}


@pytest.mark.slow
@pytest.mark.parametrize(("field", "name"), all_names())
def test_every_optimizer_and_schedule_is_an_option_or_has_a_reason(field: str, name: str) -> None:
    given: dict[str, Any] = {field: name, "eval_strategy": "steps", "max_steps": 10}
    if name in NEEDED:
        given["lr_scheduler_kwargs"] = NEEDED[name]
    if name.startswith("schedule_free"):
        given["warmup_steps"] = 3
    result = imported(given)
    composed(result)
    home = {**OPTIMIZERS, **SCHEDULERS}.get(name)
    assert (field in result.missing) == (home is not None and not home.key)


def test_a_number_that_an_optimizer_has_there_and_not_here_is_written_out() -> None:
    assert composed(imported({"optim": "sgd"}))["optim"]["momentum"] == 0.0
    assert composed(imported({"optim": "sgd", "optim_args": "momentum=0.8"}))["optim"]["momentum"] == 0.8
    assert composed(imported({"optim": "lion_32bit"}))["optim"]["betas"] == [0.9, 0.999]


def test_gradients_that_are_freed_at_once_are_not_clipped() -> None:
    result = imported({"optim": "lomo", "max_grad_norm": 0.5})
    assert composed(result)["args"]["max_grad_norm"] == 0
    assert "frees each gradient" in result.missing["max_grad_norm"]


def test_a_name_that_nobody_knows_is_no_small_matter(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("args.json").write_text(json.dumps({"lerning_rate": 1, "max_steps": 5, "some_flag": False}))
    assert cli.main(["import-args", "args.json"]) == 2
    out, err = capsys.readouterr()
    assert "max_steps: 5" in out and "some_flag" not in out + err
    assert "lerning_rate: transformers has no such argument; did you mean learning_rate" in err
    assert "it is left out of the recipe" in err


@pytest.mark.parametrize("name", ["f1", "eval_f1", "matthews_correlation", "mse", "pearson"])
def test_the_best_model_s_metric_comes_along(name: str) -> None:
    given = {"metric_for_best_model": name, "eval_strategy": "epoch"}
    metrics = composed(imported(given))["metrics"]
    assert list(metrics) == [name.removeprefix("eval_")]
    assert metrics[name.removeprefix("eval_")]["_target_"].startswith("trainer_cli.metrics.")
    assert not imported(given).problems


def test_the_metrics_by_the_names_of_scripts_are_there() -> None:
    for target in _METRICS.values():
        assert issubclass(getattr(trainer_cli.metrics, target), trainer_cli.metrics.Metric)


def test_a_metric_that_is_not_there_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("args.json").write_text('{"metric_for_best_model": "rouge1", "eval_strategy": "epoch"}')
    assert cli.main(["import-args", "args.json"]) == 2
    err = capsys.readouterr().err
    assert "metric_for_best_model=rouge1: there is no metric of this name" in err
    assert "metrics.rouge1._target_=MODULE.CLASS" in err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "data.train_file=FILE model.pretrained=NAME"),
        ({"eval_strategy": "epoch"}, "data.train_file=FILE data.eval_file=FILE model.pretrained=NAME"),
        ({"do_predict": True, "model_name_or_path": "x"}, "data.test_file=FILE"),
        ({"do_train": True, "train_file": "a.csv"}, "model.pretrained=NAME"),
        ({"task_name": "mrpc", "do_eval": True}, "model.pretrained=NAME"),
    ],
)
def test_the_recipe_s_command_names_all_that_is_left_to_say(given: dict[str, Any], words: str) -> None:
    assert imported(given).recipe.splitlines()[0].partition(" +recipe=")[2].partition(" ")[2] == words


def test_settings_of_several_processes_do_not_make_them_several() -> None:
    result = imported({"ddp_find_unused_parameters": True, "ddp_timeout": 7200})
    assert composed(result)["strategy"]["name"] == "single"
    assert "strategy=ddp strategy.timeout=7200" in result.missing["ddp_timeout"]
    both = composed(imported({"ddp_timeout": 7200, "nproc_per_node": 2}))["strategy"]
    assert (both["name"], both["num_processes"], both["timeout"]) == ("ddp", 2, 7200)


@pytest.mark.parametrize(("task", "source"), [("mrpc", "hub"), ("sst2", "embedded"), ("stsb", "embedded")])
def test_a_task_comes_from_where_it_is(task: str, source: str) -> None:
    assert composed(imported({"task_name": task}))["data"]["source"] == source


@pytest.mark.parametrize("head", [pickle.dumps({"learning_rate": 1e-5}), b"PK\x03\x04rest"])
def test_a_pickle_is_not_opened(folder: Path, head: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("training_args.bin").write_bytes(head)
    assert cli.main(["import-args", "training_args.bin"]) == 2
    error = capsys.readouterr().err
    assert "is a pickle" in error
    assert "args = torch.load('training_args.bin', weights_only=False)" in error


def test_the_way_round_a_pickle_is_the_right_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from transformers import TrainingArguments

    torch.save(TrainingArguments(output_dir="outputs", use_cpu=True, seed=5), "training_args.bin")
    assert cli.main(["import-args", "training_args.bin"]) == 2
    lines = capsys.readouterr().err.splitlines()
    exec("\n".join(line.strip() for line in lines[-3:]))  # noqa: S102
    assert cli.main(["import-args", "training_args.json"]) == 0
    assert "  seed: 5\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "not a mapping"),
        ("a: [", "not YAML"),
        ("optim_args: rank", "neither a mapping nor key=value"),
    ],
)
def test_what_cannot_be_read_is_one_block(
    folder: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("args.yaml").write_text(text)
    assert cli.main(["import-args", "args.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error


def test_a_file_that_is_not_there_and_none_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import-args", "nowhere.json"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert cli.main(["import-args"]) == 2
    assert "import-args needs a file" in capsys.readouterr().err


def test_yaml_in_a_recipe_and_remarks_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("args.yaml").write_text("learning_rate: 3e-5\nreport_to: neptune\nauto_find_batch_size: true\n")
    assert cli.main(["import-args", "args.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# trainer-cli +recipe=args ")
    assert "  lr: 3.0e-05\n" in out and "  logging_steps: 500  # transformers' default\n" in out
    missing, differs = err.split("differs on purpose:")
    assert "report_to" in missing and "auto_find_batch_size" in differs


@pytest.mark.parametrize(
    ("report_to", "line"),
    [("wandb", "tracker: wandb"), (["tensorboard", "comet_ml"], "tracker: [tensorboard,comet]")],
)
def test_integrations_are_trackers(report_to: Any, line: str) -> None:
    got = imported({"report_to": report_to, "trackio_space_id": "me/space"})
    assert f"  - override /{line}\n" in got.recipe
    assert list(got.missing) == ["trackio_space_id"]


def test_trackio_is_told_its_space() -> None:
    got = imported({"report_to": "trackio", "trackio_space_id": "me/space"})
    assert "space_id: me/space" in got.recipe and "project: huggingface  #" in got.recipe
    assert not got.missing


@pytest.mark.parametrize("report_to", ["all", "neptune", 3, ["a b"]])
def test_an_integration_without_equal_is_said(report_to: Any) -> None:
    got = imported({"report_to": report_to})
    assert "tracker" not in got.recipe and "report_to" in got.missing


def test_what_is_refused_here_is_said_and_the_recipe_written_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("args.json").write_text(json.dumps({"load_best_model_at_end": True, "optim": "adamx"}))
    assert cli.main(["import-args", "args.json"]) == 2
    out, err = capsys.readouterr()
    assert "load_best_model_at_end: true" in out
    assert "to be changed before it runs:" in err and "there is no optim=adamx" in err
    Path("args.json").write_text(json.dumps({"load_best_model_at_end": True}))
    assert cli.main(["import-args", "args.json"]) == 2
    assert "args.eval_strategy=epoch or steps" in capsys.readouterr().err


def test_text_is_meant_literally() -> None:
    config = composed(imported({"output_dir": "${oc.env:HOME}", "metric_for_best_model": "no"}))
    assert config["args"]["output_dir"] == "${oc.env:HOME}"


@pytest.mark.slow
@pytest.mark.parametrize("value", ["nonsense", [1], {"a": 1}, -3, None], ids=str)
def test_a_value_that_makes_no_sense_is_no_reason_to_fail(value: Any) -> None:
    for name in (*ARGUMENTS, *OLD, *SCRIPTS):
        with contextlib.suppress(UserError):
            assert imported({name: value}).recipe


def test_no_token_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("args.json").write_text(json.dumps({"hub_token": "hf_secret", "push_to_hub_token": "hf_secret"}))
    assert cli.main(["import-args", "args.json"]) == 0
    out, err = capsys.readouterr()
    assert "hf_secret" not in out + err and "hub_token" in err
