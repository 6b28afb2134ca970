"""Rules across keys: settings that are right alone and contradict each other."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any

from trainer_cli.config.errors import Problem
from trainer_cli.config.sources import Sources

_WATCHING = ("trainer_cli.scheduler.ReduceLROnPlateau",)
_EARLY_STOPPING = "trainer_cli.callbacks.EarlyStopping"
_IN_BACKWARD = ("trainer_cli.optim.Lomo", "trainer_cli.optim.AdaLomo")
_SCHEDULE_FREE = ("schedulefree.", "pytorch_optimizer.ScheduleFree")
_CONSTANT = "trainer_cli.scheduler.constant"
_BITSANDBYTES = (
    "trainer_cli.optim.adamw_8bit",
    "trainer_cli.optim.ademamix_8bit",
    "trainer_cli.optim.galore_adamw_8bit",
    "trainer_cli.optim.lion_8bit",
    "trainer_cli.optim.rmsprop_8bit",
)

_TRACKERS = {
    "TensorBoard": ("tensorboard",),
    "WandB": ("wandb",),
    "MLflow": ("mlflow", "sqlalchemy", "alembic"),
    "Trackio": ("trackio",),
    "SwanLab": ("swanlab",),
    "DVCLive": ("dvclive",),
    "Comet": ("comet_ml",),
    "ClearML": ("clearml",),
}
"""The packages that a tracker needs; the extra that adds them is called as the tracker is."""


def contradictions(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """The problems of a configuration whose values are each of the right type."""
    yield from _evaluation(config, sources)
    yield from _memory(config, sources)
    yield from _going_back(config, sources)
    yield from _optimizer(config, sources)
    yield from _schedule(config, sources)
    yield from _trackers(config, sources)
    args, strategy = config["args"], config["strategy"]
    if not args["stages"]:
        yield Problem(
            "args.stages is empty", sources.where("args.stages"), "for example args.stages=[train,eval]"
        )
    if len(set(args["stages"])) < len(args["stages"]):
        yield Problem("args.stages names a stage twice", sources.where("args.stages"))
    if strategy["name"] == "single" and strategy["num_processes"] not in (1, None):
        count = strategy["num_processes"]
        yield Problem(
            f"strategy.num_processes is {count}, but strategy=single runs one process",
            sources.where("strategy.num_processes"),
            f"strategy=ddp strategy.num_processes={count}",
        )
    for name in ("dataloader_prefetch_factor", "dataloader_multiprocessing_context"):
        if args[name] is not None and not args["dataloader_num_workers"]:
            yield Problem(
                f"args.{name} is set, but there are no workers",
                sources.where(f"args.{name}"),
                "args.dataloader_num_workers=1 or more",
            )


def _evaluation(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """What needs evaluations while training, although there are none."""
    args = config["args"]
    if args["eval_strategy"] != "no" or "train" not in args["stages"]:
        return
    needing = []
    if args["load_best_model_at_end"]:
        needing.append("args.load_best_model_at_end")
    if args["metric_for_best_model"] is not None:
        needing.append("args.metric_for_best_model")
    if args["save_strategy"] == "best":
        needing.append("args.save_strategy")
    if config["scheduler"]["_target_"] in _WATCHING:
        needing.append("scheduler._target_")
    for name, node in config["callbacks"].items():
        if node is not None and node.get("_target_") == _EARLY_STOPPING:
            needing.append(f"callbacks.{name}")
    for key in needing:
        yield Problem(
            f"{key} needs evaluations, but args.eval_strategy is no",
            f"{sources.where(key)}; {sources.where('args.eval_strategy')}",
            "args.eval_strategy=epoch or steps",
        )


def _schedule(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """A schedule whose step is no update."""
    target = config["scheduler"]["_target_"]
    if target == "torch.optim.lr_scheduler.ReduceLROnPlateau":
        yield Problem(
            f"{target} takes a step with the score of an evaluation, not with each update",
            sources.where("scheduler._target_"),
            "scheduler=reduce_lr_on_plateau does the same here",
        )


def _trackers(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """A package that a tracker needs."""
    for key, node in config["tracker"].items():
        module, _, name = (node or {}).get("_target_", "").rpartition(".")
        packages = _TRACKERS.get(name, ()) if module == "trainer_cli.tracker" else ()
        if name == "MLflow" and (node.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")):
            packages = packages[:1]  # a server has the database
        for package in packages:
            if not _is_installed(package):
                yield Problem(
                    f"tracker.{key} needs {package}, which is not installed",
                    sources.where(f"tracker.{key}._target_"),
                    f"pip install 'trainer-cli[{name.lower()}]' adds it",
                )


def _is_installed(package: str) -> bool:
    """Whether there is such a package; a folder of that name, as wandb makes one for its files, is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def _going_back(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """A step back, without checkpoints that it could go to."""
    args = config["args"]
    if args["on_nonfinite"] != "rollback":
        return
    for key, is_set, right in (
        ("save_strategy", args["save_strategy"] == "no", "args.save_strategy=steps"),
        ("save_only_model", args["save_only_model"], "args.save_only_model=false"),
    ):
        if is_set:
            yield Problem(
                f"args.on_nonfinite is rollback, but args.{key} is {args[key]}".replace("True", "true"),
                f"{sources.where('args.on_nonfinite')}; {sources.where(f'args.{key}')}",
                right,
            )


def _memory(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """What saves memory, asked for where it cannot."""
    args, strategy = config["args"], config["strategy"]
    if args["auto_find_batch_size"] and strategy["name"] != "single":
        yield Problem(
            "args.auto_find_batch_size needs one process: where memory runs out in one of several, the others"
            " wait for it",
            sources.where("args.auto_find_batch_size"),
            "strategy=single finds the size, args.per_device_train_batch_size then sets it",
        )
    if args["gradient_checkpointing_modules"] is not None and not args["gradient_checkpointing"]:
        yield Problem(
            "args.gradient_checkpointing_modules is set, but args.gradient_checkpointing is false",
            sources.where("args.gradient_checkpointing_modules"),
            "args.gradient_checkpointing=true",
        )
    for key in ("torch_compile_backend", "torch_compile_mode"):
        if args[key] is not None and not args["torch_compile"]:
            yield Problem(
                f"args.{key} is set, but args.torch_compile is false",
                sources.where(f"args.{key}"),
                "args.torch_compile=true",
            )


def _optimizer(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """What the design of an optimizer forbids, and a package that it needs."""
    if "train" not in config["args"]["stages"]:
        return
    target = config["optim"].get("_target_", "")
    if target in _BITSANDBYTES and importlib.util.find_spec("bitsandbytes") is None:
        yield Problem(
            f"{target} needs bitsandbytes, which is not installed",
            sources.where("optim._target_"),
            "pip install 'trainer-cli[optim]' adds it",
        )
    if target in _IN_BACKWARD or config["optim"].get("layerwise") is True:
        yield from _in_backward(config, sources)
    if target.startswith(_SCHEDULE_FREE):
        yield from _schedule_free(config, sources)


def _in_backward(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """What cannot be had where each parameter is updated as soon as its gradient is there."""
    args, strategy = config["args"], config["strategy"]["name"]
    accumulation = args["gradient_accumulation_steps"]
    rows = accumulation * args["per_device_train_batch_size"]
    forbidden = (
        (
            "args.gradient_accumulation_steps",
            accumulation > 1,
            "no gradient waits for the next micro-batch",
            f"args.gradient_accumulation_steps=1 args.per_device_train_batch_size={rows}",
        ),
        (
            "args.max_grad_norm",
            args["max_grad_norm"] > 0,
            "weights change before the norm of all gradients is known",
            "args.max_grad_norm=0",
        ),
        (
            "args.max_grad_value",
            args["max_grad_value"] is not None,
            "no gradient is left to clip",
            "args.max_grad_value=null",
        ),
        (
            "args.precision",
            args["precision"] == "fp16",
            "no gradient is left for a loss scaler to look at",
            "args.precision=bf16",
        ),
        ("strategy.name", strategy != "single", "no gradient is left to exchange", "strategy=single"),
        (
            "args.on_nonfinite",
            args["on_nonfinite"] == "skip",
            "weights have changed before an update could be skipped",
            "args.on_nonfinite=stop or rollback",
        ),
        (
            "args.auto_find_batch_size",
            args["auto_find_batch_size"],
            "an update is one micro-batch, which cannot be made of smaller ones",
            "args.auto_find_batch_size=false",
        ),
    )
    for key, is_set, why, right in forbidden:
        if is_set:
            section, _, name = key.partition(".")
            yield Problem(
                f"{key} is {config[section][name]}, but this optimizer works in the backward pass: {why}",
                f"{sources.where(key)}; {sources.where('optim._target_')}",
                right,
            )


def _schedule_free(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """What a schedule-free optimizer's average of the weights already does."""
    target, warmup = config["scheduler"]["_target_"], config["scheduler"].get("num_warmup_steps")
    if target != _CONSTANT or warmup:
        own = " optim.warmup_steps=N" if warmup and "warmup_steps" in config["optim"] else ""
        key = "scheduler._target_" if target != _CONSTANT else "scheduler.num_warmup_steps"
        yield Problem(
            "a schedule-free optimizer takes a constant learning rate, without warm-up: its averaging is its"
            " schedule",
            f"{sources.where(key)}; {sources.where('optim._target_')}",
            f"scheduler=constant scheduler.num_warmup_steps=0{own}",
        )
    if config["args"]["ema_decay"] is not None:
        yield Problem(
            "args.ema_decay is set, but a schedule-free optimizer keeps an average of its own",
            f"{sources.where('args.ema_decay')}; {sources.where('optim._target_')}",
            "args.ema_decay=null",
        )
