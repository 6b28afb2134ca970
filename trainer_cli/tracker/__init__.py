"""Where a run's rows of numbers go."""

from trainer_cli.tracker.base import Tracker
from trainer_cli.tracker.jsonl import JsonLines

__all__ = ["JsonLines", "Tracker"]
