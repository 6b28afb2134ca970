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

from trainer_cli import durable
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
NOT_IDENTITY = (
    ("resume",),
    ("run",),
    ("sweep",),
    ("checkpoint",),
    ("args", "output_dir"),
    ("args", "log_level"),
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
        run_id = f"{now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        run_dir = root / name / run_id
        try:
            run_dir.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"the run's directory {run_dir} cannot be made: {error.strerror}",
                right="args.output_dir=DIR names a directory that can be written",
            ) from error
        # In UTC and to the microsecond, as runs are put in order by it.
        created = now().astimezone(datetime.UTC).isoformat()
        return cls(run_dir, {"id": run_id, "name": name, "status": "running", **fields, "created": created})

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
        durable.write(self.run_dir / FILE, json.dumps(self.fields, indent=1, allow_nan=True) + "\n")

    def start(self, **fields: Any) -> None:
        """This process now runs it, or has it run by processes that end with this one."""
        pid = os.getpid()
        process = {"pid": pid, "pid_start": start_of(pid), "host": platform.node()}
        self.update(status="running", error=None, **process, **fields)

    def end(self, status: str, **fields: Any) -> None:
        """How the run ended: finished, preempted, failed or diverged."""
        self.update(status=status, ended=now().isoformat(timespec="seconds"), **fields)

    @property
    def status(self) -> str:
        """The status, less a claim to be running whose process is gone."""
        stated = str(self.fields.get("status"))
        return "failed" if stated == "running" and self.is_here and not self.lives else stated

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
    """Commit of the current folder's repository, and what its Python files differ by; None outside of one.

    `dirty` says whether tracked files were edited or Python files are untracked, `changes` is their digest.
    """
    try:
        commit = git("rev-parse", "HEAD")
        edits = git("diff", "HEAD", "--no-ext-diff", "--no-color", "--full-index")
        untracked = git("ls-files", "--others", "--exclude-standard", "--", "*.py")
    except (OSError, subprocess.SubprocessError):
        return None
    changes = edits + untracked
    digest = hashlib.sha256(changes).hexdigest()[:8] if changes else None
    return {"commit": commit.decode().strip(), "dirty": bool(changes), "changes": digest}


def git(*words: str) -> bytes:
    """What git prints; raises SubprocessError where it fails."""
    return subprocess.run(["git", *words], capture_output=True, timeout=10, check=True).stdout
