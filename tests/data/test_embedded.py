"""The vendored data is what its notice says."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from trainer_cli.data import embedded


def test_every_file_is_its_source_unchanged_and_named_in_the_notice() -> None:
    folder = Path(embedded.__file__).parent
    notice = (folder / "NOTICE").read_text()
    files = sorted(folder.glob("*.gz"))
    assert [file.name for file in files] == sorted([embedded.TWEETS, *embedded.PLAYS])
    for file in files:
        assert file.name in notice
        assert hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() in notice
    assert sum(file.stat().st_size for file in files) <= 300 * 1024
    assert "Copyright (c) 2016 C.J. Hutto" in notice and "Permission is hereby granted" in notice


def test_what_is_in_them() -> None:
    texts, means = embedded.rated_tweets()
    assert len(texts) == len(means) == len(set(texts)) == 4200
    assert all(-4 <= mean <= 4 for mean in means)
    plays = embedded.plays()
    assert list(plays) == ["macbeth", "midsummer_nights_dream", "tempest"]
    assert not any("gutenberg" in text.lower() for text in plays.values())
