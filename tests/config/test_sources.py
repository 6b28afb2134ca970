from __future__ import annotations

from typing import Any

from trainer_cli.config import overrides, places
from trainer_cli.config.sources import Sources


def test_each_key_has_its_places_in_order_and_the_last_one_counts(empty: Any) -> None:
    sources = Sources()
    sources.add_document(places.read(empty.write("a.yaml", "lr: 1\nmore: {x: [1]}\n")), "optim", "option")
    sources.add_document(places.read(empty.write("b.yaml", "defaults: []\noptim:\n  lr: 2\n")), "", "recipe")
    parsed, _ = overrides.parse(["optim.lr=3", "optim.more={y: 4}", "~optim.more.x"])
    sources.add_overrides(parsed)
    lr = [(source.text, source.value, source.origin) for source in sources["optim.lr"]]
    assert lr == [
        ("a.yaml:1", 1, "option"),
        ("b.yaml:3", 2, "recipe"),
        ("command line: optim.lr=3", 3, "override"),
    ]
    assert sources.where("optim.lr") == "command line: optim.lr=3"
    assert sources.where("optim.more.y") == "command line: optim.more={y: 4}"
    assert sources["optim.more.x"][-1].value == [1]
    assert "defaults" not in sources


def test_a_mapping_without_a_place_has_that_of_its_first_key(empty: Any) -> None:
    sources = Sources()
    parsed, _ = overrides.parse(["optin.lr=3"])
    sources.add_overrides(parsed)
    assert sources.where("optin") == "command line: optin.lr=3"
    assert sources.where("optim") == ""
