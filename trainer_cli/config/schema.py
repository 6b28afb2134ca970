"""The typed schema: the groups, the fields of `args`, `strategy` and `run`, and what the runner fills in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from trainer_cli.config.types import Doc, Ge, Gt, Kind, Lt, parse


@dataclass(frozen=True)
class Args:
    """How long, how often and in what precision to train, under the Hugging Face names."""

    seed: Annotated[int, Ge(0), Doc("seed of the weights, the order of the data and dropout")]
    num_train_epochs: Annotated[float, Gt(0), Doc("passes over the training data; fractions are allowed")]
    max_steps: Annotated[
        Literal[-1] | Annotated[int, Ge(1)],
        Doc("optimizer updates to train for, in place of num_train_epochs; -1: by epochs"),
    ]
    per_device_train_batch_size: Annotated[int, Ge(1), Doc("rows of a training micro-batch, per process")]
    per_device_eval_batch_size: Annotated[int, Ge(1), Doc("rows of an evaluation batch, per process")]
    gradient_accumulation_steps: Annotated[int, Ge(1), Doc("micro-batches per optimizer update")]
    max_grad_norm: Annotated[float, Ge(0), Doc("gradients are clipped to this norm; 0: no clipping")]
    logging_steps: Annotated[int, Ge(1), Doc("updates between two logged rows")]
    logging_first_step: Annotated[bool, Doc("log the first update too")]
    eval_strategy: Annotated[Literal["no", "steps", "epoch"], Doc("when to evaluate while training")]
    eval_steps: Annotated[
        Annotated[int, Ge(1)] | None,
        Doc("updates between two evaluations, for eval_strategy=steps; null: as logging_steps"),
    ]
    eval_on_start: Annotated[bool, Doc("evaluate before the first update")]
    save_strategy: Annotated[Literal["no", "steps", "epoch"], Doc("when to write a checkpoint")]
    save_steps: Annotated[int, Ge(1), Doc("updates between two checkpoints, for save_strategy=steps")]
    save_total_limit: Annotated[Annotated[int, Ge(1)] | None, Doc("checkpoints to keep; null: all of them")]
    load_best_model_at_end: Annotated[bool, Doc("end with the model that scored best, not with the last one")]
    metric_for_best_model: Annotated[str | None, Doc("metric that names the best model; null: the loss")]
    greater_is_better: Annotated[
        bool | None, Doc("whether a higher metric_for_best_model is better; null: decided by its name")
    ]
    train_sampling_strategy: Annotated[
        Literal["random", "sequential", "group_by_length"], Doc("order of the training rows")
    ]
    dataloader_num_workers: Annotated[int, Ge(0), Doc("worker processes that prepare batches; 0: none")]
    dataloader_drop_last: Annotated[bool, Doc("drop the last, shorter batch of an epoch")]
    dataloader_prefetch_factor: Annotated[
        Annotated[int, Ge(1)] | None, Doc("batches each worker prepares ahead; null: PyTorch's choice")
    ]
    torch_compile: Annotated[bool, Doc("compile the model with torch.compile")]
    gradient_checkpointing: Annotated[bool, Doc("recompute activations in the backward pass to save memory")]
    output_dir: Annotated[str, Doc("directory that holds the directories of all runs")]
    use_cpu: Annotated[bool, Doc("stay on the CPU even where there is a GPU")]
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], Doc("arithmetic of the forward pass; auto: bf16 where it is native")
    ]
    stages: Annotated[list[Literal["train", "eval", "predict"]], Doc("what to do, in this order")]
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Doc("least level of what is logged")]


@dataclass(frozen=True)
class Strategy:
    """How the run is spread over processes."""

    name: Annotated[Literal["single", "ddp"], Doc("one process, or data-parallel processes")]
    num_processes: Annotated[Annotated[int, Ge(1)] | None, Doc("processes to start; null: one per GPU")]
    max_restarts: Annotated[int, Ge(0), Doc("times that failed processes are started again")]


@dataclass(frozen=True)
class Run:
    """What the run is called."""

    name: Annotated[str | None, Doc("folder of the run below args.output_dir; null: named after the recipe")]


class Top:
    """The values at the top level."""

    resume: Annotated[str | None, Doc("null, latest, auto, a run, or a checkpoint's path: where to go on")]
    plugins: Annotated[list[str], Doc("further import prefixes that _target_ may name")]
    sweep: Annotated[dict[str, Any], Doc("settings of a sweep")]


class OptimFields:
    """What is known of an optimizer's parameters, whose own signatures carry neither range nor meaning."""

    lr: Annotated[float, Ge(0), Doc("peak learning rate")]
    weight_decay: Annotated[float, Ge(0), Doc("weight decay; biases and norms are left out of it")]
    eps: Annotated[float, Ge(0), Doc("added to the denominator for numerical stability")]
    betas: Annotated[
        list[Annotated[float, Ge(0), Lt(1)]],
        Doc("decay rates of the running means of the gradient and of its square"),
    ]
    momentum: Annotated[float, Ge(0), Doc("momentum factor")]
    nesterov: Annotated[bool, Doc("use Nesterov momentum")]
    amsgrad: Annotated[bool, Doc("use the AMSGrad variant")]
    fused: Annotated[bool | None, Doc("update all parameters in one fused kernel")]


class SchedulerFields:
    """What is known of a schedule's parameters."""

    num_warmup_steps: Annotated[float, Ge(0), Doc("updates of warm-up; below 1: a share of all updates")]


class LossFields:
    """What is known of a loss's parameters."""

    label_smoothing: Annotated[float, Ge(0), Lt(1), Doc("share of the target spread over all classes")]


def kinds(fields: type) -> dict[str, Kind]:
    """The kind of each annotated field of a class in this module."""
    return {name: parse(annotation) for name, annotation in fields.__annotations__.items()}


NODES = ("model", "data", "loss", "optim", "scheduler")
"""Groups that are one `_target_` node."""

NAMED = ("metrics", "callbacks", "tracker")
"""Groups that are a dict of named `_target_` nodes."""

GROUPS = ("args", *NODES, "strategy", *NAMED)
"""All groups, in the order of a written configuration."""

TYPED: dict[str, type] = {"args": Args, "strategy": Strategy, "run": Run}
"""Sections whose fields a dataclass lists."""

TOP = kinds(Top)
"""The kinds of the top-level values."""

ORDER = (*GROUPS, "run", *TOP)
"""Every top-level key, in the order in which it is written."""

KNOWN: dict[str, dict[str, Kind]] = {
    "optim": kinds(OptimFields),
    "scheduler": kinds(SchedulerFields),
    "loss": kinds(LossFields),
}
"""Ranges and meanings of `_target_` parameters, by group, for signatures that do not carry them."""

OFFERED: dict[str, tuple[str, ...]] = {
    "model": ("labels", "tokenizer"),
    "loss": ("shift_labels",),
    "optim": ("params",),
    "scheduler": ("optimizer", "num_training_steps"),
    "metrics": ("labels",),
}
"""Parameters, by group, that the runner fills where a target has them and its YAML does not."""
