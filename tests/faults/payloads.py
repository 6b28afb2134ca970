"""Configurations that try to run code, by each way in: none of it runs, and each is refused in a block."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from .bench import Bench, Fault, Part, Started, check, check_block, runs

Node = dict[str, Any]


class Unpickled:
    """What writes the file when it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.mark, "w")


def called(target: str, /, **keys: Any) -> Node:
    """The node of a target."""
    return {"_target_": target, **keys}


def given(target: str, /, *args: Any, **keys: Any) -> Node:
    """The node of a target that is given its arguments by position."""
    return {"_target_": target, "_args_": list(args), **keys}


def payloads(mark: str, folder: str) -> list[Node]:
    """Nodes of which each would make the file `mark`; in `folder` are the files that some of them need."""
    touch, code = f"touch {mark}", f"open({mark!r}, 'w')"
    shell = given("os.system", touch, _partial_=True)
    by_os = [
        given(name, touch)
        for name in (
            "os.system",
            "posix.system",
            "os.popen",
            "subprocess.getoutput",
            "torch.os.system",
            "torch.utils.data.dataloader.os.system",
            "torch.nn.modules.module.os.system",
            "torch.nn.functional.os.system",
            "torch.hub.os.system",
            "torch.utils.collect_env.run",
            "torch.utils.collect_env.subprocess.getoutput",
            "torch.utils.cpp_extension.subprocess.getoutput",
            "transformers.utils.hub.os.system",
            "transformers.trainer.os.system",
            "transformers.models.auto.auto_factory.os.system",
            "transformers.models.auto.configuration_auto.os.system",
            "datasets.load.os.system",
            "datasets.utils.file_utils.os.system",
            "peft.peft_model.os.system",
            "bitsandbytes.cextension.os.system",
            "bitsandbytes.optim.optimizer.os.system",
            "pytorch_optimizer.optimizer.os.system",
            "trainer_cli.durable.os.system",
            "trainer_cli.metrics.os.system",
            "points.os.system",
            "hydra.utils.os.system",
        )
    ]
    by_code = [
        given(name, code)
        for name in (
            "builtins.exec",
            "builtins.eval",
            "torch.utils.benchmark.utils.common.exec",
            "torch.fx.graph_module._exec_with_source",
            "torch._inductor.codecache.PyCodeCache.load",
            "numpy.testing.rundocs",
            "timeit.timeit",
            "code.InteractiveInterpreter.runsource",
        )
    ]
    by_file = [
        given("builtins.open", mark, "w"),
        given("io.open", mark, "w"),
        given("pathlib.Path.touch", called("pathlib.Path", _args_=[mark])),
        given("torch.from_file", mark, True, 4),
        given("torch.save", [1], mark),
        given("torch.serialization.save", [1], mark),
        given("trainer_cli.durable.write", called("pathlib.Path", _args_=[mark]), "x"),
        given("shutil.copy", f"{folder}/evil.py", mark),
        given("runpy.run_path", f"{folder}/evil.py"),
        given("pickle.load", given("builtins.open", f"{folder}/evil.pkl", "rb")),
        given("torch.load", f"{folder}/evil.pkl", weights_only=False),
        given("torch.hub.load", folder, "net", source="local"),
        given("torch.package.PackageImporter", f"{folder}/evil.pkl"),
        given("transformers.AutoModel.from_pretrained", folder, weights_only=False, use_safetensors=False),
        given("transformers.BertModel.from_pretrained", folder, weights_only=False),
        given("transformers.AutoModel.from_pretrained", f"{folder}/remote"),
        given("transformers.RagRetriever.from_pretrained", folder),
        given("transformers.dynamic_module_utils.get_class_from_dynamic_module", "evil.Net", folder),
        called("transformers.pipeline", task="text-classification", model=f"{folder}/remote"),
        called("datasets.load_dataset", path="pandas", data_files=f"{folder}/evil.pkl"),
        called("datasets.load_dataset", path=f"{folder}/evil.py"),
        called("datasets.load_dataset", path=f"{folder}/remote", trust_remote_code=True),
        called("datasets.Dataset.from_generator", generator=shell),
        given("yaml.unsafe_load", f"!!python/object/apply:os.system ['{touch}']"),
        given("logging.config.dictConfig", {"version": 1, "formatters": {"x": {"()": "os.system"}}}),
    ]
    by_others = [
        called("subprocess.run", args=["touch", mark]),
        called("subprocess.Popen", args=["touch", mark]),
        called("torch.utils.benchmark.Timer", stmt=code),
        called(
            "torch.utils.benchmark.Timer.timeit", **{"self": called("torch.utils.benchmark.Timer", stmt=code)}
        ),
        called("torch.multiprocessing.spawn", fn=shell, args=[]),
        called("torch.multiprocessing.Process", target=shell),
        called("torch.utils.cpp_extension.load_inline", name="x", cpp_sources=""),
        called("torch.distributed.launcher.api.elastic_launch", config=None, entrypoint=shell),
        called("torch.utils.data.DataLoader", dataset=[1], collate_fn=shell),
        called("trainer_cli.launch.run_alone", command=["-c", code]),
        called(
            "trainer_cli.config.instantiate.instantiate", where="x", node=called("os.system", command=touch)
        ),
        called("hydra.utils.instantiate", config=called("os.system", command=touch)),
        called("hydra.utils.call", config=called("os.system", command=touch), _recursive_=False),
        called("hydra.utils.get_method", path="os.system"),
        called("hydra._internal.utils._locate", path="os.system"),
        given("functools.partial", shell),
        given("functools.reduce", shell, [1, 2]),
        given("torch.nn.Sequential", shell),
        given(
            "torch.nn.Sequential", given("torch.nn.Sequential", given("torch.utils.collect_env.run", touch))
        ),
        called("torch.nn.Sequential.__init__.__globals__.get", key=shell),
        called("trainer_cli.metrics.Accuracy.__class__.__subclasses__"),
        called("evil.Net"),
        called("importlib.import_module", name="evil"),
        called(" os.system", command=touch),
    ]
    return [*by_os, *by_code, *by_file, *by_others]


def prepared(folder: Path, mark: Path) -> Path:
    """A folder of files that would make the mark if they were run or unpickled."""
    remote = folder / "remote"
    remote.mkdir(parents=True)
    source = f"open({str(mark)!r}, 'w')\nimport torch\nclass Net(torch.nn.Linear): pass\n"
    (folder / "evil.py").write_text(source)
    (folder / "hubconf.py").write_text(source)
    (remote / "evil.py").write_text(source)
    (remote / "remote.py").write_text(source)
    (folder / "evil.pkl").write_bytes(pickle.dumps(Unpickled(str(mark))))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Unpickled(str(mark))))
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 8, **small}))
    code = {"AutoConfig": "evil.Net", "AutoModel": "evil.Net"}
    (remote / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": code}))
    return folder


def at(place: str, node: Node) -> Node:
    """The configuration that has the node in its place."""
    if place == "model":
        return {"model": given("torch.nn.Sequential", node)}
    group, _, name = place.partition(".")
    return {group: {name: node}}


MAY_BE_NAMED = ("transformers.AutoModel.from_pretrained", "datasets.load_dataset")
"""Targets that load what is harmless: these are refused for what they are given, or by their packages."""

PLACES = ("metrics.z", "callbacks.z", "tracker.z", "model", "loss.function", "data.collate_fn")
WORDS = ("+recipe=steady", "loss=elementwise")


def merged(config: Any, more: Any) -> Any:
    """The configuration with another one on top; a node takes the place of what was there."""
    if isinstance(config, dict) and isinstance(more, dict) and "_target_" not in more:
        return {**config, **{name: merged(config.get(name), value) for name, value in more.items()}}
    return more


def literal(value: Any) -> str:
    """The value as Hydra's grammar has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{quoted}'"
    return json.dumps(value)


def on_command_line(bench: Bench, node: Node, place: str, folder: Path, *verb: str) -> Started:
    """As words of a command."""
    value = at(place, node)[place] if "." not in place else node
    return bench.start([*verb, *WORDS, f"++{place}={literal(value)}"], folder / "outputs")


def planned(bench: Bench, node: Node, place: str, folder: Path) -> Started:
    """As words of plan."""
    return on_command_line(bench, node, place, folder, "plan")


def in_recipe(bench: Bench, node: Node, place: str, folder: Path) -> Started:
    """In a recipe, with a tag that YAML would carry out."""
    (folder / "recipes").mkdir()
    text = yaml.safe_dump(at(place, node))
    (folder / "recipes" / "sent.yaml").write_text(f"# @package _global_\n{text}")
    words = ["--config-dir", str(folder), "recipe=[steady,sent]", *WORDS[1:]]
    return bench.start(words, folder / "outputs")


def received(bench: Bench, node: Node, place: str, folder: Path) -> Path:
    """A run that somebody sent: with plugins, and folders of modules, of its own."""
    run_dir = folder / "outputs" / "sent" / "run"
    shutil.copytree(bench.whole("+recipe=steady").run_dir, run_dir)
    config = merged(yaml.safe_load((run_dir / "config.yaml").read_text()), at(place, node))
    if place == "loss.function":
        config["loss"]["_target_"] = "trainer_cli.loss.Elementwise"
    own = [str(node["_target_"]).strip().partition(".")[0], "os", "subprocess", "builtins", "evil", "torch"]
    config["plugins"] = own
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
    record = json.loads((run_dir / "run.json").read_text())
    record |= {"project": [str(folder)], "overrides": [f"hydra.searchpath=[{folder}]"]}
    (run_dir / "run.json").write_text(json.dumps(record))
    return run_dir


def resumed(bench: Bench, node: Node, place: str, folder: Path) -> Started:
    """In the config.yaml of a run that is resumed."""
    run_dir = received(bench, node, place, folder)
    return bench.start([f"resume={run_dir}"], folder / "outputs")


def rerun(bench: Bench, node: Node, place: str, folder: Path) -> Started:
    """In the config.yaml of a run that is run again."""
    run_dir = received(bench, node, place, folder)
    return bench.start(["rerun", str(run_dir)], folder / "outputs")


def named(node: Any, text: str) -> bool:
    """Whether a text has the name of the node's target, or of one within it."""
    if isinstance(node, dict):
        target = str(node.get("_target_", "no target")).strip()
        return target in text or any(named(item, text) for item in node.values())
    return isinstance(node, list) and any(named(item, text) for item in node)


ROUTES = (on_command_line, planned, in_recipe, resumed, rerun)


def trial(bench: Bench, number: int, draw: Random) -> str:
    """One payload by one way in, at a place that is drawn."""
    folder = bench.new("sent")
    mark = folder / "mark"
    which, how = divmod(number, len(ROUTES))
    node = payloads(str(mark), str(prepared(folder / "files", mark)))[which]
    place, route = draw.choice(PLACES), ROUTES[how]
    told = f"{node['_target_']} at {place}, {route.__name__}"
    started = route(bench, node, place, folder)
    try:
        code = started.wait()
        check(not mark.exists(), f"it ran: {started.tail}")
        if node["_target_"] in MAY_BE_NAMED:
            check(code in (1, 2), f"exit code {code}: {started.tail}")
            return f"{told}: {code}"
        check(code == 2, f"exit code {code}: {started.tail}")
        check_block(started.err)
        # Keys of the recipe's own model are refused before it is seen what a well-spelled name stands for.
        spelled = place == "model" and "torch.nn.Sequential has no parameter" in started.err
        check(spelled or named(node, started.err), f"refused for something else: {started.tail}")
        check(len(runs(folder / "outputs")) == (how > 2), "a run was made")
    except Fault as fault:
        raise Fault(f"{told}: {fault}") from None
    return f"{told}: {started.err.strip().splitlines()[0]}"


PART = Part("payloads", len(payloads("", "")) * len(ROUTES), trial)
