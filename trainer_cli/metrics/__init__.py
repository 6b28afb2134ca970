"""What a model is scored by, each a stream of small sums that add up over batches and processes."""

from trainer_cli.metrics.base import Metric
from trainer_cli.metrics.classification import F1, Accuracy, MatthewsCorrelation
from trainer_cli.metrics.correlation import Pearson, Spearman
from trainer_cli.metrics.language_modeling import Perplexity

BY_NAME: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "matthews_correlation": MatthewsCorrelation,
    "pearson": Pearson,
    "spearman": Spearman,
    "perplexity": Perplexity,
}

__all__ = ["BY_NAME", "F1", "Accuracy", "MatthewsCorrelation", "Metric", "Pearson", "Perplexity", "Spearman"]
