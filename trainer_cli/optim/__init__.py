"""Which parameters an optimizer updates, and which of them decay."""

from trainer_cli.optim.groups import decayed, parameter_groups

__all__ = ["decayed", "parameter_groups"]
