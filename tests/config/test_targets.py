from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config.signatures import Resolver
from trainer_cli.config.targets import is_trusted, refusal


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.AdamW",
        "torch.nn.Linear",
        "torch.utils.data.TensorDataset",
        "transformers.AutoModel.from_pretrained",
        "datasets.load_dataset",
        "peft.LoraConfig",
        "schedulefree.AdamWScheduleFree",
        "bitsandbytes.optim.PagedAdamW32bit",
        "torchao.optim.AdamW8bit",
        "optimi.StableAdamW",
        "pytorch_optimizer.Prodigy",
        "trainer_cli.loss.CrossEntropy",
        "parts.Net",
    ],
)
def test_known_prefixes_and_the_projects_own_modules_are_allowed(project: Any, target: str) -> None:
    assert refusal(target, [], Resolver([Path.cwd()])) == ""


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
        "torch.serialization.load",
        "torch.utils.cpp_extension.load",
        "torch.package.PackageImporter",
        "torch.export.load",
        "torch.ops.load_library",
        "torch._C.anything",
        "torchvision.models.resnet18",
        "torchao.quantization.quantize_",
        "bitsandbytes.functional.get_ptr",
        "optimism.Adam",
        "torch",
        "not a name",
        "",
    ],
)
def test_everything_else_is_refused(project: Any, target: str) -> None:
    assert refusal(target, [], Resolver([Path.cwd()]))


def test_plugins_widen_what_is_allowed_but_not_what_is_refused_by_name() -> None:
    resolver = Resolver()
    assert "plugins=[timm]" in refusal("timm.create_model", [], resolver)
    assert refusal("timm.create_model", ["timm"], resolver) == ""
    assert refusal("timmy.create_model", ["timm"], resolver)
    assert refusal("torch.hub.load", ["torch"], resolver)
    assert refusal("torch.hub.load", ["torch.hub"], resolver) == ""
    assert is_trusted("timm.models", ["timm"])
    assert not is_trusted("os", ["timm"])


def test_python_itself_is_not_the_projects_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal("os.system", [], Resolver([Path("/")]))
    assert refusal("pytest.main", [], Resolver([Path("/")]))
