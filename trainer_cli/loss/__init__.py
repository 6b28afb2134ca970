"""What is minimised: a loss gives a sum over items and, before the forward, their count."""

from trainer_cli.loss.base import Loss, Outputs, named_losses
from trainer_cli.loss.cross_entropy import CrossEntropy
from trainer_cli.loss.elementwise import Elementwise
from trainer_cli.loss.mean_squared_error import MeanSquaredError
from trainer_cli.loss.model import ModelLoss

__all__ = ["CrossEntropy", "Elementwise", "Loss", "MeanSquaredError", "ModelLoss", "Outputs", "named_losses"]
