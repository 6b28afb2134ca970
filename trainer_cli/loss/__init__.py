"""What is minimised: a loss gives a sum over items and, before the forward, their count."""

from trainer_cli.loss.base import Loss, Outputs
from trainer_cli.loss.cross_entropy import CrossEntropy
from trainer_cli.loss.mean_squared_error import MeanSquaredError
from trainer_cli.loss.model import ModelLoss

__all__ = ["CrossEntropy", "Loss", "MeanSquaredError", "ModelLoss", "Outputs"]
