"""The data that a run can train on, and the contract that any other data fulfils."""

from trainer_cli.data.source import Collate, DataSource, Head, Labels, Splits

__all__ = ["Collate", "DataSource", "Head", "Labels", "Splits"]
