"""Where the values of a run's configuration come from, as far as today's files still say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_cli.config.errors import UserError
from trainer_cli.runs.select import flat


def origins(fields: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    """For each key that no default decides, the line of a recipe or the override that does.

    `fields` are those of run.json, `values` the configuration by dotted keys. The files may have been edited
    since: a line is named only where it gives the value that the run has.
    """
    overrides = [str(word) for word in fields.get("overrides") or ()]
    found = {key_of(word): f"command line: {word}" for word in overrides if "=" in word}
    found = {key: text for key, text in found.items() if key in values or below(key, values)}
    return {**composed(fields, overrides, values), **found}


def composed(fields: Mapping[str, Any], overrides: list[str], values: Mapping[str, Any]) -> dict[str, str]:
    """The keys that a recipe decides; none where the overrides do not compose any more."""
    from trainer_cli.config.compose import compose  # Hydra: for pages of one run alone

    projects = [Path(folder) for folder in fields.get("project") or ()]
    folders = [path for path in projects if (path / "configs").is_dir() or (path / "recipes").is_dir()]
    try:
        now = compose(overrides, config_dirs=folders, strict=False)
    except UserError:
        return {}
    same = flat(now.config)
    return {
        key: now.sources[key][-1].text
        for key, value in values.items()
        if now.sources.get(key)
        and now.sources[key][-1].origin == "recipe"
        and key in same
        and same[key] == value
    }


def key_of(word: str) -> str:
    """The key that an override sets."""
    return word.lstrip("+~").partition("=")[0]


def below(key: str, values: Mapping[str, Any]) -> bool:
    """Whether a key has others below it."""
    return any(other.startswith(f"{key}.") for other in values)
