"""Recipes: what they choose, and the mistakes in them that Hydra would answer in riddles or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trainer_cli.config.errors import Problem, UserError
from trainer_cli.config.nearest import did_you_mean
from trainer_cli.config.overrides import unknown_options
from trainer_cli.config.places import RECIPE, Document, Root, find, read, short
from trainer_cli.config.schema import GROUPS


@dataclass
class Recipes:
    """The recipes of a run with those they build on, the options they choose, and what is wrong in them."""

    documents: list[Document] = field(default_factory=list)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def inspect(names: Sequence[str], roots: Sequence[Root]) -> Recipes:
    """Read the recipes and their defaults lists; a later recipe's choice of an option wins."""
    found = Recipes()
    for name in names:
        _inspect(name, roots, found)
    return found


def circle(name: str, roots: Sequence[Root], above: Sequence[str] = ()) -> Problem | None:
    """The problem of a file, such as `recipe/glue`, whose defaults list leads back to where it came from."""
    path = next(iter(find(name, roots)), None)
    if path is None:
        return None
    if name in above:
        names = [short(find(other, roots)[0]) for other in [*above[above.index(name) :], name]]
        if len(names) == 2:
            right = f"take {name.rpartition('/')[2]} out of its defaults list"
            return Problem(f"{names[0]} builds on itself", right=right)
        right = "take one of them out of the defaults list of another"
        return Problem(f"{names[0]} builds on {', which builds on '.join(names[1:])}", right=right)
    group = name.rpartition("/")[0]
    for key, value in _defaults(read(path)):
        for base in _bases(group, key, value):
            found = circle(base, roots, [*above, name])
            if found is not None:
                return found
    return None


def _bases(group: str, key: str, value: object) -> Iterator[str]:
    """The files that an entry of the defaults list of a file in this group brings in."""
    words = key.split()
    if str(value) == "_self_" or value is None or "override" in words:
        return
    inner = words[-1] if words else ""
    for item in value if isinstance(value, list) else [value]:
        path = "/".join(filter(None, [inner, str(item)]))
        yield path.lstrip("/") if path.startswith("/") else f"{group}/{path}"


def _inspect(name: str, roots: Sequence[Root], found: Recipes) -> None:
    path = next(iter(find(f"{RECIPE}/{name}", roots)), None)
    if path is None or any(document.path == path for document in found.documents):
        return
    try:
        document = read(path)
    except UserError as error:
        found.problems += error.problems
        return
    found.documents.append(document)
    if document.package != "_global_":
        found.problems.append(_no_header(document))
    if "hydra" in document.values:
        found.problems.append(Problem("there is no hydra: Hydra runs nothing here", document.where("hydra")))
    for key, value in _defaults(document):
        line = f"{key}: {value}" if key else str(value)
        place = f"{_place(document, line)}: - {line}"
        words = key.split()
        group = words[-1] if words else ""
        if not group and str(value) != "_self_":
            base = str(value).removeprefix(f"/{RECIPE}/")
            found.problems += unknown_options(RECIPE, [base], roots, place)
            _inspect(base, roots, found)
        elif group.lstrip("/").partition("/")[0] in GROUPS:
            found.problems += _choice(words, value, roots, place, found)
        elif group:
            hint = did_you_mean(group.lstrip("/"), GROUPS)
            found.problems.append(Problem(f"there is no group {group.lstrip('/')}", place, hint))


def _no_header(document: Document) -> Problem:
    place = "above its first key" if document.package is None else "in place of its @package line"
    return Problem(
        f"the recipe {short(document.path)} has no package header, so none of it would take effect",
        right=f"add this line {place}:\n# @package _global_",
    )


def _choice(
    words: list[str], value: object, roots: Sequence[Root], place: str, found: Recipes
) -> Iterator[Problem]:
    """Check one `override /group: option` line and note its choice."""
    group = words[-1].lstrip("/")
    names = tuple(str(item) for item in (value if isinstance(value, list) else [value]))
    if group in GROUPS and (words[-1] == group or "override" not in words):
        shown = value if not isinstance(value, list) else f"[{', '.join(names)}]"
        yield Problem(
            f"a recipe chooses an option of {group} with `override` and a leading slash",
            place,
            f"write: - override /{group}: {shown}",
        )
    elif value is not None:
        yield from unknown_options(group, names, roots, place)
    found.choices[group] = names


def _defaults(document: Document) -> Iterator[tuple[str, object]]:
    for item in document.values.get("defaults") or ():
        if isinstance(item, dict):
            yield from ((str(key), value) for key, value in item.items())
        else:
            yield "", item


def _place(document: Document, line: str) -> str:
    key = line.partition(":")[0]
    for number, text in enumerate(document.text.splitlines(), start=1):
        if text.strip().startswith("-") and text.strip("- \t").startswith(key):
            return f"{short(document.path)}:{number}"
    return document.where("defaults")
