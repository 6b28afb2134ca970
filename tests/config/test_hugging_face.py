from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer_cli.config import schema
from trainer_cli.config.compose import compose
from trainer_cli.config.errors import UserError
from trainer_cli.config.hugging_face import (
    ARGUMENTS,
    FIELDS,
    HOMES,
    KEPT,
    OLD,
    OPTIMIZERS,
    SCHEDULERS,
    SCRIPTS,
    Argument,
    Home,
)
from trainer_cli.config.show import options, show

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hugging_face.md"


def test_every_argument_has_a_home_or_a_reason() -> None:
    for name, home in HOMES.items():
        assert home.key or home.note, name
        assert home.key.partition(".")[0] in ("", *schema.ORDER), name


def test_names_that_stay_the_same_are_pointed_to_by_nothing_else() -> None:
    assert not set(HOMES) & set(schema.kinds(schema.Args))
    assert not any(ARGUMENTS[name].key for name in KEPT)


@pytest.mark.slow
def test_the_table_has_exactly_the_fields_of_transformers_with_their_defaults() -> None:
    import dataclasses

    from transformers import Seq2SeqTrainingArguments, TrainingArguments

    fields = dataclasses.fields(Seq2SeqTrainingArguments)
    assert {field.name for field in fields} == ARGUMENTS.keys()
    assert len(dataclasses.fields(TrainingArguments)) == 114
    for field in fields:
        assert ARGUMENTS[field.name].default == (
            field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
        )
        assert field.name not in OLD and field.name not in SCRIPTS


@pytest.mark.slow
def test_every_optimizer_and_schedule_of_transformers_is_an_option_or_in_the_table() -> None:
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    for group, names, table in (
        ("optim", OptimizerNames, OPTIMIZERS),
        ("scheduler", SchedulerType, SCHEDULERS),
    ):
        known = {option.name for option in options(group)}
        values = {str(name.value) for name in names}
        assert values <= known | table.keys()
        assert not known & table.keys() and table.keys() <= values
        assert {home.key for home in table.values()} <= known | {""}


def test_homes_in_typed_sections_and_in_the_default_optimizer_exist(project: Any) -> None:
    composition = compose(["strategy=ddp", "loss=cross_entropy", "callbacks=early_stopping"])
    elsewhere = ("optim.target_modules", "callbacks.memory", "callbacks.throughput")
    for home in HOMES.values():
        if home.key.startswith(("args.", "run.", "strategy.", "optim.", "scheduler.", "loss.", "callbacks.")):
            assert home.key in elsewhere or show(home.key, composition).key == home.key
    assert show("optim.target_modules", compose(["optim=galore_adamw"])).value


def test_what_a_note_says_to_write_composes(project: Any) -> None:
    for target in ("throughput", "memory"):
        note = next(home.note for home in HOMES.values() if home.key == f"callbacks.{target}")
        override = next(word for word in note.split() if word.startswith("callbacks."))
        assert compose([override]).config["callbacks"][target]


def test_a_home_reads_as_a_sentence() -> None:
    assert str(Home("optim.lr")) == "it lives in optim.lr"
    assert str(Home("resume", "resume=latest")) == "it lives in resume: resume=latest"
    assert str(Home(note="there is none")) == "there is none"


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("optim=adamw_bnb_8bit", "it is optim=adamw_8bit here"),
        ("optim=adamw_torch_xla", "adamw is the same arithmetic"),
        ("scheduler=greedy", "reduce_lr_on_plateau"),
        ("strategy.timeout=5", "it belongs to strategy=ddp"),
    ],
)
def test_a_name_of_transformers_is_answered_with_the_one_here(project: Any, choice: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        compose([choice])
    assert says in error.value.block()


def tables() -> str:
    """The tables of the page: every field by section, then older names, optimizers and schedules."""
    parts = [f"### {title}\n\n{table(arguments)}" for title, arguments in FIELDS.items()]
    parts.append(f"### Older names\n\n{table(OLD)}")
    parts.append(f"### Words of the example scripts and of launchers\n\n{table(SCRIPTS)}")
    chosen = [(group, names) for group, names in (("optim", OPTIMIZERS), ("scheduler", SCHEDULERS))]
    rows = [
        (name, f"`{group}={home.key}`" if home.key else "", home.note)
        for group, names in chosen
        for name, home in names.items()
    ]
    parts.append(f"### Optimizers and schedules that have another name\n\n{lines(rows)}")
    return "\n\n".join(parts)


def table(homes: Mapping[str, Home]) -> str:
    meanings = {name: kind.doc for name, kind in schema.kinds(schema.Args).items()}
    rows = []
    for name, home in homes.items():
        key = f"args.{name}" if name in KEPT else home.key
        notes = [home.note or meanings.get(name, "") * (name in KEPT)]
        if isinstance(home, Argument) and home.differs:
            notes.append(f"on purpose: {home.differs}")
        rows.append((name, f"`{key}`" if key else "", "; ".join(filter(None, notes))))
    return lines(rows)


def lines(rows: Iterable[tuple[str, str, str]]) -> str:
    def all_lines() -> Iterator[str]:
        yield "| there | here | |"
        yield "|---|---|---|"
        for name, home, note in rows:
            yield f"| `{name}` | {home or '–'} | {note} |"

    return "\n".join(all_lines())


def page(text: str) -> str:
    """The page with today's tables in place of those that it has."""
    return text[: text.index("### ")] + tables() + "\n"


def test_the_page_has_today_s_tables() -> None:
    text = PAGE.read_text()
    assert text == page(text), f"python {Path(__file__).relative_to(ROOT)} writes them"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
