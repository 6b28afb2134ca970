"""What the hub holds, asked of a small hub on this machine: what it gives, refuses and does not answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

COMMIT = "0" * 40
FILES = {"train.csv": b"text\na\n", "sst2/train.csv": b"text\nb\n"}
REFUSALS = {"gated": (403, "GatedRepo"), "none": (404, "RepoNotFound"), "broken": (500, "")}

ASK = """
import json, sys
from trainer_cli.config.errors import UserError
from trainer_cli.hub import repository
from trainer_cli.hub.repository import cached, dataset_file, dataset_folder, model_file, reachable
answers = {}
for call in json.loads(sys.argv[1]):
    try:
        answers[call] = str(eval(call))
    except UserError as error:
        answers[call] = error.block()
print(json.dumps(answers))
"""


class Hub(BaseHTTPRequestHandler):
    """The repository o/n with two files; o/terms, which it tells of and does not give; those it refuses."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = re.match(r"(?:/api)?/(?:(?:datasets|models)/)?o/(\w+)", self.path)
        name = found[1] if found else "none"
        status, code, body, headers = 200, "", b"", {}
        if name in REFUSALS:
            status, code = REFUSALS[name]
        elif "/tree/" in self.path:
            files = [{"type": "file", "oid": "a" * 40, "size": 7, "path": path} for path in FILES]
            body = json.dumps(files).encode()
        elif self.path.startswith("/api/"):
            files = [{"rfilename": path} for path in FILES]
            body = json.dumps({"id": f"o/{name}", "sha": COMMIT, "siblings": files}).encode()
        elif name == "terms":
            status, code = REFUSALS["gated"]
        elif (path := self.path.split("/", 6)[-1]) in FILES:
            body, headers = FILES[path], {"ETag": f'"{path}"', "X-Repo-Commit": COMMIT}
        else:
            status, code = 404, "EntryNotFound"
        self.send_response(status)
        for header, value in {**headers, "X-Error-Code": code, "Content-Length": str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def ask(home: Path, calls: list[str], **settings: str) -> dict[str, str]:
    """What the calls answer, in a process of its own: the hub's settings are read once, at import."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **settings}
    command = [sys.executable, "-c", ASK, json.dumps(calls)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Retrying" not in done.stderr, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


FILE, FOLDER = "dataset_file('hf://datasets/o/n/train.csv')", "dataset_folder('o/n', 'sst2', 'this instead')"
CACHED = "cached('o/n', 'dataset', 'missing.csv', 'train.csv')"
NO_FILE = "is no file on the hub\n  hf://datasets/ORGANISATION/NAME/PATH"
ANSWERS = {
    CACHED: "None",
    "reachable('o/n', 'dataset')": "True",
    "reachable('o/n', 'model')": "True",
    "reachable('o/broken', 'model')": "False",
    "reachable('o/none', 'model')": (
        "error: the hub has no model o/none, or it is private\n"
        "  check the name; for a private one: hf auth login"
    ),
    "reachable('o/gated', 'model')": (
        "error: o/gated asks for its terms to be accepted first\n"
        "  accept them at https://huggingface.co/o/gated, then: hf auth login"
    ),
    "reachable('a/b/c', 'dataset')": (
        "error: a/b/c is neither a directory nor the name of a dataset on the hub\n"
        "  a hub id reads NAME or ORGANISATION/NAME"
    ),
    "model_file('o/n', 'train.csv')": "models--o--n/snapshots/" + COMMIT + "/train.csv",
    "model_file('o/n', 'config.json')": "None",
    "model_file('o/none', 'train.csv')": "the hub has no model o/none",
    "model_file('o/terms', 'train.csv')": "o/terms asks for its terms to be accepted first",
    "model_file('o/broken', 'train.csv')": "o/broken, train.csv: the hub cannot be reached",
    FILE: "snapshots/" + COMMIT + "/train.csv",
    FOLDER: "snapshots/" + COMMIT + "/sst2",
    "dataset_file('hf://datasets/o/n/tarin.csv')": "error: the dataset o/n on the hub has no file tarin.csv",
    "dataset_folder('o/n', 'cola', 'this instead')": (
        "error: the dataset o/n on the hub has no folder cola\n  this instead"
    ),
    "dataset_file('hf://datasets/o/none/a.csv')": "the hub has no dataset o/none",
    "dataset_file('hf://datasets/o/terms/train.csv')": (
        "error: o/terms asks for its terms to be accepted first\n"
        "  accept them at https://huggingface.co/datasets/o/terms, then: hf auth login"
    ),
    "dataset_folder('o/terms', 'sst2', '')": "o/terms asks for its terms to be accepted first",
    "dataset_file('hf://datasets/o/broken/a.csv')": "hf://datasets/o/broken/a.csv: the hub cannot be reached",
    **{
        f"dataset_file('{uri}')": f"error: {uri} {NO_FILE}"
        for uri in (
            "hf://models/o/n/a.csv",
            "hf://datasets/o/n",
            "hf://datasets/o/n/",
            "hf://datasets/o//a.csv",
            "hf://datasets/o/n/../../a.csv",
        )
    },
}
"""Calls in their order, and what is in the answer to each."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's cache."""
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def answers(home: Path) -> Iterator[dict[str, str]]:
    """What the hub on this machine was asked, each once."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    yield ask(home, list(ANSWERS), HF_HUB_OFFLINE="0", HF_ENDPOINT=endpoint)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("call", ANSWERS)
def test_what_the_hub_says_is_what_is_said(answers: dict[str, str], call: str) -> None:
    assert ANSWERS[call] in answers[call]


def test_it_is_asked_once_whether_it_has_a_repository(answers: dict[str, str]) -> None:
    for name in ("datasets/o/n", "models/o/n", "models/o/broken", "datasets/o/terms"):
        assert Hub.asked.count(f"/api/{name}") == 1
    assert not [path for path in Hub.asked if "a/b/c" in path or ".." in path]


def test_what_was_fetched_is_what_the_hub_has(answers: dict[str, str]) -> None:
    assert Path(answers[FILE]).read_bytes() == FILES["train.csv"]
    folder = Path(answers[FOLDER])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "train.csv": FILES["sst2/train.csv"]
    }


@pytest.mark.parametrize(
    "settings", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_without_the_hub_there_is_what_was_fetched(
    home: Path, answers: dict[str, str], settings: dict[str, str]
) -> None:
    others = {
        "dataset_file('hf://datasets/o/m/a.csv')": (
            "hf://datasets/o/m/a.csv",
            "a file on this machine does without the hub",
        ),
        "dataset_folder('o/m', 'sst2', 'this instead')": ("o/m, sst2", "this instead"),
        "dataset_folder('o/n', 'cola', 'this instead')": ("o/n, cola", "this instead"),
    }
    found = ask(home, ["reachable('o/n', 'dataset')", FILE, FOLDER, CACHED, *others], **settings)
    assert found["reachable('o/n', 'dataset')"] == "False"
    assert found[FILE] == answers[FILE] and found[FOLDER] == answers[FOLDER]
    assert found[CACHED] == str(Path(answers[FILE]).parent)
    why = " (HF_HUB_OFFLINE is set)" if settings["HF_HUB_OFFLINE"] == "1" else ""
    for call, (what, right) in others.items():
        assert found[call] == (
            f"error: {what}: the hub cannot be reached{why},"
            f" and its cache {home}/hub does not hold it\n  {right}"
        )
