from __future__ import annotations

from typing import Any

from trainer_cli.config import schema
from trainer_cli.config.compose import compose
from trainer_cli.config.hugging_face import HOMES, Home
from trainer_cli.config.show import show


def test_every_argument_has_a_home_or_a_reason() -> None:
    for name, home in HOMES.items():
        assert home.key or home.note, name
        assert home.key.partition(".")[0] in ("", *schema.ORDER), name


def test_names_that_stay_the_same_are_not_listed() -> None:
    assert not set(HOMES) & set(schema.kinds(schema.Args))


def test_homes_in_typed_sections_and_in_the_default_optimizer_exist(project: Any) -> None:
    composition = compose([])
    for home in HOMES.values():
        if home.key.startswith(("args.", "run.", "strategy.", "optim.", "scheduler.")):
            assert show(home.key, composition).key == home.key


def test_a_home_reads_as_a_sentence() -> None:
    assert str(Home("optim.lr")) == "it lives in optim.lr"
    assert str(Home("resume", "resume=latest")) == "it lives in resume: resume=latest"
    assert str(Home(note="there is none")) == "there is none"
