"""`python -m benchmarks [NAME ...]`: all that NAMES has, or those that are named."""

from __future__ import annotations

import importlib
import sys

NAMES = ("startup", "overhead", "memory", "optimizers", "saving", "resume", "sweep", "throughput")


def main() -> None:
    """Print each figure beside the one that was asked for."""
    for name in sys.argv[1:] or NAMES:
        for figure in importlib.import_module(f"benchmarks.{name}").figures():
            print(figure.line(), flush=True)


main()
