from __future__ import annotations

import pytest

from trainer_cli.config import schema


@pytest.mark.parametrize("fields", [*schema.TYPED.values(), schema.Top, schema.OptimFields])
def test_every_field_has_a_type_and_a_meaning(fields: type) -> None:
    for name, kind in schema.kinds(fields).items():
        assert kind.name != "any", name
        assert kind.doc, name


def test_typed_sections_have_no_defaults() -> None:
    for fields in schema.TYPED.values():
        assert not set(fields.__annotations__) & set(vars(fields))


def test_every_group_is_typed_a_node_or_named_parts() -> None:
    typed = set(schema.TYPED) - {"run", "sweep"}
    assert set(schema.GROUPS) == typed | set(schema.NODES) | set(schema.NAMED)
    assert len(schema.ORDER) == len(set(schema.ORDER))
