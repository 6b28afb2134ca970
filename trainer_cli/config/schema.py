"""The typed schema: the groups, the fields of `args`, `strategy` and `run`, and what the runner fills in."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from trainer_cli.config.types import Doc, Ge, Gt, Kind, Le, Lt, parse


@dataclass(frozen=True)
class Args:
    """How long, how often and in what precision to train, under the Hugging Face names."""

    seed: Annotated[int, Ge(0), Doc("seed of the weights, the order of the data and dropout")]
    data_seed: Annotated[
        Annotated[int, Ge(0)] | None, Doc("seed of the order and the augmentation of the data; null: seed")
    ]
    full_determinism: Annotated[
        bool, Doc("take only kernels that give the same bits each time; slower on a GPU")
    ]
    num_train_epochs: Annotated[float, Gt(0), Doc("passes over the training data; fractions are allowed")]
    max_steps: Annotated[
        Literal[-1] | Annotated[int, Ge(1)],
        Doc("optimizer updates to train for, in place of num_train_epochs; -1: by epochs"),
    ]
    per_device_train_batch_size: Annotated[int, Ge(1), Doc("rows of a training micro-batch, per process")]
    per_device_eval_batch_size: Annotated[int, Ge(1), Doc("rows of an evaluation batch, per process")]
    gradient_accumulation_steps: Annotated[int, Ge(1), Doc("micro-batches per optimizer update")]
    auto_find_batch_size: Annotated[
        bool, Doc("where memory runs out, halve the micro-batch and double their number")
    ]
    max_grad_norm: Annotated[float, Ge(0), Doc("gradients are clipped to this norm; 0: no clipping")]
    max_grad_value: Annotated[
        Annotated[float, Gt(0)] | None, Doc("each gradient value is clipped to this; null: no clipping")
    ]
    neftune_noise_alpha: Annotated[
        Annotated[float, Gt(0)] | None, Doc("uniform noise on the embeddings while training (NEFTune)")
    ]
    ema_decay: Annotated[
        Annotated[float, Gt(0), Lt(1)] | None,
        Doc("evaluate and keep a moving average of the weights with this decay"),
    ]
    on_nonfinite: Annotated[
        Literal["stop", "skip", "rollback"], Doc("what a loss or gradient that is not finite leads to")
    ]
    max_nonfinite_steps: Annotated[int, Ge(1), Doc("updates that may be skipped for it before the run stops")]
    logging_strategy: Annotated[Literal["no", "steps", "epoch"], Doc("when to log a training row")]
    logging_steps: Annotated[
        Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)],
        Doc("updates between two logged rows; below 1: a share of all"),
    ]
    logging_first_step: Annotated[bool, Doc("log the first update too")]
    eval_strategy: Annotated[Literal["no", "steps", "epoch"], Doc("when to evaluate while training")]
    eval_steps: Annotated[
        Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None,
        Doc("updates between two evaluations, below 1 a share of all; null: as logging_steps"),
    ]
    eval_delay: Annotated[
        float, Ge(0), Doc("steps or epochs, as eval_strategy counts, before the first evaluation")
    ]
    eval_on_start: Annotated[bool, Doc("evaluate before the first update")]
    save_strategy: Annotated[Literal["no", "steps", "epoch", "best"], Doc("when to write a checkpoint")]
    save_steps: Annotated[
        Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)],
        Doc("updates between two checkpoints, for save_strategy=steps; below 1: a share of all"),
    ]
    save_total_limit: Annotated[Annotated[int, Ge(1)] | None, Doc("checkpoints to keep; null: all of them")]
    save_only_model: Annotated[bool, Doc("checkpoints hold the model alone, and no run can go on from them")]
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
    dataloader_pin_memory: Annotated[bool, Doc("page-locked batches, which reach a GPU faster")]
    dataloader_multiprocessing_context: Annotated[
        Literal["fork", "spawn", "forkserver"] | None, Doc("how workers start; null: Python's choice")
    ]
    torch_compile: Annotated[bool, Doc("compile the model with torch.compile")]
    torch_compile_backend: Annotated[str | None, Doc("backend of torch.compile; null: inductor")]
    torch_compile_mode: Annotated[
        Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] | None,
        Doc("what torch.compile optimises for; null: default"),
    ]
    torch_empty_cache_steps: Annotated[
        Annotated[int, Ge(1)] | None, Doc("updates after which a GPU's unused memory is given back")
    ]
    gradient_checkpointing: Annotated[bool, Doc("recompute activations in the backward pass to save memory")]
    gradient_checkpointing_modules: Annotated[
        str | None, Doc("regular expression of the modules to recompute; null: the model's repeated layers")
    ]
    output_dir: Annotated[str, Doc("directory that holds the directories of all runs")]
    use_cpu: Annotated[bool, Doc("stay on the CPU even where there is a GPU")]
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Doc("arithmetic of the forward pass; auto: bf16 where it is native"),
    ]
    tf32: Annotated[bool | None, Doc("let a GPU multiply fp32 matrices in TF32; null: PyTorch's choice")]
    stages: Annotated[list[Literal["train", "eval", "predict"]], Doc("what to do, in this order")]
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical", "passive"],
        Doc("least level of what the main process says on the terminal; passive: info"),
    ]
    log_level_replica: Annotated[
        Literal["debug", "info", "warning", "error", "critical", "passive"],
        Doc("least level of what the other processes say, with their rank; passive: warning"),
    ]
    log_on_each_node: Annotated[
        bool, Doc("the first process of each node says what log_level asks for, not that of the first alone")
    ]


@dataclass(frozen=True)
class Strategy:
    """How the run is spread over processes."""

    name: Annotated[Literal["single", "ddp"], Doc("one process, or data-parallel processes")]
    num_processes: Annotated[Annotated[int, Ge(1)] | None, Doc("processes to start; null: one per GPU")]
    max_restarts: Annotated[int, Ge(0), Doc("times that failed processes are started again")]


@dataclass(frozen=True)
class DataParallel(Strategy):
    """How data-parallel processes are joined, under the names of torch's DistributedDataParallel."""

    backend: Annotated[
        Literal["gloo", "nccl"] | None, Doc("carries gradients; null: nccl on GPUs, gloo on CPUs")
    ]
    timeout: Annotated[float, Gt(0), Doc("seconds to wait for another process")]
    bucket_cap_mb: Annotated[
        Annotated[int, Ge(1)] | None, Doc("MiB of gradients that travel together; null: torch's choice")
    ]
    find_unused_parameters: Annotated[
        bool, Doc("look in each step for parameters that took no part; slower, and needed where some do not")
    ]
    static_graph: Annotated[bool, Doc("every step uses the same parameters in the same way")]
    broadcast_buffers: Annotated[
        bool, Doc("each forward starts from the main process's buffers, such as BatchNorm's statistics")
    ]


@dataclass(frozen=True)
class Checkpoint:
    """How checkpoints are written, and what a run may go on from."""

    async_save: Annotated[bool, Doc("write in the background from a copy, while training goes on")]
    on_damage: Annotated[
        Literal["fallback", "fail"],
        Doc("where the newest checkpoint is damaged: the newest whole one, or an error"),
    ]
    on_full: Annotated[
        Literal["stop", "continue"], Doc("where the disk has no room for a checkpoint: end, or train on")
    ]
    allow: Annotated[
        list[Literal["model", "optimizer", "data"]],
        Doc("what a resumed run may have another of than its checkpoint"),
    ]


@dataclass(frozen=True)
class Run:
    """What the run is called."""

    name: Annotated[str | None, Doc("folder of the run below args.output_dir; null: named after the recipe")]


@dataclass(frozen=True)
class Sweep:
    """What `-m` runs, where, and what it looks for."""

    name: Annotated[
        str | None,
        Doc("folder of the sweep below the run's name; null: after what is swept over and what is fixed"),
    ]
    params: Annotated[
        dict[str, Any],
        Doc("axes beside those of the command line: {optim.lr: '1e-5,3e-5'}"),
    ]
    zip: Annotated[
        list[list[str]], Doc("axes that go in step, not as a product: [[optim.lr, optim.weight_decay]]")
    ]
    search: Annotated[
        Literal["grid", "random", "tpe", "gp", "cma_es", "qmc"],
        Doc("grid: all combinations; random: drawn from them; the others are Optuna's samplers"),
    ]
    trials: Annotated[int, Ge(1), Doc("jobs of a search that is no grid")]
    seed: Annotated[int, Ge(0), Doc("seed of the search, not of the runs")]
    pruner: Annotated[
        Literal["median", "percentile", "successive_halving", "hyperband"] | None,
        Doc("Optuna's rule by which a job that evaluates poorly ends early; null: none does"),
    ]
    jobs: Annotated[int, Ge(1), Doc("jobs at a time on this machine; its GPUs and threads are dealt out")]
    warm: Annotated[bool, Doc("start jobs from a process that has torch and transformers imported already")]
    retries: Annotated[int, Ge(0), Doc("times that a failed job is started again before the sweep goes on")]
    fail_fast: Annotated[bool, Doc("start no further job once one has failed")]


class Top:
    """The values at the top level."""

    resume: Annotated[str | None, Doc("null, latest, auto, a run, or a checkpoint's path: where to go on")]
    plugins: Annotated[list[str], Doc("further import prefixes that _target_ may name")]


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
    decoupled_weight_decay: Annotated[bool, Doc("shrink the weights themselves, as AdamW does")]
    momentum_decay: Annotated[float, Ge(0), Doc("how fast the momentum rises to its value")]
    lr_decay: Annotated[float, Ge(0), Doc("how fast the learning rate falls with the updates")]
    initial_accumulator_value: Annotated[float, Ge(0), Doc("sum of squared gradients to begin with")]
    centered: Annotated[bool, Doc("normalise by the variance of the gradient, not by its mean square")]
    block_size: Annotated[int, Ge(1), Doc("values of the state that share a scale")]
    bf16_stochastic_round: Annotated[bool, Doc("round bf16 weights at random, up or down by nearness")]
    min_8bit_size: Annotated[int, Ge(1), Doc("fewest values of a parameter whose state is in 8 bits")]
    t_alpha: Annotated[Annotated[int, Ge(1)] | None, Doc("updates in which alpha rises; null: it does not")]
    t_beta3: Annotated[
        Annotated[int, Ge(1)] | None, Doc("updates in which the third beta rises; null: it does not")
    ]
    rank: Annotated[int, Ge(1), Doc("dimensions that a matrix's gradient is projected on")]
    update_proj_gap: Annotated[int, Ge(1), Doc("updates after which the projection is made anew")]
    scale: Annotated[float, Gt(0), Doc("factor of the updates of projected matrices")]


class OptimGroups:
    """What an optimizer's node may have beside its target's parameters: what differs by part of the model."""

    layerwise_lr_decay: Annotated[
        Annotated[float, Gt(0), Le(1)] | None,
        Doc("factor on the learning rate from each layer to the one below it; the head has lr itself"),
    ]
    groups: Annotated[
        list[dict[str, Any]] | None,
        Doc("what differs by name: [{modules: REGEX, lr: 1e-3}, ...]; the first that matches counts"),
    ]


class GroupFields:
    """What an entry of `optim.groups` has beside the optimizer's own parameters."""

    modules: Annotated[
        str | list[str], Doc("regular expression, or several, looked for in the parameters' dotted names")
    ]


class SchedulerFields:
    """What is known of a schedule's parameters."""

    num_warmup_steps: Annotated[float, Ge(0), Doc("updates of warm-up; below 1: a share of all updates")]


class SchedulerExtension:
    """What a schedule's node may have beside its target's parameters."""

    on_extend: Annotated[
        Literal["restretch", "hold"] | None,
        Doc(
            "where a resumed run is made longer: the schedule is stretched over all updates (null: this)"
            " or stays as it was, with its last rate from there on (hold)"
        ),
    ]


class LossFields:
    """What is known of a loss's parameters."""

    label_smoothing: Annotated[float, Ge(0), Lt(1), Doc("share of the target spread over all classes")]


STRATEGIES: dict[str, type[Strategy]] = {"single": Strategy, "ddp": DataParallel}
"""The fields of each strategy, by its name."""


def kinds(fields: type) -> dict[str, Kind]:
    """The kind of each annotated field of a class in this module, those of its base class first."""
    annotations = {
        name: text
        for owner in reversed(fields.__mro__)
        for name, text in inspect.get_annotations(owner).items()
    }
    return {name: parse(text) for name, text in annotations.items()}


def fields_of(section: str, values: Mapping[str, Any]) -> type:
    """The class whose fields a typed section has: a strategy's name decides over its own."""
    if section == "strategy":
        return STRATEGIES.get(str(values.get("name")), Strategy)
    return TYPED[section]


NODES = ("model", "data", "loss", "optim", "scheduler")
"""Groups that are one `_target_` node."""

NAMED = ("metrics", "callbacks", "tracker")
"""Groups that are a dict of named `_target_` nodes."""

GROUPS = ("args", *NODES, "strategy", "checkpoint", *NAMED)
"""All groups, in the order of a written configuration."""

TYPED: dict[str, type] = {
    "args": Args,
    "strategy": Strategy,
    "checkpoint": Checkpoint,
    "run": Run,
    "sweep": Sweep,
}
"""Sections whose fields a dataclass lists."""

TOP = kinds(Top)
"""The kinds of the top-level values."""

ORDER = (*GROUPS, "run", "sweep", *TOP)
"""Every top-level key, in the order in which it is written."""

KNOWN: dict[str, dict[str, Kind]] = {
    "optim": kinds(OptimFields),
    "scheduler": kinds(SchedulerFields),
    "loss": kinds(LossFields),
}
"""Ranges and meanings of `_target_` parameters, by group, for signatures that do not carry them."""

TAKEN: dict[str, dict[str, Kind]] = {
    "optim": kinds(OptimGroups),
    "scheduler": kinds(SchedulerExtension),
}
"""Keys that a group's node may have whatever its target is: the runner takes them, the target never does."""

OFFERED: dict[str, tuple[str, ...]] = {
    "model": ("labels", "tokenizer", "complete"),
    "data": ("head",),
    "loss": ("shift_labels",),
    "optim": ("params", "module"),
    "scheduler": ("optimizer", "num_training_steps", "mode"),
    "metrics": ("labels",),
}
"""Parameters, by group, that the runner fills where a target has them and its YAML does not."""

OBJECTS = ("params", "module", "optimizer", "tokenizer")
"""Those of them that no value of a configuration can stand for."""
