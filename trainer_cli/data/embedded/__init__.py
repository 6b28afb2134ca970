"""The data that comes with the package (see NOTICE): tweets rated by people, and three plays."""

from __future__ import annotations

import gzip
from importlib.resources import files

TWEETS = "tweets.tsv.gz"
PLAYS = ("macbeth.txt.gz", "midsummer_nights_dream.txt.gz", "tempest.txt.gz")


def rated_tweets() -> tuple[list[str], list[float]]:
    """4,200 tweet-like texts, and of each the mean of about twenty ratings from -4 to 4."""
    rows = [line.split("\t") for line in _unpack(TWEETS).splitlines()]
    return [text for _, _, text in rows], [float(mean) for _, mean, _ in rows]


def plays() -> dict[str, str]:
    """Three of Shakespeare's plays by name, some 300,000 characters in all."""
    return {name.removesuffix(".txt.gz"): _unpack(name) for name in PLAYS}


def _unpack(name: str) -> str:
    return gzip.decompress(files(__package__).joinpath(name).read_bytes()).decode("utf-8")
