"""Text from elsewhere moves no cursor and turns no letters."""

from __future__ import annotations

import io
import unicodedata

import pytest

from trainer_cli.config.printable import in_a_line, printable, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ä, 日本, 👩\u200d🚀\n\tnext", "plain, ä, 日本, 👩\u200d🚀\n\tnext"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\rb\x08\x00\x7f", "a\\x0db\\x08\\x00\\x7f"),
        ("\x9b31m \x85", "\\x9b31m \\x85"),
        ("user\u202egpj.exe \u2066x\u2069\u200f\u061c", "usergpj.exe x"),
        (b"name-\xff".decode(errors="surrogateescape"), "name-\\xff"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown == printable(shown)


def test_no_control_character_is_left() -> None:
    every = "".join(map(chr, range(0x110000)))
    kinds = {unicodedata.category(character) for character in set(printable(every)) - set("\n\t")}
    assert not {"Cc", "Cs"} & kinds
    turning = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    assert not turning & set(map(unicodedata.bidirectional, printable(every)))


def test_a_line_stays_one() -> None:
    assert in_a_line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"


def test_what_is_said_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "sesame-open")
    file = io.StringIO()
    say("for sesame-open\x1b[31m", file)
    assert file.getvalue() == "for ***\\x1b[31m\n"
