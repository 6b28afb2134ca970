"""Each option of the data group against the class that it names."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from trainer_cli.config.schema import OFFERED

OPTIONS = sorted((Path(__file__).parents[2] / "configs/data").glob("*.yaml"))


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_states_every_parameter_and_the_signature_no_default(path: Path) -> None:
    assert path.read_text().startswith("# ")
    option: Any = OmegaConf.load(path)
    module, name = option.pop("_target_").rsplit(".", 1)
    signature = inspect.signature(getattr(import_module(module), name)).parameters
    parameters = {name: parameter for name, parameter in signature.items() if name not in OFFERED["data"]}
    assert list(option) == list(parameters)
    assert all(parameter.default is parameter.empty for parameter in parameters.values())


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_the_tokenizer_follows_the_model(path: Path) -> None:
    option = OmegaConf.load(path)
    if "tokenizer" in option:
        config = OmegaConf.create({"model": {"pretrained": "a", "trust_remote_code": True}, "data": option})
        assert (config.data.tokenizer, config.data.trust_remote_code) == ("a", True)
        assert OmegaConf.create({"model": {}, "data": option}).data.tokenizer is None
