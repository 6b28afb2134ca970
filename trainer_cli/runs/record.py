"""run.json: what a run is, how it came about, and how it stands."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError

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
)
# What does not change a run's numbers is left out of its identity.
NOT_IDENTITY = (("resume",), ("run",), ("sweep",), ("args", "output_dir"), ("args", "log_level"))


@dataclass
class Record:
    """A run's directory and the contents of its run.json."""

    run_dir: Path
    fields: dict[str, Any]

    @classmethod
    def create(cls, root: Path, name: str, fields: Mapping[str, Any]) -> Record:
        """Make the directory `root/name/<id>` of a new run and its first run.json."""
        run_id = f"{now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        run_dir = root / name / run_id
        try:
            run_dir.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"the run's directory {run_dir} cannot be made: {error.strerror}",
                right="args.output_dir=DIR names a directory that can be written",
            ) from error
        record = cls(run_dir, {"id": run_id, "name": name, "status": "running", **fields})
        # In UTC and to the microsecond, as runs are put in order by it.
        record.update(created=now().astimezone(datetime.UTC).isoformat())
        record.start()
        return record

    @classmethod
    def load(cls, run_dir: Path) -> Record:
        """The record of an existing run; raises OSError or ValueError where there is none."""
        fields = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
        if not isinstance(fields, dict) or not {"id", "created"} <= fields.keys():
            raise ValueError(f"{run_dir / FILE} is no record of a run")
        return cls(run_dir, fields)

    def update(self, **fields: Any) -> None:
        """Set fields, on the disk as a whole or not at all."""
        self.fields |= fields
        temporary = self.run_dir / f".{FILE}"
        temporary.write_text(json.dumps(self.fields, indent=1, allow_nan=True) + "\n", encoding="utf-8")
        os.replace(temporary, self.run_dir / FILE)

    def start(self) -> None:
        """This process now runs it."""
        self.update(status="running", pid=os.getpid(), host=platform.node(), error=None)

    def end(self, status: str, **fields: Any) -> None:
        """How the run ended: finished, preempted, failed or diverged."""
        self.update(status=status, ended=now().isoformat(timespec="seconds"), **fields)

    @property
    def status(self) -> str:
        """The status, less a claim to be running whose process is gone."""
        stated = str(self.fields.get("status"))
        if stated != "running" or self.fields.get("host", platform.node()) != platform.node():
            return stated
        pid = self.fields.get("pid")
        return stated if pid is None or is_alive(pid) else "failed"


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


def now() -> datetime.datetime:
    """The local time, with its zone."""
    return datetime.datetime.now().astimezone()


def identity(config: Mapping[str, Any]) -> str:
    """A hash of all that determines a run's numbers."""
    kept = json.loads(json.dumps(config))
    for *path, last in NOT_IDENTITY:
        node = kept
        for key in path:
            node = node.get(key, {})
        node.pop(last, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def provenance() -> dict[str, Any]:
    """Code, packages and machine, as they are now."""
    return {"git": git_state(), "packages": package_versions(), "machine": machine()}


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
    """Where it runs; no environment variable is read."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }


def git_state() -> dict[str, Any] | None:
    """Commit of the current folder's repository and whether files differ from it; None outside of one."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        if commit.returncode != 0:
            return None
        changes = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(changes.stdout.strip())}
