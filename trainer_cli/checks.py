"""What only the ready parts can tell, before the first step."""

from __future__ import annotations

from typing import Any

from trainer_cli.config.errors import UserError
from trainer_cli.data.loader import KnowsLengths
from trainer_cli.engine import Engine, score_name
from trainer_cli.model import storage


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
        check_fit(engine)


def check_fit(engine: Engine) -> None:
    """Whether the model has an embedding for every token and every position of the data."""
    module: Any = engine.module
    tokens = module.get_input_embeddings().num_embeddings
    if len(engine.tokenizer) > tokens:
        raise UserError(
            f"the tokenizer has {len(engine.tokenizer)} tokens, the model embeds {tokens}",
            right="data.tokenizer must be the one that the model was made for",
        )
    positions = module.config.to_dict().get("max_position_embeddings")
    datasets = [engine.train_loader.dataset, *(loader.dataset for loader in engine.eval_loaders.values())]
    longest = max(
        (length for dataset in datasets if isinstance(dataset, KnowsLengths) for length in dataset.lengths),
        default=0,
    )
    if positions is not None and longest > positions:
        raise UserError(
            f"the longest row has {longest} tokens, the model has {positions} positions",
            right=f"data.max_length={positions}",
        )
