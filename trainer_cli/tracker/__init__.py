"""Where a run's rows of numbers go."""

from trainer_cli.tracker.accelerate import ClearML, Comet, DVCLive, SwanLab
from trainer_cli.tracker.background import Background
from trainer_cli.tracker.base import Status, Tracker
from trainer_cli.tracker.jsonl import JsonLines
from trainer_cli.tracker.mlflow import MLflow
from trainer_cli.tracker.tensorboard import TensorBoard
from trainer_cli.tracker.trackio import Trackio
from trainer_cli.tracker.wandb import WandB

__all__ = [
    "Background",
    "ClearML",
    "Comet",
    "DVCLive",
    "JsonLines",
    "MLflow",
    "Status",
    "SwanLab",
    "TensorBoard",
    "Tracker",
    "Trackio",
    "WandB",
]
