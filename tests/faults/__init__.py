"""Faults done to real runs: kills, damaged files, signals, full disks. `python -m tests.faults --help`."""
