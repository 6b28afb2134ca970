"""Parts that watch a run; the only thing that they may change is `state.stop`."""

from trainer_cli.callbacks.base import Callback
from trainer_cli.callbacks.early_stopping import EarlyStopping
from trainer_cli.callbacks.progress import Progress

__all__ = ["Callback", "EarlyStopping", "Progress"]
