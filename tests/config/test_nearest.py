from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.config.nearest import did_you_mean, nearest, one_edit

WORDS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=12)


@pytest.mark.parametrize("word", ["l", "lrr", "rl", "lx", "xr"])
def test_one_edit_of_a_short_name_finds_it(word: str) -> None:
    assert nearest(word, ["lr", "weight_decay"]) == ["lr"]


@given(WORDS, st.data())
def test_one_edit_holds_both_ways(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word)))
    longer = word[:at] + "x" + word[at:]
    assert one_edit(word, longer)
    assert one_edit(longer, word)
    assert not one_edit(word, word)
    assert not one_edit(word, longer + "yz")


def test_the_question_names_all_or_is_not_asked() -> None:
    assert did_you_mean("sed", ["seed"], prefix="args.") == "did you mean args.seed?"
    assert did_you_mean("zzz", ["seed"]) == ""
