"""What a model is scored by, each a stream of small sums that add up over batches and processes."""

from trainer_cli.metrics.base import Metric
from trainer_cli.metrics.classification import (
    F1,
    Accuracy,
    BalancedAccuracy,
    CohenKappa,
    MatthewsCorrelation,
    Precision,
    Recall,
)
from trainer_cli.metrics.correlation import Pearson, Spearman
from trainer_cli.metrics.language_modeling import Perplexity
from trainer_cli.metrics.ranking import AveragePrecision, RocAuc, TopKAccuracy
from trainer_cli.metrics.regression import R2, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError

BY_NAME: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "average_precision": AveragePrecision,
    "balanced_accuracy": BalancedAccuracy,
    "cohen_kappa": CohenKappa,
    "f1": F1,
    "matthews_correlation": MatthewsCorrelation,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "pearson": Pearson,
    "perplexity": Perplexity,
    "precision": Precision,
    "r2": R2,
    "recall": Recall,
    "roc_auc": RocAuc,
    "root_mean_squared_error": RootMeanSquaredError,
    "spearman": Spearman,
    "top_k_accuracy": TopKAccuracy,
}

__all__ = [
    "BY_NAME",
    "F1",
    "R2",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "CohenKappa",
    "MatthewsCorrelation",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Pearson",
    "Perplexity",
    "Precision",
    "Recall",
    "RocAuc",
    "RootMeanSquaredError",
    "Spearman",
    "TopKAccuracy",
]
