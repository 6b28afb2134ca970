"""Sweeps: the jobs of `-m`, where they run, and what they come to."""
