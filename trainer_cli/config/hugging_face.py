"""Where the arguments of the Hugging Face Trainer and its example scripts live here, or why they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer_cli.config.schema import Args


@dataclass(frozen=True)
class Home:
    """The key that an argument became (empty: none), and how to write it where a new name is not all."""

    key: str = ""
    note: str = ""

    def __str__(self) -> str:
        if not self.key:
            return self.note
        return f"it lives in {self.key}" + (f": {self.note}" if self.note else "")


@dataclass(frozen=True)
class Argument(Home):
    """An argument with transformers' default, and what is done otherwise here on purpose.

    Without a key it keeps its name in `args`, if there is one there.
    """

    default: Any = None
    differs: str = ""


_ALWAYS = "always so here"
_NO_HUB = "nothing is pushed yet; `hf upload REPOSITORY RUN/model` pushes a model by hand"
_NO_SHARDING = "models are not sharded yet; strategy=ddp holds the whole model in each process"
_NO_SEQ2SEQ = "there are no sequence-to-sequence models yet"
_STREAMED = "metrics are computed as a stream; no predictions are held"

FIELDS: dict[str, dict[str, Argument]] = {
    "Run and batches": {
        "output_dir": Argument(
            differs="each run has a directory of its own below it; there it is that of one run",
        ),
        "do_train": Argument("args.stages", "args.stages=[train,eval]", False),
        "do_eval": Argument("args.stages", "args.stages=[train,eval]", False),
        "do_predict": Argument("args.stages", "args.stages=[train,eval,predict]", False),
        "resume_from_checkpoint": Argument(
            "resume", "resume=latest, a run, or a checkpoint's path; a checkpoint of transformers has no run"
        ),
        "per_device_train_batch_size": Argument(default=8),
        "per_device_eval_batch_size": Argument(default=8),
        "gradient_accumulation_steps": Argument(
            default=1,
            differs="the loss is divided once, by the items of the whole batch; transformers logs a loss and"
            " a norm that are this many times too large where a model's loss ignores num_items_in_batch",
        ),
        "auto_find_batch_size": Argument(
            default=False,
            differs="the global batch stays, in more, smaller micro-batches; transformers makes it smaller",
        ),
        "num_train_epochs": Argument(default=3.0),
        "max_steps": Argument(default=-1),
        "seed": Argument(
            default=42, differs="the same seed gives another order of the rows and other dropout"
        ),
        "data_seed": Argument(),
        "full_determinism": Argument(default=False),
        "use_cpu": Argument(default=False),
    },
    "Optimizer and schedule": {
        "learning_rate": Argument("optim.lr", default=5e-5),
        "weight_decay": Argument(
            "optim.weight_decay",
            default=0.0,
            differs="it is left off whatever has fewer than two dimensions; transformers decays BatchNorm's",
        ),
        "optim": Argument("optim", "a group: optim=adamw, lion, …", "adamw_torch_fused"),
        "optim_args": Argument("optim", "each argument is a key of its own, as in optim.momentum=0.9"),
        "optim_target_modules": Argument("optim.target_modules", "with optim=galore_adamw and its kin"),
        "adam_beta1": Argument("optim.betas", "the first of the two", 0.9),
        "adam_beta2": Argument("optim.betas", "the second of the two", 0.999),
        "adam_epsilon": Argument("optim.eps", default=1e-8),
        "lr_scheduler_type": Argument("scheduler", "a group: scheduler=linear, cosine, …", "linear"),
        "lr_scheduler_kwargs": Argument(
            "scheduler", "each argument is a key of its own, as in scheduler.num_cycles=1"
        ),
        "warmup_steps": Argument("scheduler.num_warmup_steps", "a number below 1 is a share of all steps", 0),
        "max_grad_norm": Argument(default=1.0),
        "label_smoothing_factor": Argument("loss.label_smoothing", "with loss=cross_entropy", 0.0),
        "neftune_noise_alpha": Argument(),
        "average_tokens_across_devices": Argument("", f"{_ALWAYS}: one count over all processes", True),
    },
    "Precision, memory and compilation": {
        "bf16": Argument("args.precision", "args.precision=bf16", False),
        "fp16": Argument("args.precision", "args.precision=fp16", False),
        "bf16_full_eval": Argument("", "evaluation computes in args.precision, as training does", False),
        "fp16_full_eval": Argument("", "evaluation computes in args.precision, as training does", False),
        "tf32": Argument(),
        "activation_checkpointing": Argument("args.gradient_checkpointing"),
        "activation_checkpointing_kwargs": Argument(
            "args.gradient_checkpointing_modules", "which modules; how they are recomputed is fixed"
        ),
        "gradient_checkpointing": Argument(),
        "gradient_checkpointing_kwargs": Argument(
            "args.gradient_checkpointing_modules", "which modules; how they are recomputed is fixed"
        ),
        "torch_compile": Argument(default=False),
        "torch_compile_backend": Argument(),
        "torch_compile_mode": Argument(),
        "torch_empty_cache_steps": Argument(),
        "use_liger_kernel": Argument("", "Liger's kernels, for a GPU with triton, are not there yet", False),
        "liger_kernel_config": Argument("", "Liger's kernels, for a GPU with triton, are not there yet"),
        "use_cache": Argument("model.config.use_cache", "training never reads a cache", False),
        "skip_memory_metrics": Argument(
            "callbacks.memory", "false is callbacks.memory._target_=trainer_cli.callbacks.Memory", True
        ),
    },
    "Evaluation and the best model": {
        "eval_strategy": Argument(
            default="no", differs="the loss is a mean over items, at whatever per_device_eval_batch_size"
        ),
        "eval_steps": Argument(),
        "eval_delay": Argument(default=0),
        "eval_on_start": Argument(default=False),
        "prediction_loss_only": Argument(
            "metrics", "each metric is a part; metrics.NAME=null removes one", False
        ),
        "eval_accumulation_steps": Argument("", _STREAMED),
        "eval_do_concat_batches": Argument("", _STREAMED, True),
        "eval_use_gather_object": Argument("", "processes exchange the metrics' sums, no objects", False),
        "batch_eval_metrics": Argument("", f"{_ALWAYS}: {_STREAMED}", False),
        "include_for_metrics": Argument(
            "", "a metric is given logits, labels and the loss, but no inputs", []
        ),
        "load_best_model_at_end": Argument(
            default=False, differs="the best model is saved when it is best, whatever save_steps says"
        ),
        "metric_for_best_model": Argument(),
        "greater_is_better": Argument(),
    },
    "Saving and resuming": {
        "save_strategy": Argument(default="steps"),
        "save_steps": Argument(default=500),
        "save_total_limit": Argument(),
        "save_only_model": Argument(default=False),
        "save_on_each_node": Argument("", "the main process alone writes a run's directory", False),
        "enable_jit_checkpoint": Argument("", f"{_ALWAYS}: SIGTERM and SIGINT end in a checkpoint", False),
        "ignore_data_skip": Argument("", "no data is read to be skipped: a resume knows its position", False),
        "restore_callback_states_from_checkpoint": Argument(
            "", f"{_ALWAYS}: callbacks go on from their state in the checkpoint", False
        ),
    },
    "Logging": {
        "logging_strategy": Argument(default="steps"),
        "logging_steps": Argument(default=500),
        "logging_first_step": Argument(default=False),
        "logging_nan_inf_filter": Argument(
            "args.on_nonfinite",
            "what such a step leads to; it is always logged as it is",
            True,
            "a loss that is not finite is logged as it is and stops the run, and is never saved",
        ),
        "include_num_input_tokens_seen": Argument(
            "callbacks.throughput",
            "callbacks.throughput._target_=trainer_cli.callbacks.Throughput logs tokens",
            "no",
        ),
        "log_level": Argument(default="passive"),
        "log_level_replica": Argument(default="warning"),
        "log_on_each_node": Argument(default=True),
        "disable_tqdm": Argument(
            "callbacks.progress", "callbacks.progress=null removes the live view, and the plain lines too"
        ),
        "report_to": Argument(
            "tracker", "a group: tracker=tensorboard, wandb, …, or several: tracker=[mlflow,wandb]", "none"
        ),
        "run_name": Argument("run.name"),
        "project": Argument("tracker.trackio.project", "with tracker=trackio", "huggingface"),
        "trackio_space_id": Argument("tracker.trackio.space_id", "with tracker=trackio"),
        "trackio_bucket_id": Argument("tracker.trackio.bucket_id", "with tracker=trackio"),
        "trackio_static_space_id": Argument(
            "", "a run is logged to a living Space; `trackio sync` makes a static one of it"
        ),
    },
    "Data": {
        "train_sampling_strategy": Argument(default="random"),
        "dataloader_num_workers": Argument(default=0),
        "dataloader_prefetch_factor": Argument(),
        "dataloader_drop_last": Argument(
            default=False, differs="it concerns training alone: evaluation never drops a row"
        ),
        "dataloader_pin_memory": Argument(default=True),
        "dataloader_multiprocessing_context": Argument(),
        "dataloader_persistent_workers": Argument(
            "", "workers start anew each epoch, whose order is a function of seed and epoch", False
        ),
        "dataloader_in_order": Argument("", f"{_ALWAYS}: without it no resume could be exact", True),
        "length_column_name": Argument(
            "", "the data knows its rows' lengths; a Dataset of your own has them as `lengths`", "length"
        ),
        "remove_unused_columns": Argument(
            "", "the model is given exactly what its forward takes, and nothing is removed from rows", True
        ),
        "label_names": Argument("", "labels are called labels in every row"),
    },
    "Several processes": {
        "ddp_find_unused_parameters": Argument(
            "strategy.find_unused_parameters", "with strategy=ddp; transformers has true where it is not set"
        ),
        "ddp_bucket_cap_mb": Argument("strategy.bucket_cap_mb", "with strategy=ddp"),
        "ddp_broadcast_buffers": Argument("strategy.broadcast_buffers", "with strategy=ddp"),
        "ddp_static_graph": Argument("strategy.static_graph", "with strategy=ddp"),
        "ddp_backend": Argument("strategy.backend", "gloo or nccl, with strategy=ddp"),
        "ddp_timeout": Argument("strategy.timeout", "in seconds, with strategy=ddp", 1800),
        "local_rank": Argument("strategy", "strategy=ddp starts the processes, or takes a launcher's", -1),
        "fsdp": Argument("", _NO_SHARDING),
        "fsdp_config": Argument("", _NO_SHARDING),
        "deepspeed": Argument("", _NO_SHARDING),
        "parallelism_config": Argument("", _NO_SHARDING),
        "accelerator_config": Argument(
            "", "batches are counted per process and never padded with rows seen twice; nothing to configure"
        ),
    },
    "The Hub and debugging": {
        "push_to_hub": Argument("", _NO_HUB, False),
        "hub_model_id": Argument("", _NO_HUB),
        "hub_token": Argument("", f"no token is kept in a configuration; {_NO_HUB}"),
        "hub_revision": Argument("", _NO_HUB),
        "hub_private_repo": Argument("", _NO_HUB),
        "hub_strategy": Argument("", _NO_HUB, "every_save"),
        "hub_always_push": Argument("", _NO_HUB, False),
        "debug": Argument(
            "args.on_nonfinite",
            "stop names the batch of the first value that is not finite",
            "",
        ),
    },
    "Sequence to sequence": {
        "sortish_sampler": Argument(
            "args.train_sampling_strategy",
            "group_by_length does what it meant; transformers' trainer never reads it",
            False,
        ),
        "predict_with_generate": Argument("", _NO_SEQ2SEQ, False),
        "generation_max_length": Argument("", _NO_SEQ2SEQ),
        "generation_num_beams": Argument("", _NO_SEQ2SEQ),
        "generation_config": Argument("", _NO_SEQ2SEQ),
    },
}
"""Every field of TrainingArguments and Seq2SeqTrainingArguments (transformers 5.23), by section."""

OLD: dict[str, Argument] = {
    "adafactor": Argument("optim", "optim=adafactor", False),
    "dispatch_batches": Argument("", "each process reads its own share of a batch"),
    "eval_batch_size": Argument("args.per_device_eval_batch_size", "counted per process"),
    "evaluate_during_training": Argument("args.eval_strategy", "args.eval_strategy=steps", False),
    "evaluation_strategy": Argument("args.eval_strategy", default="no"),
    "fp16_backend": Argument("", "torch's own autocast is the only one", "auto"),
    "fp16_opt_level": Argument("", "torch's own autocast is the only one", "O1"),
    "fsdp_min_num_params": Argument("", _NO_SHARDING, 0),
    "fsdp_transformer_layer_cls_to_wrap": Argument("", _NO_SHARDING),
    "group_by_length": Argument(
        "args.train_sampling_strategy", "args.train_sampling_strategy=group_by_length", False
    ),
    "half_precision_backend": Argument("", "torch's own autocast is the only one", "auto"),
    "include_inputs_for_metrics": Argument(
        "", "a metric is given logits, labels and the loss, but no inputs", False
    ),
    "include_tokens_per_second": Argument(
        "callbacks.throughput",
        "callbacks.throughput._target_=trainer_cli.callbacks.Throughput logs tokens",
        False,
    ),
    "jit_mode_eval": Argument("", "models are compiled by args.torch_compile alone", False),
    "logging_dir": Argument("", "logs stand in the run's own directory, below args.output_dir"),
    "mp_parameters": Argument("", "there is no SageMaker model parallelism", ""),
    "no_cuda": Argument("args.use_cpu", default=False),
    "overwrite_output_dir": Argument(
        "", "each run has a directory of its own, so nothing is overwritten", False
    ),
    "past_index": Argument("", "no model's past is carried from batch to batch", -1),
    "per_gpu_eval_batch_size": Argument("args.per_device_eval_batch_size"),
    "per_gpu_train_batch_size": Argument("args.per_device_train_batch_size"),
    "push_to_hub_model_id": Argument("", _NO_HUB),
    "push_to_hub_organization": Argument("", _NO_HUB),
    "push_to_hub_token": Argument("", f"no token is kept in a configuration; {_NO_HUB}"),
    "ray_scope": Argument("", "sweeps are run by -m, not by Ray", "last"),
    "save_safetensors": Argument("", "weights are always written as safetensors", True),
    "split_batches": Argument("", "args.per_device_train_batch_size is counted per process"),
    "torchdynamo": Argument("args.torch_compile"),
    "tpu_metrics_debug": Argument("", "there is no TPU support", False),
    "tpu_num_cores": Argument("", "there is no TPU support"),
    "train_batch_size": Argument("args.per_device_train_batch_size", "counted per process"),
    "use_ipex": Argument("", "torch's own CPU kernels are used", False),
    "use_legacy_prediction_loop": Argument("", "there is one evaluation loop", False),
    "use_mps_device": Argument("", "an Apple GPU is used by itself; args.use_cpu=true turns it off", False),
    "warmup_ratio": Argument("scheduler.num_warmup_steps", "a number below 1 is a share of all steps", 0.0),
}
"""Arguments that transformers has renamed or given up since its version 4, and before."""

SCRIPTS: dict[str, Home] = {
    "task_name": Home("data.task"),
    "train_file": Home("data.train_file"),
    "validation_file": Home("data.eval_file"),
    "test_file": Home("data.test_file"),
    "max_seq_length": Home("data.max_length"),
    "max_length": Home("data.max_length"),
    "text_column_name": Home("data.text_column"),
    "label_column_name": Home("data.label_column"),
    "model_name_or_path": Home("model.pretrained"),
    "trust_remote_code": Home("model.trust_remote_code"),
    "early_stopping_patience": Home("callbacks.early_stopping.patience", "with callbacks=early_stopping"),
    "early_stopping_threshold": Home("callbacks.early_stopping.threshold", "with callbacks=early_stopping"),
    "nproc_per_node": Home("strategy.num_processes", "with strategy=ddp"),
}
"""Arguments of the example scripts and of launchers."""

ARGUMENTS: dict[str, Argument] = {
    name: argument for section in FIELDS.values() for name, argument in section.items()
}
"""Every field of today's two classes, by name."""

KEPT = ARGUMENTS.keys() & Args.__annotations__.keys()
"""The fields that keep their name in `args`."""

HOMES: dict[str, Home] = {
    name: home for name, home in {**ARGUMENTS, **OLD, **SCRIPTS}.items() if name not in KEPT
}
"""Where each name lives that is not in `args`, or why nowhere."""

_NO_BACKEND = "its hardware or package is not supported; adamw is the same arithmetic"

TRACKERS: dict[str, Home] = {
    "comet_ml": Home("comet"),
    **{
        name: Home("", "it is not there; a tracker of your own takes a dozen lines (docs/trackers.md)")
        for name in ("azure_ml", "codecarbon", "dagshub", "flyte", "neptune")
    },
}
"""The names of transformers' integrations that are not an option of `tracker` by the same name."""

OPTIMIZERS: dict[str, Home] = {
    "adamw_torch": Home("adamw", "fused, which is the same arithmetic in one kernel"),
    "adamw_torch_fused": Home("adamw"),
    "adamw_torch_xla": Home("", _NO_BACKEND),
    "adamw_torch_npu_fused": Home("", _NO_BACKEND),
    "adamw_anyprecision": Home("", _NO_BACKEND),
    "adamw_torch_4bit": Home("adamw_torchao_4bit"),
    "adamw_torch_8bit": Home("adamw_torchao_8bit"),
    "adamw_bnb_8bit": Home("adamw_8bit"),
    "rmsprop_bnb": Home("rmsprop_32bit"),
    "rmsprop_bnb_32bit": Home("rmsprop_32bit"),
    "rmsprop_bnb_8bit": Home("rmsprop_8bit"),
}
"""The names of transformers' optimizers that are not an option of `optim` by the same name."""

SCHEDULERS: dict[str, Home] = {
    "greedy": Home("", "it raises the rate as well as lowering it; reduce_lr_on_plateau only lowers it"),
}
"""The names of transformers' schedules that are not an option of `scheduler` by the same name."""

EVENTS: dict[str, str] = {
    "on_after_backward": "on_backward_end",
    "on_before_backward": "on_backward_begin",
    "on_before_optimizer_step": "on_optimizer_step_begin",
    "on_fit_end": "on_end",
    "on_fit_start": "on_begin",
    "on_init_end": "on_begin",
    "on_optimizer_step": "on_optimizer_step_end",
    "on_pre_optimizer_step": "on_optimizer_step_begin",
    "on_prediction_step": "on_evaluate_step",
    "on_save_checkpoint": "on_save",
    "on_substep_end": "on_backward_end",
    "on_train_batch_end": "on_step_end",
    "on_train_batch_start": "on_step_begin",
    "on_train_epoch_end": "on_epoch_end",
    "on_train_epoch_start": "on_epoch_begin",
    "on_train_start": "on_train_begin",
    "on_validation_end": "on_evaluate",
    "on_validation_epoch_end": "on_evaluate",
    "on_validation_epoch_start": "on_evaluate_begin",
    "on_validation_start": "on_evaluate_begin",
}
"""The events of the callbacks of transformers and Lightning that have another name here."""


def home_of(name: str) -> str:
    """The key of a field or an older name, `args.` and its name where it kept that; empty: none."""
    return f"args.{name}" if name in KEPT else HOMES[name].key


def other_name(group: str, name: str) -> str:
    """What transformers' name of an optimizer or a schedule is here, or why nothing; empty for others."""
    home = {"optim": OPTIMIZERS, "scheduler": SCHEDULERS, "tracker": TRACKERS}.get(group, {}).get(name)
    if home is None or not home.key:
        return home.note if home else ""
    return f"it is {group}={home.key} here" + (f": {home.note}" if home.note else "")
