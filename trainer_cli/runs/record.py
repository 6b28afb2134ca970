"""run.json: what a run is, how it came about, and how it stands."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli import durable
from trainer_cli.config.errors import UserError
from trainer_cli.config.secrets import veiled
from trainer_cli.runs.code import state_of_code

FILE = "run.json"
CONFIG = "config.yaml"
PACKAGES = (
    "trainer-cli",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "safetensors",
    "hydra-core",
    "omegaconf",
    "numpy",
    "scipy",
    "scikit-learn",
    "peft",
    "bitsandbytes",
    "torchao",
    "torch-optimi",
    "pytorch-optimizer",
    "schedulefree",
)
GONE = "its process ended without a word"
"""The cause where a run was killed, or its machine went down."""
SHAPES: dict[str, Any] = {
    **dict.fromkeys(("id", "created", "name", "identity", "started", "ended", "host", "pid_start"), str),
    **dict.fromkeys(("status", "error", "stopped", "resume_from", "parent", "rerun_of"), str),
    **dict.fromkeys(("pid", "step", "total_steps", "processes"), int),
    "choices": {str: str},
    "packages": {str: str},
    "best": {str: float},
    "results": {str: float},
    "summary": {str: object},
    "machine": {str: object},
    "argv": [str],
    "overrides": [str],
    "project": [str],
    "git": {"commit": str, "changes": str, "diff": str},
    "metric": {"name": str, "greater_is_better": bool},
    "sweep": {"name": str, "number": int, "values": {str: object}},
    "sessions": [{"at": str, "ended": str, "step": int, "commit": str, "changes": str, "argv": [str]}],
}
"""What is read of a run.json by others than the run itself: the type of each value, which may be missing."""

LARGEST = 2**63
"""Whole numbers beyond it are no steps, and no process."""

# What does not change a run's numbers is left out of its identity.
NOT_IDENTITY = (
    ("resume",),
    ("run",),
    ("sweep",),
    ("checkpoint",),
    ("tracker",),
    ("callbacks", "pruning"),
    ("args", "output_dir"),
    ("args", "log_level"),
    ("args", "log_level_replica"),
    ("args", "log_on_each_node"),
)


@dataclass
class Record:
    """A run's directory and the contents of its run.json."""

    run_dir: Path
    fields: dict[str, Any]

    @classmethod
    def create(cls, root: Path, name: str, fields: Mapping[str, Any]) -> Record:
        """Make the directory `root/name/<id>` of a new run and its first run.json."""
        record = cls.make(root, name, fields)
        record.start()
        return record

    @classmethod
    def make(cls, root: Path, name: str, fields: Mapping[str, Any]) -> Record:
        """Make the directory `root/name/<id>` of a new run, which is one when `start` has been called."""
        while True:
            run_dir = root / name / f"{now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            for folder in [root, *(root / above for above in [Path(name), *Path(name).parents])]:
                if (folder / FILE).exists():
                    raise cannot_be_made(
                        run_dir, f"{folder} is a run itself, in which no other is looked for"
                    )
            try:
                run_dir.mkdir(parents=True)
            except FileExistsError:
                if not run_dir.is_dir():
                    raise cannot_be_made(run_dir, "a file is in its way") from None
                continue  # of the same second, with the same digits
            except OSError as error:
                raise cannot_be_made(run_dir, str(error.strerror)) from error
            return cls.at(run_dir, {"name": name, **fields})

    @classmethod
    def at(cls, run_dir: Path, fields: Mapping[str, Any]) -> Record:
        """Of a new run in this directory; it may be there from a start that was cut off before it was one."""
        if run_dir.is_symlink():
            raise cannot_be_made(run_dir, f"a symbolic link to {os.readlink(run_dir)} is in its way")
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_be_made(run_dir, str(error.strerror)) from error
        # In UTC and to the microsecond, as runs are put in order by it.
        created = now().astimezone(datetime.UTC).isoformat()
        return cls(run_dir, {"id": run_dir.name, "status": "running", **fields, "created": created})

    @classmethod
    def load(cls, run_dir: Path) -> Record:
        """The record of an existing run; raises OSError or ValueError where there is none."""
        fields = durable.read_json(run_dir / FILE)
        if not isinstance(fields, dict) or None in (fields.get("id"), fields.get("created")):
            raise ValueError("it is no record of a run")
        refuse_misfits(fields, SHAPES)
        diff = (fields.get("git") or {}).get("diff")
        if diff is not None and Path(diff).name != diff:
            raise ValueError(f"its diff is {diff}, which is no file of it")
        return cls(run_dir, fields)

    def update(self, **fields: Any) -> None:
        """Set fields, on the disk as a whole or not at all."""
        self.fields |= fields
        durable.write(self.run_dir / FILE, json.dumps(self.fields, indent=1, allow_nan=True) + "\n")

    def start(self, **fields: Any) -> None:
        """This process now runs it, or has it run by processes that end with this one."""
        pid = os.getpid()
        process = {"pid": pid, "pid_start": start_of(pid), "host": platform.node()}
        times = {"started": now().isoformat(timespec="seconds"), "ended": None}
        self.update(status="running", error=None, **times, **process, **fields)

    def end(self, status: str, **fields: Any) -> None:
        """How the run ended: finished, pruned, preempted, failed or diverged."""
        self.update(status=status, ended=now().isoformat(timespec="seconds"), **fields)

    @property
    def status(self) -> str:
        """The status, less a claim to be running whose process is gone."""
        stated = str(self.fields.get("status"))
        return "failed" if stated == "running" and self.is_here and not self.lives else stated

    @property
    def error(self) -> str | None:
        """Why it failed, if it did, in its own words or, where it could say nothing, in these."""
        if self.fields.get("error"):
            return str(self.fields["error"]).removeprefix("error: ").strip()
        return GONE if self.fields.get("status") == "running" and self.status == "failed" else None

    @property
    def is_here(self) -> bool:
        """Whether this machine is the one that it was last run on."""
        return bool(self.fields.get("host", platform.node()) == platform.node())

    @property
    def lives(self) -> bool:
        """Whether its process is one of this machine's, and no later one of the same number."""
        pid, start = self.fields.get("pid"), self.fields.get("pid_start")
        if not self.is_here or pid is None or not is_alive(pid):
            return False
        return start is None or start == start_of(pid)


def refuse_misfits(fields: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Raise ValueError for a field that is not what its name says."""
    for name, shape in shapes.items():
        if not fits(fields.get(name), shape):
            text = json.dumps(fields[name])
            raise ValueError(f"its {name} is {text if len(text) <= 60 else text[:59] + '…'}")


def fits(value: Any, shape: Any) -> bool:
    """Whether a value is missing, or of the type, a list of such, or a mapping of (certain) names to such."""
    if value is None or shape is object:
        return True
    if isinstance(shape, list):
        return isinstance(value, list) and all(item is not None and fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return False
        if str in shape:
            return all(fits(item, shape[str]) for item in value.values())
        return all(fits(value.get(name), inner) for name, inner in shape.items())
    if isinstance(value, bool) or shape is bool:
        return isinstance(value, bool) and shape is bool
    if isinstance(value, int):
        return shape in (int, float) and abs(value) < LARGEST
    return isinstance(value, shape)


def cannot_be_made(run_dir: Path, why: str) -> UserError:
    """The error for a run whose directory cannot be."""
    return UserError(
        f"the run's directory {run_dir} cannot be made: {why}",
        right="args.output_dir=DIR names a directory that can be written",
    )


def is_alive(pid: int) -> bool:
    """Whether a process of this machine still runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except PermissionError:
        return True
    except OSError:
        return False


def start_of(pid: int) -> str | None:
    """What tells a process from a later one of the same number: the machine's boot, and its start in it.

    None where the system does not say (it is Linux that does).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return f"{boot} {stat.rpartition(')')[2].split()[19]}"
    except OSError:
        return None


def now() -> datetime.datetime:
    """The local time, with its zone."""
    return datetime.datetime.now().astimezone()


def identity(config: Mapping[str, Any]) -> str:
    """A hash of all that determines a run's numbers."""
    kept = json.loads(json.dumps(veiled(config)))
    for *path, last in NOT_IDENTITY:
        node = kept
        for key in path:
            node = node.get(key, {})
        node.pop(last, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def provenance() -> dict[str, Any]:
    """Code, what of it is not committed, packages and machine, as they are now."""
    git, diff = state_of_code()
    return {"git": git, "diff": diff, "packages": package_versions(), "machine": machine()}


def package_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on, where they are installed."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """Where it runs, its memory in bytes; no environment variable is read."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the machine's NVIDIA GPUs, as their driver has them."""
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names
