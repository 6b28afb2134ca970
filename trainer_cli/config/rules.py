"""Rules across keys: settings that are right alone and contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_cli.config.errors import Problem
from trainer_cli.config.sources import Sources

_EARLY_STOPPING = "trainer_cli.callbacks.EarlyStopping"


def contradictions(config: Mapping[str, Any], sources: Sources) -> Iterator[Problem]:
    """The problems of a configuration whose values are each of the right type."""
    yield from _evaluation(config, sources)
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
    if args["dataloader_prefetch_factor"] is not None and not args["dataloader_num_workers"]:
        yield Problem(
            "args.dataloader_prefetch_factor is set, but there are no workers to prefetch",
            sources.where("args.dataloader_prefetch_factor"),
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
    for name, node in config["callbacks"].items():
        if node is not None and node.get("_target_") == _EARLY_STOPPING:
            needing.append(f"callbacks.{name}")
    for key in needing:
        yield Problem(
            f"{key} needs evaluations, but args.eval_strategy is no",
            f"{sources.where(key)}; {sources.where('args.eval_strategy')}",
            "args.eval_strategy=epoch or steps",
        )
