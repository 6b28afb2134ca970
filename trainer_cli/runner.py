"""From a configuration to an engine in eleven stages, and from an engine to a finished run."""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra.utils
import numpy as np
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainer_cli import loop
from trainer_cli.callbacks import Callback
from trainer_cli.checkpoint import Checkpoints, contents
from trainer_cli.config.check import bind
from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.schema import OFFERED, Args
from trainer_cli.config.schema import Strategy as StrategyConfig
from trainer_cli.data.loader import EvalLoader, KnowsLengths, TrainLoader, Workers
from trainer_cli.data.source import DataSource, Splits
from trainer_cli.engine import Engine, Row, score_name
from trainer_cli.metrics import BY_NAME, Metric
from trainer_cli.model import storage
from trainer_cli.optim import parameter_groups
from trainer_cli.predict import predict
from trainer_cli.strategy import DistributedDataParallel, Rank, SingleProcess, Strategy, join
from trainer_cli.strategy.device import autocast_dtype, pick_device
from trainer_cli.tracker import JsonLines, Tracker

log = logging.getLogger(__name__)


def build(
    config: Mapping[str, Any],
    run_dir: Path,
    resume_from: Path | None = None,
    folders: Sequence[Path] = (),
) -> Engine:
    """The engine of a checked configuration, in an existing directory.

    `resume_from` is a checkpoint to go on from, `folders` hold the user's own modules. An error that leaves a
    stage names it.
    """
    if isinstance(config, DictConfig):
        config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]

    with stage(1, "args and seed"):
        args = Args(**config["args"])
        check_targets(config, folders)
        seed_everything(args.seed)

    with stage(2, "accelerator and logging"):
        strategy = build_strategy(StrategyConfig(**config["strategy"]), args)
        autocast, precision = build_autocast(args, strategy.device)

    with stage(3, "model resolution"):
        data: DataSource = instantiate("data", config["data"])
        module = instantiate("model", config["model"], labels=data.labels, tokenizer=data.tokenizer)
        prepare_module(module, args)

    with stage(4, "distributed strategy"):
        # All processes drew the same weights; what is dropped and augmented from here on must differ.
        seed_everything(args.seed + strategy.rank)

    with stage(5, "device placement"):
        module.to(strategy.device)
        if args.torch_compile:
            module.compile()
        model = strategy.wrap(module)

    with stage(6, "model introspection"):
        model_inputs = forward_names(module)
        loss = instantiate("loss", config["loss"], shift_labels=predicts_next_token(module))

    with stage(7, "data, loss, optimizer, scheduler"):
        splits = data.load(needed_splits(args))
        train_loader, eval_loaders, predict_loader = build_loaders(splits, args, strategy)
        total_steps = count_steps(args, train_loader)
        optimizer: Optimizer = instantiate("optim", config["optim"], params=parameter_groups(module))
        scheduler: LRScheduler = instantiate(
            "scheduler", config["scheduler"], optimizer=optimizer, num_training_steps=total_steps
        )
        metrics = build_metrics(config["metrics"], splits, data)

    with stage(8, "callbacks and trackers"):
        callbacks: dict[str, Callback] = instantiate_named("callbacks", config["callbacks"])
        trackers: dict[str, Tracker] = {}
        if strategy.is_main:
            trackers = {"jsonl": JsonLines(), **instantiate_named("tracker", config["tracker"])}

    with stage(9, "hub and output directory"):
        checkpoints = Checkpoints(run_dir, args.save_total_limit)
        if strategy.is_main:
            checkpoints.discard_unfinished()

    engine = Engine(
        args=args,
        run_dir=run_dir,
        strategy=strategy,
        autocast=autocast,
        module=module,
        model=model,
        model_inputs=model_inputs,
        labels=data.labels,
        tokenizer=data.tokenizer,
        loss=loss,
        optimizer=optimizer,
        scheduler=scheduler,
        total_steps=total_steps,
        train_loader=train_loader,
        eval_loaders=eval_loaders,
        predict_loader=predict_loader,
        metrics=metrics,
        scores=score_names(eval_loaders, metrics),
        checkpoints=checkpoints,
        callbacks=callbacks,
        trackers=trackers,
        summary=summarise(config, data, module, precision, strategy, total_steps),
    )

    with stage(10, "training state"):
        if resume_from is not None:
            restore(engine, resume_from)

    with stage(11, "finalise"):
        check_engine(engine)
        for tracker in trackers.values():
            tracker.start(run_dir, engine.state.step)
        # What was built lives as long as the run: the collector need not look at it again.
        gc.freeze()
    return engine


def run(engine: Engine) -> Row:
    """Carry out the stages that `args.stages` names; returns the final numbers by their logged names."""
    results: Row = {}
    try:
        for name in engine.args.stages:
            results |= RUN_STAGES[name](engine)
            if engine.state.interrupted:
                break
    finally:
        engine.notify("on_end")
        for tracker in engine.trackers.values():
            tracker.close()
    return results


def run_train(engine: Engine) -> Row:
    """Train, put the best model in place where that is asked for, and write the model that is kept."""
    start, first_step = time.perf_counter(), engine.state.step
    loop.train(engine)
    seconds = time.perf_counter() - start
    if engine.state.interrupted:
        return {}
    best = engine.state.best_step
    if engine.args.load_best_model_at_end and best not in (None, engine.state.step):
        storage.load(engine.module, engine.checkpoints.path(best))
        engine.evaluation = None
    if engine.strategy.is_main:
        directory = engine.run_dir / "model"
        directory.mkdir(exist_ok=True)
        storage.save(engine.module, engine.tokenizer, directory)
    updates = engine.state.step - first_step
    return {"train/seconds": seconds, "train/updates_per_second": updates / seconds if seconds else 0.0}


def run_eval(engine: Engine) -> Row:
    """The scores of the model that is kept; those of its last evaluation if it has not changed since."""
    return engine.evaluation or loop.evaluate(engine)


def run_predict(engine: Engine) -> Row:
    """Write predictions.jsonl."""
    predict(engine)
    return {}


RUN_STAGES: dict[str, Callable[[Engine], Row]] = {
    "train": run_train,
    "eval": run_eval,
    "predict": run_predict,
}


@contextlib.contextmanager
def stage(number: int, name: str) -> Iterator[None]:
    """Announce a stage of `build`; an error that leaves it carries its name."""
    log.debug("stage %d/11: %s", number, name)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        log.error("stage %d/11, %s, failed: %s", number, name, error)
        error.add_note(f"in stage {number} of 11, {name}")
        raise


def instantiate(where: str, node: Mapping[str, Any], **offered: Any) -> Any:
    """What the node's `_target_` makes of its keys, and of those offered values that it has parameters for.

    Raises UserError when the target refuses its values.
    """
    target = hydra.utils.get_object(node["_target_"])
    names = inspect.signature(target).parameters
    given = {name: value for name, value in offered.items() if name in names and name not in node}
    try:
        make = hydra.utils.instantiate({**node, "_partial_": True}, _convert_="all")
        return make(**given)
    except (InstantiationException, ValueError, TypeError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            raise UserError(f"{where} ({node['_target_']}) refuses its values: {cause}") from cause
        raise cause from None


def instantiate_named(where: str, nodes: Mapping[str, Any], **offered: Any) -> dict[str, Any]:
    """The parts of a group of named nodes, in order; a name that was set to null is left out."""
    return {
        name: instantiate(f"{where}.{name}", node, **offered)
        for name, node in nodes.items()
        if node is not None
    }


def check_targets(config: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Bind every node's keys to its target's real signature, before anything is built."""
    problems: list[Problem] = []
    for where, node in target_nodes(config):
        try:
            target = hydra.utils.get_object(node["_target_"])
        except Exception as error:  # whatever the import of a user's module raises
            problems.append(Problem(f"{where}._target_={node['_target_']} cannot be imported: {error}"))
            continue
        problems += bind(
            where,
            node,
            target,
            offered=OFFERED.get(where.split(".")[0], ()),
            plugins=config["plugins"],
            folders=folders,
        )
    if problems:
        raise UserError.many(problems)


def target_nodes(config: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_`, at any depth, with its dotted key."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield where, config
        for name, value in config.items():
            yield from target_nodes(value, f"{where}.{name}" if where else str(name))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from target_nodes(value, f"{where}.{index}")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build_strategy(config: StrategyConfig, args: Args) -> Strategy:
    """The strategy asked for, on this process's device; refuses what the launcher did not start."""
    rank = Rank.from_environment()
    if config.name == "single":
        if rank is not None and rank.world_size > 1:
            raise UserError(
                f"strategy=single, but a launcher started {rank.world_size} processes",
                right="add strategy=ddp",
            )
        return SingleProcess(pick_device(args.use_cpu))
    if rank is None:
        raise UserError("strategy=ddp needs a launcher's variables (RANK, WORLD_SIZE)")
    device = pick_device(args.use_cpu, rank.local_rank)
    return DistributedDataParallel(rank, device, config.num_processes, join())


def build_autocast(args: Args, device: torch.device) -> tuple[Callable[[], Any], str]:
    """The context that a forward pass runs in, and the name of its precision."""
    dtype = autocast_dtype(args.precision, device)
    if dtype is None:
        return contextlib.nullcontext, "fp32"
    return lambda: torch.autocast(device.type, dtype), "bf16"


def prepare_module(module: Any, args: Args) -> None:
    """What the arguments ask of the bare model."""
    if not isinstance(module, nn.Module):
        raise UserError(f"model._target_ gives a {type(module).__name__}, not a torch.nn.Module")
    if args.gradient_checkpointing:
        if not storage.is_transformers_model(module):
            raise UserError(
                "args.gradient_checkpointing=true needs a transformers model",
                right="args.gradient_checkpointing=false",
            )
        module.gradient_checkpointing_enable()  # type: ignore[operator]


def forward_names(module: nn.Module) -> frozenset[str] | None:
    """Names that the model's forward takes, and `labels` for the loss; None if it takes any name."""
    kinds = inspect.Parameter
    named = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    ]
    return frozenset([*named, "labels"]) if named else None


def predicts_next_token(module: nn.Module) -> bool:
    """Whether the model scores position t against label t+1."""
    return storage.is_transformers_model(module) and module.loss_type == "ForCausalLM"


def needed_splits(args: Args) -> set[str]:
    """The splits that the stages, and evaluation while training, will read."""
    needed: set[str] = set(args.stages)
    if "train" in needed and (args.eval_strategy != "no" or args.eval_on_start):
        needed.add("eval")
    return needed


def build_loaders(
    splits: Splits, args: Args, strategy: Strategy
) -> tuple[TrainLoader, dict[str, EvalLoader], EvalLoader | None]:
    """A loader of each split; training data is empty where no stage trains."""
    workers = Workers(args.dataloader_num_workers, args.dataloader_prefetch_factor)
    dataset: Any = splits.train if splits.train is not None else []
    if args.train_sampling_strategy == "group_by_length" and not isinstance(dataset, list | KnowsLengths):
        raise UserError(
            "args.train_sampling_strategy=group_by_length needs a dataset that knows its rows' lengths",
            right="give the dataset a `lengths` attribute, or args.train_sampling_strategy=random",
        )
    train_loader = TrainLoader(
        dataset=dataset,  # a list is a dataset of its items
        collate=splits.collate_fn,
        sampling=args.train_sampling_strategy,
        seed=args.seed,
        per_device=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        rank=strategy.rank,
        world_size=strategy.world_size,
        drop_last=args.dataloader_drop_last,
        workers=workers,
    )

    def eval_loader(dataset: Any, keep_order: bool = False) -> EvalLoader:
        return EvalLoader(
            dataset,
            splits.collate_fn,
            args.per_device_eval_batch_size,
            strategy.rank,
            strategy.world_size,
            workers,
            keep_order,
        )

    eval_loaders = {name: eval_loader(dataset) for name, dataset in splits.eval.items()}
    predict_loader = None if splits.predict is None else eval_loader(splits.predict, keep_order=True)
    return train_loader, eval_loaders, predict_loader


def count_steps(args: Args, loader: TrainLoader) -> int:
    """Updates of the whole run; raises UserError where there would be none."""
    per_epoch = loader.updates_per_epoch
    if "train" not in args.stages:
        return 0
    if per_epoch == 0 and loader.size:
        raise UserError(
            f"the {loader.size} training rows do not fill one batch of {loader.global_batch}, and"
            " args.dataloader_drop_last=true drops short ones",
            right="a smaller args.per_device_train_batch_size, or args.dataloader_drop_last=false",
        )
    if per_epoch == 0:
        raise UserError("the training split is empty")
    if args.max_steps > 0:
        return args.max_steps
    if per_epoch is None:
        raise UserError("the training data is a stream of unknown length", right="give args.max_steps")
    return math.ceil(args.num_train_epochs * per_epoch)


def build_metrics(config: Mapping[str, Any], splits: Splits, data: DataSource) -> dict[str, Metric]:
    """The metrics that the data is scored by, then those of the configuration; null takes one away."""
    built: dict[str, Metric] = {
        name: BY_NAME[name]() for name in splits.metrics if name not in config or config[name] is not None
    }
    return built | instantiate_named("metrics", config, labels=data.labels)


def score_names(eval_loaders: Mapping[str, EvalLoader], metrics: Mapping[str, Metric]) -> dict[str, bool]:
    """The names that an evaluation row will have, each with whether more of it is better."""
    names: dict[str, bool] = {}
    for name in eval_loaders:
        prefix = f"eval/{name}/" if name else "eval/"
        names[f"{prefix}loss"] = False
        names |= {prefix + metric: part.greater_is_better for metric, part in metrics.items()}
    return names


def summarise(
    config: Mapping[str, Any],
    data: DataSource,
    module: nn.Module,
    precision: str,
    strategy: Strategy,
    total_steps: int,
) -> dict[str, str]:
    """What a user should know before the first step."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    pretrained = config["model"].get("pretrained")
    args = config["args"]
    batch = args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] * strategy.world_size
    processes = f" × {strategy.world_size} processes" if strategy.world_size > 1 else ""
    optimizer = config["optim"]["_target_"].rpartition(".")[2]
    schedule = config["scheduler"]["_target_"].rpartition(".")[2]
    return {
        "data": data.description,
        "model": f"{type(module).__name__}, {short_number(parameters)} parameters"
        + (f", from {pretrained}" if pretrained else ""),
        "optim": f"{optimizer}, lr {config['optim'].get('lr')}, {schedule} schedule",
        "steps": f"{total_steps} of {batch} samples",
        "device": f"{strategy.device.type}{processes}, {precision}",
    }


def short_number(count: int) -> str:
    """A count in the unit that suits it."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def restore(engine: Engine, checkpoint: Path) -> None:
    """Put model, optimizer, schedule, position, callbacks and generators where the checkpoint has them."""
    storage.load(engine.module, checkpoint)
    training = contents.read(checkpoint, engine.optimizer, engine.scheduler)
    engine.state.load_state_dict(training.run)
    if engine.strategy.is_main:
        engine.state.window_loss = training.run["window_loss"]
    for name, part in engine.callbacks.items():
        if name in training.callbacks:
            part.load_state_dict(training.callbacks[name])
    if engine.strategy.rank < len(training.generators):
        contents.restore_generators(training.generators[engine.strategy.rank], engine.strategy.device)
    engine.summary["resumes"] = f"{checkpoint.name} of {checkpoint.parent}"


def check_engine(engine: Engine) -> None:
    """What only the ready parts can tell, before the first step."""
    args = engine.args
    wants_eval = "eval" in args.stages or ("train" in args.stages and args.eval_strategy != "no")
    if wants_eval and not engine.eval_loaders:
        raise UserError(
            "evaluation is asked for (args.stages, args.eval_strategy), but there is no evaluation data",
            right="args.stages=[train] args.eval_strategy=no trains without",
        )
    if "predict" in args.stages and engine.predict_loader is None:
        raise UserError(
            "args.stages has predict, but there is no data to predict", right="data.test_file=FILE"
        )
    if engine.scores:
        score_name(args.metric_for_best_model or "loss", engine.scores)
    if engine.tokenizer is not None and storage.is_transformers_model(engine.module):
        rows = engine.module.get_input_embeddings().num_embeddings  # type: ignore[operator]
        if len(engine.tokenizer) > rows:
            raise UserError(
                f"the tokenizer has {len(engine.tokenizer)} tokens, the model embeds {rows}",
                right="data.tokenizer must be the one that the model was made for",
            )
