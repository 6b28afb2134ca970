"""The models that a run can build, and how any module is saved and loaded."""

from trainer_cli.model.mlp import MLP
from trainer_cli.model.text import causal_lm, sequence_classification

__all__ = ["MLP", "causal_lm", "sequence_classification"]
