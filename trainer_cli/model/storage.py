"""A module as files: as `from_pretrained` loads it where transformers or PEFT has one, else its weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer_cli.checkpoint.snapshot import dense, shared
from trainer_cli.config.errors import UserError
from trainer_cli.model.kinds import base_model, is_peft_model, is_transformers_model

WEIGHTS = "model.safetensors"
SHARDS = f"{WEIGHTS}.index.json"
ADAPTER = "adapter_model.safetensors"


def save(module: Any, tokenizer: Any, directory: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write weights as `read` finds them, and the config and tokenizer where there are any.

    `weights` stand for those that the module keeps where they are given, dense and on the CPU.
    """
    write(module, tokenizer, directory, kept(module) if weights is None else weights, published=False)


def publish(module: Any, tokenizer: Any, directory: Path) -> None:
    """Write the model for others: with its weights under the names that its publishers gave them.

    Of some architectures, as of most mixtures of experts, these are not the module's own.
    """
    write(module, tokenizer, directory, kept(module), published=True)


def write(
    module: Any, tokenizer: Any, directory: Path, weights: Mapping[str, Tensor], published: bool
) -> None:
    """Write the module's files and the tokenizer's."""
    if is_peft_model(module):
        module.save_pretrained(directory, state_dict=dict(weights), save_embedding_layers=False)
    elif is_transformers_model(module):
        quiet()
        module.save_pretrained(directory, state_dict=dict(weights), save_original_format=published)
    else:
        save_weights(weights, directory / WEIGHTS)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


def quiet() -> None:
    """Have transformers draw no bar for the files that it writes."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def save_weights(weights: Mapping[str, Tensor], file: Path) -> None:
    """Write weights alone; what shares its memory is written once."""
    firsts = dict.fromkeys(shared(weights).values())
    save_file(dense({name: weights[name] for name in firsts}), str(file))


def kept(module: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint keeps of the module's state: all of it, or the adapter of a model that PEFT wraps."""
    state = module.state_dict()
    if is_peft_model(module):
        return {name: state[name] for name in adapter_names(module, state).values()}
    return state


def size(module: nn.Module) -> int:
    """Bytes of what a checkpoint keeps of the module; what shares its memory counts once."""
    state = kept(module)
    return sum(state[name].nbytes for name in set(shared(state).values()))


def adapter_names(module: Any, state: Mapping[str, Tensor]) -> dict[str, str]:
    """The names in an adapter's file, each with the name that its tensor has in the module's state.

    Raises KeyError for an adapter whose file holds what is made for it alone, as a prompt's does.
    """
    from peft import get_peft_model_state_dict

    own = {id(tensor): name for name, tensor in state.items()}
    stored = get_peft_model_state_dict(module, state_dict=dict(state), save_embedding_layers=False)
    return {name: own[id(tensor)] for name, tensor in stored.items()}


def check_savable(module: Any) -> None:
    """Raise UserError for a model that could be saved only as files that nothing loads."""
    if is_peft_model(module):
        check_adapter(module)
        return
    peft = sys.modules.get("peft")
    tuner = peft and peft.tuners.tuners_utils.BaseTunerLayer
    if tuner and any(isinstance(part, tuner) for part in module.modules()):
        raise UserError(
            f"{type(module).__name__} has an adapter inside, and only one that wraps it can be saved",
            right="peft.get_peft_model(model, config) in place of add_adapter or inject_adapter_in_model",
        )
    if is_transformers_model(module):
        from transformers.modeling_utils import remove_tied_weights_from_state_dict

        try:
            remove_tied_weights_from_state_dict(module.state_dict(), module)
        except RuntimeError as error:
            raise UserError(
                f"transformers cannot save {type(module).__name__}: {str(error).splitlines()[0]}",
                right="_tied_weights_keys of the model's class names the weights that share their memory",
            ) from error


def check_adapter(module: Any) -> None:
    """Raise UserError where an adapter's files would not hold what is trained, or not name its base."""
    adapters = list(module.peft_config)
    if adapters != ["default"]:
        raise UserError(
            f"model has the adapters {', '.join(adapters)}, and a run trains and saves one",
            right="one adapter of the name that get_peft_model gives it, default",
        )
    config = module.peft_config["default"]
    if config.is_prompt_learning:
        raise UserError(
            f"model has a learned prompt ({config.peft_type.value}), which no checkpoint can hold yet",
            right="an adapter of weights, such as peft.LoraConfig",
        )
    base = base_model(module)
    if not config.base_model_name_or_path:
        raise UserError(
            f"the {type(base).__name__} inside PEFT was not loaded from anywhere, and an adapter's file does"
            " not hold its weights: nothing could load what is saved",
            right="base.save_pretrained(DIR) once, and from_pretrained(DIR) where the model is made",
        )
    kept = set(adapter_names(module, module.state_dict()).values())
    lost = [name for name, part in module.named_parameters() if part.requires_grad and name not in kept]
    if lost:
        shown = ", ".join(lost[:3]) + (", …" if lost[3:] else "")
        raise UserError(
            f"{shown}: trained, and an adapter's file does not hold it",
            right="modules_to_save=[…] in the adapter's config, or requires_grad_(False)",
        )
    if is_transformers_model(base) and not keeps_embeddings(base):
        stored = stored_vocabulary(base)
        if stored not in (None, base.config.vocab_size):
            raise UserError(
                f"the model has {base.config.vocab_size} tokens, its base {stored}:"
                " an adapter's file does not hold the new embeddings",
                right="modules_to_save=[…] with both embeddings; or save the resized base, and load that",
            )


def keeps_embeddings(base: Any) -> bool:
    """Whether the adapter has embeddings of its own, of the tokens that go in and that come out."""
    from peft.utils import ModulesToSaveWrapper

    parts = (base.get_input_embeddings(), base.get_output_embeddings())
    return all(part is None or isinstance(part, ModulesToSaveWrapper) for part in parts)


def stored_vocabulary(base: Any) -> int | None:
    """The tokens of the model that a base was loaded from; None where its directory is not here to say."""
    file = Path(base.name_or_path) / "config.json"
    return json.loads(file.read_text(encoding="utf-8")).get("vocab_size") if file.is_file() else None


def load(module: Any, directory: Path) -> None:
    """Put the weights that `save` wrote into the module; raises RuntimeError when they do not fit."""
    weights = read(module, directory)
    if wrong := misfits(module, weights):
        raise RuntimeError(f"{directory}: {wrong[0]}")
    put(module, weights)


def read(module: Any, directory: Path) -> dict[str, Tensor]:
    """The weights that `save` wrote for such a module, as they are there, under its own names."""
    if is_peft_model(module):
        own = adapter_names(module, module.state_dict())
        return {own.get(name, name): weight for name, weight in read_weights(directory / ADAPTER).items()}
    weights: dict[str, Tensor] = {}
    for file in weight_files(directory):
        weights |= read_weights(file)
    if is_transformers_model(module):
        # Constants, as Marian's sinusoids are, which the library does not write.
        unwritten = module._keys_to_ignore_on_save or ()
        weights = {
            name: weight for name, weight in module.state_dict().items() if name in unwritten
        } | weights
    return weights


def weight_files(directory: Path) -> list[Path]:
    """The file of a model's weights, or the several that transformers writes of a large one."""
    if not (directory / SHARDS).is_file():
        return [directory / WEIGHTS]
    names = json.loads((directory / SHARDS).read_text(encoding="utf-8"))["weight_map"].values()
    return [directory / Path(name).name for name in dict.fromkeys(names)]


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights that `save_weights` wrote."""
    return load_file(str(file))


def misfits(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In what the weights are not such a module's, in words, a line a name."""
    own = kept(module)
    there = {first for name, first in shared(own).items() if name in weights}
    wrong = []
    for name, first in shared(own).items():
        if name in weights and weights[name].shape != own[name].shape:
            wrong.append(f"{name} is {shape(weights[name])} there and {shape(own[name])} here")
        elif first not in there:
            wrong.append(f"{name} is not there")
    return wrong + [f"{name} is not here" for name in weights if name not in own]


def put(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put those of the weights that fit into the module."""
    own = module.state_dict()
    fitting = {
        name: weight for name, weight in weights.items() if name in own and weight.shape == own[name].shape
    }
    module.load_state_dict(fitting, strict=False)


def shape(tensor: Tensor) -> str:
    """A tensor's dimensions, as people write them."""
    return " × ".join(map(str, tensor.shape)) or "a number"
