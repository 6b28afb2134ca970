"""Runs as directories: their record, how one is found again, and how they are listed; imports no torch."""
