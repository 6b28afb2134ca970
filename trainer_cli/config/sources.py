"""Sources: the files, lines and overrides that set each key, in the order in which they were applied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.types import Override

from trainer_cli.config.places import Document
from trainer_cli.config.secrets import to_show

Origin = Literal["option", "recipe", "override"]


@dataclass(frozen=True)
class Source:
    """One place that sets a key: `text` names it, `value` is what it says there."""

    text: str
    value: Any
    origin: Origin


class Sources(dict[str, list[Source]]):
    """For each dotted key, inner ones included, the places that set it; the last one counts."""

    def add_document(self, document: Document, package: str, origin: Origin) -> None:
        """Add all keys of a file that is merged at `package`."""
        prefix = tuple(package.split(".")) if package else ()
        for keys, line in document.lines.items():
            if keys[0] != "defaults" or prefix:
                value: Any = document.values
                for key in keys:
                    value = _item(value, key)
                source = Source(f"{document.where()}:{line}", to_show(keys[-1], value), origin)
                self.setdefault(".".join((*prefix, *keys)), []).append(source)

    def add_overrides(self, values: Iterable[Override]) -> None:
        """Add the keys that the command line sets."""
        for override in values:
            if not override.is_delete():
                self._add_value(
                    override.key_or_group, override.value(), f"command line: {override.input_line}"
                )

    def _add_value(self, key: str, value: Any, text: str) -> None:
        shown = to_show(key.rpartition(".")[2], value)
        self.setdefault(key, []).append(Source(text, shown, "override"))
        if isinstance(value, dict):
            for name, item in value.items():
                self._add_value(f"{key}.{name}", item, text)

    def winner(self, key: str) -> Source | None:
        """The place that decides the key; for a mapping without one of its own, that of its first key."""
        if key in self:
            return self[key][-1]
        below = next((name for name in self if name.startswith(f"{key}.")), None)
        return self[below][-1] if below else None

    def where(self, key: str) -> str:
        """The winner's text, or nothing where it is not known; what is in a list is set where the list is."""
        source = self.winner(key) or self.winner(re.sub(r"\.\d.*", "", key))
        return source.text if source else ""


def _item(value: Any, key: str) -> Any:
    """The item of a mapping whose keys may be numbers in YAML."""
    if isinstance(value, dict):
        return next((item for name, item in value.items() if str(name) == key), None)
    return None
