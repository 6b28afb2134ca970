"""`python -m tests.faults [PART ...] [--seed N] [--number N]`: faults done to real runs, and their ends."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import damage, full_disk, kills, payloads, planted, ranks, refusals, signals, starts, sweeps
from .bench import Bench, Result, carry_out_all, chosen

ALL = (
    *(kills.PART, damage.PART, signals.PART, full_disk.PART, refusals.PART, sweeps.PART),
    *(starts.PART, ranks.PART, payloads.PART, planted.PART),
)
PARTS = {part.name: part for part in ALL}
ALONE = "FAULTS_ALONE"
"""A variable that says that this process is root among its own already."""


def main() -> int:
    """Carry out the trials; the exit code says whether all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none: all")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="draws everything")
    parser.add_argument("--number", type=int, help="so many trials of each part, instead of all")
    parser.add_argument("--trial", type=int, help="this trial alone")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    asked = parser.parse_args()
    parts = [PARTS[name] for name in asked.parts or PARTS]
    if full_disk.PART in parts and (reason := full_disk.cannot_mount()):
        if ALONE not in os.environ and has_namespaces():
            again = ["unshare", "-rm", sys.executable, "-m", "tests.faults", *sys.argv[1:]]
            return subprocess.run(again, env={**os.environ, ALONE: "1"}).returncode
        parts.remove(full_disk.PART)
        print(f"full-disk is left out: {reason}")
    if refusals.PART in parts and (reason := refusals.cannot_refuse()):
        parts.remove(refusals.PART)
        print(f"refusals is left out: {reason}")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"--seed {asked.seed}", flush=True)
    results: list[Result] = []
    for part in parts:
        numbers = [asked.trial] if asked.trial is not None else chosen(asked.seed, part, asked.number)
        with Bench(folder / part.name) as bench:
            for result in carry_out_all(bench, part, asked.seed, numbers, asked.jobs):
                results.append(result)
                print(result.line, flush=True)
    print()
    for part in parts:
        of_part = [result for result in results if result.part == part.name]
        failed = sorted(result.number for result in of_part if result.failed)
        names = f": {', '.join(map(str, failed))}" if failed else ""
        print(f"{part.name:<10} {len(of_part):>4} trials, {len(failed)} faults{names}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes, --seed {asked.seed}")
    if any(result.failed for result in results):
        print(f"what they left is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def has_namespaces() -> bool:
    """Whether any user can be root among processes of his own."""
    return shutil.which("unshare") is not None and not subprocess.run(["unshare", "-rm", "true"]).returncode


if __name__ == "__main__":
    sys.exit(main())
