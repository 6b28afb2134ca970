"""Checkpoints: written whole or not at all, verified before use; nothing in them is code."""

from trainer_cli.checkpoint.store import Checkpoints, verify

__all__ = ["Checkpoints", "verify"]
