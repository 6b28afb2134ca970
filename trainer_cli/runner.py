"""From a configuration to an engine in eleven stages, and from an engine to a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainer_cli import loop
from trainer_cli.callbacks import Callback
from trainer_cli.checkpoint import Checkpoints, verify
from trainer_cli.checkpoint.contents import starting_point
from trainer_cli.checkpoint.saver import Saver
from trainer_cli.checks import check_engine, check_inputs, check_module
from trainer_cli.config.errors import Diverged, RunFailed, UserError
from trainer_cli.config.instantiate import check_targets, has_parameter, instantiate, part, parts
from trainer_cli.config.schema import STRATEGIES, Args, Checkpoint
from trainer_cli.contracts import check_contracts, check_source
from trainer_cli.counts import START, in_updates
from trainer_cli.data.build import build_loaders, count_steps, needed_splits
from trainer_cli.data.loader import EvalLoader
from trainer_cli.data.source import DataSource, Splits
from trainer_cli.engine import Engine, Row, is_greater_better
from trainer_cli.metrics import BY_NAME, Metric
from trainer_cli.model import storage
from trainer_cli.model.compilation import compile_module
from trainer_cli.model.dropout import fast_dropout
from trainer_cli.model.head import pretrained_head
from trainer_cli.model.introspection import forward_names, predicts_next_token
from trainer_cli.model.neftune import embedding_noise
from trainer_cli.model.recompute import recompute_activations
from trainer_cli.model.tokens import fit
from trainer_cli.optim import Modal, check_fused, check_hyperparameters, parameter_groups
from trainer_cli.optim.averaging import Averaging, ExponentialAverage, OptimizerAveraging
from trainer_cli.predict import predict
from trainer_cli.rehearsal import rehearse
from trainer_cli.restore import restore
from trainer_cli.runs.journal import PRUNED
from trainer_cli.saving import small_files
from trainer_cli.seed import demand_determinism, seed_everything
from trainer_cli.strategy import build_strategy
from trainer_cli.strategy.device import autocast, has_spare_core, keep_freed_memory, loss_scaler, set_tf32
from trainer_cli.summary import summarise
from trainer_cli.tracker import Background, JsonLines, Status, Tracker
from trainer_cli.tracker.background import cause

log = logging.getLogger(__name__)


def build(
    config: Mapping[str, Any],
    run_dir: Path,
    resume_from: Path | None = None,
    folders: Sequence[Path] = (),
    choices: Mapping[str, str] | None = None,
) -> Engine:
    """The engine of a checked configuration, in an existing directory.

    `resume_from` is a checkpoint to go on from, `folders` hold the user's own modules, `choices` are the
    options that the configuration was composed of. An error that leaves a stage names it.
    """
    if isinstance(config, DictConfig):
        config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]

    with stage(1, "args and seed"):
        args = Args(**config["args"])
        check_targets(config, folders)
        check_contracts(config)
        seed_everything(args.seed)
        if args.full_determinism:
            demand_determinism()

    with stage(2, "accelerator and logging"):
        strategy = build_strategy(STRATEGIES[config["strategy"]["name"]](**config["strategy"]), args)
        if strategy.device.type == "cpu":
            keep_freed_memory()
        set_tf32(args.tf32)
        forward_context, precision = autocast(args.precision, strategy.device)
        scaler = loss_scaler(args.precision, strategy.device)

    with stage(3, "model resolution"):
        trains = "train" in args.stages
        data = build_data(config, resume_from, trains)
        check_source(config["data"]["_target_"], data)
        module = part(
            "model",
            config["model"],
            labels=data.labels,
            tokenizer=data.tokenizer,
            complete=not trains and resume_from is None,
        )
        check_module(module, trains)
        prepare_module(module, args)
        fit(module, data.tokenizer)

    with stage(4, "distributed strategy"):
        # All processes drew the same weights; what is dropped and augmented from here on must differ.
        seed_everything(args.seed + strategy.rank)

    with stage(5, "device placement"):
        module.to(strategy.device)
        if args.torch_compile:
            compile_module(module, args.torch_compile_backend, args.torch_compile_mode)
        model = strategy.wrap(module)

    with stage(6, "model introspection"):
        model_inputs = forward_names(module)
        loss = part("loss", config["loss"], shift_labels=predicts_next_token(module))

    with stage(7, "data, loss, optimizer, scheduler"):
        splits = data.load(needed_splits(args))
        check_inputs(module, loss, splits)
        train_loader, eval_loaders, predict_loader = build_loaders(
            splits, args, strategy.rank, strategy.world_size, strategy.device
        )
        start = None if resume_from is None else starting_point(resume_from)
        total_steps = count_steps(args, train_loader, START if start is None else start.at)
        args = with_steps(args, total_steps)
        metrics = build_metrics(config["metrics"], splits, data)
        scores = score_names(eval_loaders, metrics)
        optimizer = build_optimizer(config["optim"], module)
        schedule_steps = total_steps
        if start is not None and config["scheduler"].get("on_extend") == "hold":
            schedule_steps = min(start.planned, total_steps)
        scheduler: LRScheduler = part(
            "scheduler",
            config["scheduler"],
            optimizer=optimizer,
            num_training_steps=schedule_steps,
            mode="max" if scores and is_greater_better(args, scores) else "min",
        )
        averaging = build_averaging(module, optimizer, args.ema_decay)

    with stage(8, "callbacks and trackers"):
        callbacks: dict[str, Callback] = parts("callbacks", config["callbacks"])
        trackers: dict[str, Tracker] = {}
        if strategy.is_main:
            trackers = build_trackers(config["tracker"])

    with stage(9, "hub and output directory"):
        policy = Checkpoint(**config["checkpoint"])
        checkpoints = Checkpoints(run_dir, args.save_total_limit)
        saver = Saver(checkpoints, policy.async_save, policy.on_full, has_spare_core(strategy.device))
        if strategy.is_main:
            checkpoints.discard_unfinished()

    engine = Engine(
        args=args,
        run_dir=run_dir,
        strategy=strategy,
        autocast=forward_context,
        module=module,
        model=model,
        model_inputs=model_inputs,
        labels=data.labels,
        tokenizer=data.tokenizer,
        loss=loss,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=scaler,
        averaging=averaging,
        total_steps=total_steps,
        schedule_steps=schedule_steps,
        train_loader=train_loader,
        eval_loaders=eval_loaders,
        predict_loader=predict_loader,
        metrics=metrics,
        scores=scores,
        checkpoints=checkpoints,
        saver=saver,
        callbacks=callbacks,
        trackers=trackers,
        summary=summarise(config, choices or {}, data, module, precision, strategy, total_steps),
        fingerprint=splits.fingerprint,
        train_fingerprint=splits.train_fingerprint,
        eval_fingerprint=splits.eval_fingerprint,
    )

    with stage(10, "training state"):
        if resume_from is not None:
            restore(engine, resume_from, policy.allow)
            if strategy.is_main and "train" in args.stages:
                # The run may have ended between a commit and what follows it.
                checkpoints.rotate(engine.state.step, engine.state.best_step)

    with stage(11, "finalise"):
        check_engine(engine)
        rehearse(engine)
        for tracker in trackers.values():
            tracker.start(run_dir, engine.state.step, engine.state.rows)
        # What was built lives as long as the run: the collector need not look at it again.
        gc.freeze()
    return engine


def run(engine: Engine) -> Row:
    """Carry out the stages that `args.stages` names; returns the final numbers by their logged names.

    Once an update was made or a row logged, a UserError is raised as RunFailed: the run is kept.
    """
    results: Row = {}
    done_before = engine.state.step, engine.state.rows
    engine.notify("on_begin")
    if engine.state.step > 0:
        engine.notify("on_resume")
    on_cpu = engine.strategy.device.type == "cpu"
    status: Status = "failed"
    try:
        with fast_dropout() if on_cpu else contextlib.nullcontext():
            for name in engine.args.stages:
                results |= RUN_STAGES[name](engine)
                if engine.state.interrupted:
                    break
        status = status_of(engine)
    except BaseException as error:
        if isinstance(error, Diverged | KeyboardInterrupt):
            status = "diverged" if isinstance(error, Diverged) else "preempted"
        engine.notify("on_exception", error)
        engine.saver.close()
        if isinstance(error, UserError) and (engine.state.step, engine.state.rows) != done_before:
            raise RunFailed.late(error) from error
        raise
    finally:
        engine.notify("on_end")
        for tracker in engine.trackers.values():
            tracker.close(status)
    return results


def status_of(engine: Engine) -> Status:
    """How a run that met no error ended."""
    if engine.state.interrupted:
        return "preempted"
    return "pruned" if engine.state.stop == PRUNED else "finished"


def run_train(engine: Engine) -> Row:
    """Train, put the best model in place where that is asked for, and write the model that is kept."""
    start, first_step = time.perf_counter(), engine.state.step
    alpha = engine.args.neftune_noise_alpha
    with embedding_noise(engine.module, alpha) if alpha else contextlib.nullcontext(), training(engine):
        loop.train(engine)
    seconds = time.perf_counter() - start
    if engine.state.interrupted:
        return {}
    engine.keep_average()
    best = engine.state.best_step
    if engine.args.load_best_model_at_end and best not in (None, engine.state.step):
        engine.strategy.barrier()  # the main process has written it by then
        load_best(engine, engine.checkpoints.path(best))
        log.info("the best model that was kept is that of step %d", best)
        engine.evaluation = None
    elif engine.args.load_best_model_at_end and best is None:
        log.warning("no model that was scored is kept: model/ is that of the last step")
    if engine.strategy.is_main:
        size = small_files(engine) + storage.size(engine.module)
        engine.checkpoints.replace(
            "model", size, lambda directory: storage.publish(engine.module, engine.tokenizer, directory)
        )
    updates = engine.state.step - first_step
    return {"train/seconds": seconds, "train/updates_per_second": updates / seconds if seconds else 0.0}


def load_best(engine: Engine, checkpoint: Path) -> None:
    """Put the best model in place; raises RunFailed where its checkpoint was damaged since."""
    reason = verify(checkpoint)
    if reason is not None:
        raise RunFailed(
            f"the best model is in {checkpoint}, which is damaged: {reason}",
            right="resume=latest args.load_best_model_at_end=false ends with the last model",
        )
    storage.load(engine.module, checkpoint)


@contextlib.contextmanager
def training(engine: Engine) -> Iterator[None]:
    """While it lasts, a signal leads to a checkpoint; before and after there is nothing to save."""
    engine.training = True
    try:
        yield
    finally:
        engine.training = False


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
        log.debug("stage %d/11, %s, failed: %s", number, name, error)
        error.add_note(f"in stage {number} of 11, {name}")
        raise


def prepare_module(module: nn.Module, args: Args) -> None:
    """What the arguments ask of the bare model."""
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"no checkpoint can hold {name} of {type(module).__name__}, a {type(value).__name__}",
                right="get_extra_state may return a tensor, as torch.tensor([…]); or keep it in a buffer",
            )
    if args.gradient_checkpointing:
        recompute_activations(module, args.gradient_checkpointing_modules)


def build_data(config: Mapping[str, Any], resume_from: Path | None, trains: bool) -> DataSource:
    """The data, which is told the pretrained model's head; what is wrong with either is one report."""
    if not has_parameter(config["model"], "labels"):
        alone: DataSource = instantiate("data", config["data"], head=None)
        return alone
    try:
        head = pretrained_head(config["model"], resume_from, trains)
    except UserError as error:
        problems = list(error.problems)
        try:
            instantiate("data", config["data"], head=None)
        except UserError as more:
            problems += [problem for problem in more.problems if problem not in problems]
        raise UserError.many(problems) from error
    data: DataSource = instantiate("data", config["data"], head=head)
    return data


def build_optimizer(config: Mapping[str, Any], module: nn.Module) -> Optimizer:
    """The optimizer of the module's parameter groups."""
    # A module with nothing to train can still be evaluated; torch's optimizers take a group that is empty.
    groups = parameter_groups(module, config) or [{"name": "none", "params": []}]
    optimizer: Optimizer = part("optim", config, params=groups, module=module)
    check_hyperparameters(optimizer, config)
    check_fused(optimizer, module)
    return optimizer


def build_trackers(config: Mapping[str, Any]) -> dict[str, Tracker]:
    """metrics.jsonl and the configured trackers, each on a thread; one that cannot be made is left out.

    Raises UserError for what the user can put right, as a package that is not installed.
    """
    trackers: dict[str, Tracker] = {"jsonl": JsonLines()}
    for name, node in config.items():
        try:
            for made in parts("tracker", {name: node}).values():
                trackers[name] = Background(name, made)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            log.warning("tracker %s is left out; metrics.jsonl has its rows: %s", name, cause(error))
    return trackers


def build_averaging(module: nn.Module, optimizer: Optimizer, ema_decay: float | None) -> Averaging:
    """What stands for the weights that are kept."""
    if isinstance(optimizer, Modal):
        return OptimizerAveraging(module, optimizer)
    return Averaging() if ema_decay is None else ExponentialAverage(module, ema_decay)


def with_steps(args: Args, total_steps: int) -> Args:
    """The arguments with a count of steps wherever they have a share of all of them."""

    def steps(value: float) -> int:
        return max(1, in_updates(value, total_steps))

    logging_steps = steps(args.logging_steps)
    return dataclasses.replace(
        args,
        logging_steps=logging_steps,
        eval_steps=logging_steps if args.eval_steps is None else steps(args.eval_steps),
        save_steps=steps(args.save_steps),
    )


def build_metrics(config: Mapping[str, Any], splits: Splits, data: DataSource) -> dict[str, Metric]:
    """The metrics that the data is scored by, then those of the configuration; null takes one away."""
    built: dict[str, Metric] = {
        name: BY_NAME[name]() for name in splits.metrics if name not in config or config[name] is not None
    }
    return built | parts("metrics", config, labels=data.labels)


def score_names(eval_loaders: Mapping[str, EvalLoader], metrics: Mapping[str, Metric]) -> dict[str, bool]:
    """The names that an evaluation row will have, each with whether more of it is better."""
    names: dict[str, bool] = {}
    for name in eval_loaders:
        prefix = f"eval/{name}/" if name else "eval/"
        names[f"{prefix}loss"] = False
        names |= {prefix + metric: part.greater_is_better for metric, part in metrics.items()}
    return names
