from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.signatures import Resolver
from trainer_cli.config.targets import absence, is_reachable, refusal, takes, unpickling


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("optim", "torch.optim.AdamW"),
        ("optim", "schedulefree.AdamWScheduleFree"),
        ("optim", "bitsandbytes.optim.PagedAdamW32bit"),
        ("optim", "torchao.optim.AdamW8bit"),
        ("optim", "optimi.StableAdamW"),
        ("optim", "pytorch_optimizer.Prodigy"),
        ("optim", "transformers.optimization.Adafactor"),
        ("optim", "trainer_cli.optim.galore_adamw"),
        ("scheduler", "torch.optim.lr_scheduler.StepLR"),
        ("scheduler", "transformers.get_cosine_schedule_with_warmup"),
        ("scheduler", "trainer_cli.scheduler.linear"),
        ("model", "torch.nn.Linear"),
        ("model", "transformers.AutoModelForSequenceClassification.from_pretrained"),
        ("model", "transformers.models.bert.modeling_bert.BertModel"),
        ("model", "trainer_cli.model.causal_lm"),
        ("loss", "trainer_cli.loss.CrossEntropy"),
        ("data", "trainer_cli.data.glue.Glue"),
        ("metrics", "trainer_cli.metrics.F1"),
        ("callbacks", "trainer_cli.callbacks.witness.Witness"),
        ("tracker", "trainer_cli.tracker.JsonLines"),
        ("", "torch.utils.data.TensorDataset"),
        ("", "torch.nn.functional.gelu"),
        ("", "torch.optim.SGD"),
        ("", "torch.tensor"),
        ("", "datasets.load_dataset"),
        ("", "datasets.Dataset.from_list"),
        ("", "transformers.AutoTokenizer.from_pretrained"),
        ("", "transformers.DataCollatorWithPadding"),
        ("", "peft.LoraConfig"),
        ("model", "parts.Net"),
        ("metrics", "parts._Private"),
        ("", "parts.function"),
    ],
)
def test_a_group_takes_what_is_of_its_kind_and_the_projects_own(
    project: Any, group: str, target: str
) -> None:
    assert refusal(target, [], Resolver([Path.cwd()]), group) == ""


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("metrics", "torch.utils.collect_env.run"),
        ("metrics", "torch.nn.Linear"),
        ("callbacks", "transformers.PrinterCallback"),
        ("tracker", "trainer_cli.callbacks.Memory"),
        ("model", "torch.optim.AdamW"),
        ("model", "datasets.load_dataset"),
        ("optim", "trainer_cli.optim.groups.parameter_groups._x"),
        ("scheduler", "transformers.pipeline"),
        ("data", "datasets.load_dataset"),
        ("", "os.system"),
        ("", "torch.hub.load"),
        ("", "torch.utils.benchmark.Timer"),
        ("", "torch.utils.data.datapipes.iter.FileOpener"),
        ("", "torch.from_file"),
        ("", "torch.jit.load"),
        ("", "torch._C.anything"),
        ("", "trainer_cli.launch.run_alone"),
        ("", "trainer_cli.durable.write"),
        ("", "hydra.utils.get_method"),
        ("", "datasets.Dataset.from_generator"),
        ("", "torchao.quantization.quantize_"),
        ("", "bitsandbytes.functional.get_ptr"),
        ("", "optimism.Adam"),
        ("", "torch"),
        ("", "not a name"),
        ("", "${x}"),
        ("", ""),
    ],
)
def test_everything_else_is_refused(project: Any, group: str, target: str) -> None:
    assert refusal(target, [], Resolver([Path.cwd()]), group)


def test_a_refusal_says_what_the_group_takes_and_who_takes_this() -> None:
    assert "optim takes torch.optim.AdamW" in refusal("torch.optim.AdamW", [], Resolver(), "model")
    lines = refusal("torch.utils.collect_env.run", [], Resolver(), "metrics").splitlines()
    assert lines[0] == (
        "metrics takes a trainer_cli.metrics.Metric of trainer_cli.metrics or of your own modules"
    )
    assert lines[-1].startswith("a class fed batch by batch")
    lines = refusal("torch.utils.collect_env.run", [], Resolver(), "optim").splitlines()
    assert lines[-1] == "plugins=[torch.utils.collect_env] allows torch.utils.collect_env as well"
    assert "data=python" in takes("data")


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("callbacks", "transformers.PrinterCallback"),
        ("tracker", "transformers.integrations.WandbCallback"),
        ("metrics", "torch.nn.Linear"),
        ("loss", "torch.nn.HuberLoss"),
        ("data", "datasets.load_dataset"),
    ],
)
def test_plugins_are_no_way_to_what_the_group_cannot_take(group: str, target: str) -> None:
    why = refusal(target, [], Resolver(), group)
    assert takes(group) in why and "plugins" not in why


def test_a_module_that_is_nowhere_is_said_to_be_so_with_the_way_to_it(empty: Any) -> None:
    resolver = Resolver([Path.cwd(), Path("/elsewhere")])
    absent = absence("digits.Net", resolver)
    assert absent is not None
    assert str(absent) == f"there is no module digits in {Path.cwd()} or /elsewhere, and none is installed"
    for part in ("--config-dir DIR", "digits.py", "cd DIR", "plugins=[digits]"):
        assert part in absent.hint
    assert refusal("digits.Net", [], resolver, "model") == f"{absent}\n{absent.hint}"


@pytest.mark.parametrize("target", ["parts.Net", "os.system", "yaml.load", "numpy.load", "peft.x", "x", ""])
def test_what_is_there_installed_or_no_name_is_not_absent(project: Any, target: str) -> None:
    assert absence(target, Resolver([Path.cwd()])) is None


@pytest.mark.parametrize("file", ["digits.py", "digits/__init__.py", "digits/nets.py"])
def test_a_module_above_or_right_below_todays_folders_is_found(empty: Any, file: str) -> None:
    def hint(here: str) -> str:
        absent = absence("digits.nets.Net", Resolver([empty.folder / here]))
        assert absent is not None
        return absent.hint

    empty.write(f"own/{file}", "class Net: ...\n")
    empty.write("own/runs/deep/x", "")
    start = f"one lies in {empty.folder / 'own'}; if it is yours: "
    assert hint(".") == hint("own/runs/deep") == f"{start}start from there: cd {empty.folder / 'own'}"
    empty.write("own/recipes/x.yaml", "")
    assert hint(".") == hint("own/runs/deep") == f"{start}--config-dir {empty.folder / 'own'}"


@pytest.mark.parametrize(
    ("target", "right"),
    [
        ("prts.Net", "parts.Net"),
        ("troch.nn.Linear", "torch.nn.Linear"),
        ("net.part.Net", "nets.part.Net"),
        ("nets.prt.Net", "nets.part.Net"),
    ],
)
def test_a_misspelt_module_is_told_its_name(project: Any, target: str, right: str) -> None:
    project.write("nets/part.py", "class Net: ...\n")
    absent = absence(target, Resolver([Path.cwd()]))
    assert absent is not None and absent.hint == f"did you mean {right}?"


def test_plugins_widen_what_is_allowed() -> None:
    resolver = Resolver()
    assert "plugins=[timm]" in refusal("timm.create_model", [], resolver)
    assert refusal("timm.create_model", ["timm"], resolver) == ""
    assert refusal("timmy.create_model", ["timm"], resolver)
    assert refusal("torch.hub.load", ["torch.hub"], resolver, "model") == ""
    assert is_reachable("timm.models", ["timm"], resolver)
    assert not is_reachable("os", ["timm"], resolver)


def test_python_itself_is_not_the_projects_own() -> None:
    assert refusal("os.system", [], Resolver([Path("/")]))
    assert refusal("pytest.main", [], Resolver([Path("/")]))


def test_what_unpickles_is_found_at_any_depth_but_that_of_another_node() -> None:
    node = {
        "weights_only": False,
        "config": {"allow_pickle": True, "inner": {"_target_": "a.b", "weights_only": False}},
        "use_safetensors": None,
    }
    found = [key for key, _ in unpickling("transformers.AutoModel.from_pretrained", node)]
    assert found == ["weights_only", "config.allow_pickle"]
    assert not list(unpickling("datasets.load_dataset", {"path": "csv", "weights_only": True}))
