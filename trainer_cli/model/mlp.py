"""A multilayer perceptron, for tabular data and for tests of everything else."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them: features (batch, in_features) to logits (batch, out_features).

    Args:
        in_features: Width of the input.
        hidden_features: Width of each hidden layer.
        out_features: Width of the logits: the number of classes, or of regression outputs.
        dropout: Share of each hidden layer's outputs that is dropped in training.
    """

    def __init__(
        self, in_features: int, hidden_features: Sequence[int], out_features: int, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_features
        for hidden in hidden_features:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, out_features))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """The logits, for `loss=cross_entropy` or `loss=mse`."""
        return {"logits": self.layers(features)}
