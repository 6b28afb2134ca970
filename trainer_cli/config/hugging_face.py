"""Where the arguments of the Hugging Face Trainer and its example scripts live here, or why they do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Home:
    """The key that an argument became (empty: none), and how to write it where a new name is not all."""

    key: str = ""
    note: str = ""

    def __str__(self) -> str:
        if not self.key:
            return self.note
        return f"it lives in {self.key}" + (f": {self.note}" if self.note else "")


HOMES: dict[str, Home] = {
    # optimizer and schedule
    "learning_rate": Home("optim.lr"),
    "weight_decay": Home("optim.weight_decay"),
    "adam_beta1": Home("optim.betas", "the first of the two"),
    "adam_beta2": Home("optim.betas", "the second of the two"),
    "adam_epsilon": Home("optim.eps"),
    "adafactor": Home("optim", "a file configs/optim/adafactor.yaml with _target_: torch.optim.Adafactor"),
    "optim": Home("optim", "a group: optim=adamw or optim=sgd"),
    "optim_args": Home("optim", "each argument is a key of its own, as in optim.momentum=0.9"),
    "lr_scheduler_type": Home("scheduler", "a group: scheduler=linear, cosine, polynomial or constant"),
    "lr_scheduler_kwargs": Home(
        "scheduler", "each argument is a key of its own, as in scheduler.num_cycles=1"
    ),
    "warmup_steps": Home("scheduler.num_warmup_steps"),
    "warmup_ratio": Home("scheduler.num_warmup_steps", "a number below 1 is a share of all steps"),
    "label_smoothing_factor": Home("loss.label_smoothing", "with loss=cross_entropy"),
    # precision and device
    "bf16": Home("args.precision", "args.precision=bf16"),
    "fp16": Home(
        note="fp16 needs loss scaling, which is not there yet; args.precision=bf16 or auto does not"
    ),
    "no_cuda": Home("args.use_cpu"),
    "use_mps_device": Home(note="an Apple GPU is used by itself; args.use_cpu=true turns it off"),
    "tpu_num_cores": Home(note="there is no TPU support"),
    "torchdynamo": Home("args.torch_compile"),
    # batches and data
    "per_gpu_train_batch_size": Home("args.per_device_train_batch_size"),
    "per_gpu_eval_batch_size": Home("args.per_device_eval_batch_size"),
    "train_batch_size": Home("args.per_device_train_batch_size", "counted per process"),
    "eval_batch_size": Home("args.per_device_eval_batch_size", "counted per process"),
    "group_by_length": Home("args.train_sampling_strategy", "args.train_sampling_strategy=group_by_length"),
    "remove_unused_columns": Home(note="the data gives the model exactly the columns that it needs"),
    "task_name": Home("data.task"),
    "train_file": Home("data.train_file"),
    "validation_file": Home("data.eval_file"),
    "test_file": Home("data.test_file"),
    "max_seq_length": Home("data.max_length"),
    "max_length": Home("data.max_length"),
    "text_column_name": Home("data.text_column"),
    "label_column_name": Home("data.label_column"),
    # model
    "model_name_or_path": Home("model.pretrained"),
    "trust_remote_code": Home("model.trust_remote_code"),
    # stages, evaluation, saving
    "do_train": Home("args.stages", "args.stages=[train,eval]"),
    "do_eval": Home("args.stages", "args.stages=[train,eval]"),
    "do_predict": Home("args.stages", "args.stages=[train,eval,predict]"),
    "evaluation_strategy": Home("args.eval_strategy"),
    "evaluate_during_training": Home("args.eval_strategy", "args.eval_strategy=steps"),
    "save_safetensors": Home(note="weights are always written as safetensors"),
    "overwrite_output_dir": Home(note="each run has a directory of its own, so nothing is overwritten"),
    "resume_from_checkpoint": Home("resume", "resume=latest, a run, or a checkpoint's path"),
    "early_stopping_patience": Home("callbacks.early_stopping.patience", "with callbacks=early_stopping"),
    "early_stopping_threshold": Home("callbacks.early_stopping.threshold", "with callbacks=early_stopping"),
    # logging
    "run_name": Home("run.name"),
    "report_to": Home("tracker", "a group: tracker=NAME"),
    "logging_dir": Home(note="logs stand in the run's own directory, below args.output_dir"),
    "logging_nan_inf_filter": Home(note="a loss that is not finite is shown as it is and stops the run"),
    "disable_tqdm": Home("callbacks.progress", "~callbacks.progress removes the progress line"),
    # processes
    "local_rank": Home("strategy", "strategy=ddp starts the processes itself"),
    "nproc_per_node": Home("strategy.num_processes", "with strategy=ddp"),
    "ddp_backend": Home("strategy", "strategy=ddp takes NCCL on GPUs and gloo on CPUs"),
    "ddp_find_unused_parameters": Home(
        note="a model's parameters must all take part; there is no switch yet"
    ),
    "ddp_bucket_cap_mb": Home(note="there is no switch for it yet"),
    "ddp_timeout": Home(note="there is no switch for it yet"),
    "deepspeed": Home(note="there is no DeepSpeed strategy yet; strategy=ddp is there"),
    "fsdp": Home(note="there is no FSDP strategy yet; strategy=ddp is there"),
    "fsdp_config": Home(note="there is no FSDP strategy yet; strategy=ddp is there"),
    "data_seed": Home(note="args.seed also seeds the order of the data"),
    "logging_strategy": Home("args.logging_steps", "rows are logged by steps"),
    "push_to_hub": Home(
        note="a run's model/ directory can be pushed with transformers; there is no switch yet"
    ),
}
"""By argument; args that keep their name are not listed: they stand in `schema.Args`."""
