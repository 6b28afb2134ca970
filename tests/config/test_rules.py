from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["args.load_best_model_at_end=true"], "args.load_best_model_at_end needs evaluations"),
        (["args.metric_for_best_model=accuracy"], "args.metric_for_best_model needs evaluations"),
        (["callbacks=early_stopping"], "callbacks.early_stopping needs evaluations"),
        (["scheduler=reduce_lr_on_plateau"], "scheduler._target_ needs evaluations"),
    ],
)
def test_what_needs_evaluations_says_so_when_there_are_none(
    project: Any, overrides: list[str], says: str
) -> None:
    compose(overrides)
    compose([*overrides, "args.eval_strategy=no", "args.stages=[eval]"])
    with pytest.raises(UserError) as error:
        compose([*overrides, "args.eval_strategy=no"])
    assert says in error.value.block()
    assert "command line: args.eval_strategy=no" in error.value.block()
    assert "args.eval_strategy=epoch or steps" in error.value.block()


@pytest.mark.parametrize(
    ("overrides", "right"),
    [
        (["args.stages=[]"], "args.stages=[train,eval]"),
        (["args.stages=[train,train]"], "names a stage twice"),
        (
            [
                "~scheduler.num_warmup_steps",
                "scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau",
            ],
            "scheduler=reduce_lr_on_plateau",
        ),
        (["strategy.num_processes=3"], "strategy=ddp strategy.num_processes=3"),
        (["args.dataloader_prefetch_factor=2"], "args.dataloader_num_workers=1"),
        (["args.dataloader_multiprocessing_context=fork"], "args.dataloader_num_workers=1"),
        (["args.on_nonfinite=rollback", "args.save_strategy=no"], "args.save_strategy=steps"),
        (["args.on_nonfinite=rollback", "args.save_only_model=true"], "args.save_only_model=false"),
        (["args.auto_find_batch_size=true", "strategy=ddp"], "strategy=single"),
        (["args.gradient_checkpointing_modules=layer"], "args.gradient_checkpointing=true"),
        (["args.torch_compile_mode=max-autotune"], "args.torch_compile=true"),
        (["args.save_strategy=best", "args.eval_strategy=no"], "args.eval_strategy=epoch or steps"),
        (["scheduler=reduce_lr_on_plateau", "args.eval_strategy=no"], "args.eval_strategy=epoch or steps"),
    ],
)
def test_contradictions_name_the_way_out(project: Any, overrides: list[str], right: str) -> None:
    with pytest.raises(UserError) as error:
        compose(overrides)
    assert right in error.value.block()


@pytest.mark.parametrize(
    ("override", "right"),
    [
        (
            "args.gradient_accumulation_steps=4",
            "args.gradient_accumulation_steps=1 args.per_device_train_batch_size=32",
        ),
        ("args.max_grad_norm=1.0", "args.max_grad_norm=0"),
        ("args.max_grad_value=0.5", "args.max_grad_value=null"),
        ("args.precision=fp16", "args.precision=bf16"),
        ("strategy=ddp", "strategy=single"),
        ("args.on_nonfinite=skip", "args.on_nonfinite=stop or rollback"),
        ("args.auto_find_batch_size=true", "args.auto_find_batch_size=false"),
    ],
)
def test_updates_in_the_backward_pass_exclude_what_needs_all_gradients(
    project: Any, override: str, right: str
) -> None:
    given = ["optim=lomo", "args.max_grad_norm=0"]
    with pytest.raises(UserError) as error:
        compose([*given, override])
    (problem,) = error.value.problems
    assert "works in the backward pass" in problem.what
    assert problem.right == right
    assert f"command line: {override}" in problem.where or override == "strategy=ddp"


@pytest.mark.parametrize("option", ["adalomo", "galore_adamw_layerwise", "apollo_adamw_layerwise"])
def test_so_do_all_of_their_kind_but_only_where_they_train(project: Any, option: str) -> None:
    compose([f"optim={option}", "args.max_grad_norm=0"])
    with pytest.raises(UserError, match="works in the backward pass"):
        compose([f"optim={option}"])
    compose([f"optim={option}", "args.stages=[eval]"])


def test_the_same_optimizer_not_layerwise_may_have_it_all(project: Any) -> None:
    compose(["optim=galore_adamw", "args.gradient_accumulation_steps=4", "args.precision=fp16"])
    with pytest.raises(UserError, match="max_grad_norm"):
        compose(["optim=galore_adamw", "optim.layerwise=true"])


@pytest.mark.parametrize(
    ("option", "overrides", "right"),
    [
        ("radam", [], "scheduler=constant"),
        ("sgd", ["scheduler=cosine"], "scheduler=constant"),
        ("adamw", ["scheduler=constant", "scheduler.num_warmup_steps=10"], "scheduler.num_warmup_steps=0"),
        ("adamw", ["scheduler=constant", "args.ema_decay=0.99"], "args.ema_decay=null"),
    ],
)
def test_schedule_free_optimizers_take_a_constant_rate_and_no_other_average(
    project: Any, option: str, overrides: list[str], right: str
) -> None:
    compose([f"optim=schedule_free_{option}", "scheduler=constant"])
    with pytest.raises(UserError) as error:
        compose([f"optim=schedule_free_{option}", *overrides])
    (problem,) = error.value.problems
    assert right in problem.right


@pytest.mark.parametrize("option", ["adamw_8bit", "paged_lion_8bit", "galore_adamw_8bit"])
def test_bitsandbytes_is_asked_for_before_anything_is_built(
    project: Any, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )
    with pytest.raises(UserError) as error:
        compose([f"optim={option}"])
    assert "pip install 'trainer-cli[optim]' adds it" in error.value.block()
