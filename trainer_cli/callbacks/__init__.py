"""Parts that watch a run; the only thing that they may change is `state.stop`."""

from trainer_cli.callbacks.base import Callback
from trainer_cli.callbacks.early_stopping import EarlyStopping
from trainer_cli.callbacks.learning_rates import LearningRates
from trainer_cli.callbacks.memory import Memory
from trainer_cli.callbacks.progress import Progress
from trainer_cli.callbacks.pruning import Pruning
from trainer_cli.callbacks.throughput import Throughput

__all__ = ["Callback", "EarlyStopping", "LearningRates", "Memory", "Progress", "Pruning", "Throughput"]
