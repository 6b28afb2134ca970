"""The strict check: every key, type and range of a composed configuration, all problems in one report."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer_cli.config import offers, places, schema, targets
from trainer_cli.config.advice import SHORT, TO_COME
from trainer_cli.config.errors import Problem
from trainer_cli.config.hugging_face import HOMES
from trainer_cli.config.naming import misnamed
from trainer_cli.config.nearest import did_you_mean, nearest, one_edit
from trainer_cli.config.offers import group_of
from trainer_cli.config.overrides import keys
from trainer_cli.config.rules import contradictions
from trainer_cli.config.signatures import NoTarget, Parameter, Resolver, Signature, from_callable
from trainer_cli.config.sources import Sources
from trainer_cli.config.swaps import Swap, plain
from trainer_cli.config.types import ANY, Kind, Mismatch, coerce

TARGET = "_target_"

SPECIAL = {
    TARGET: Kind("str"),
    "_partial_": Kind("bool"),
    "_args_": Kind("list"),
    "_recursive_": Kind("bool"),
    "_convert_": Kind("literal", choices=("none", "partial", "object", "all")),
}
"""Keys of a `_target_` node that are not parameters, but tell how to build it."""

_INSTALL = {
    "transformers": "'trainer-cli[text]'",
    "datasets": "'trainer-cli[text]'",
    "peft": "'trainer-cli[peft]'",
    "bitsandbytes": "'trainer-cli[optim]'",
    "optimi": "'trainer-cli[optim]'",
    "pytorch_optimizer": "'trainer-cli[optim]'",
    "schedulefree": "'trainer-cli[optim]'",
    "torchao": "'trainer-cli[ao]'",
}


def check(
    config: Mapping[str, Any],
    sources: Sources,
    *,
    folders: Sequence[Path] = (),
    swaps: Sequence[Swap] = (),
    skip: Collection[str] = (),
    plugins: Sequence[str] | None = None,
) -> tuple[dict[str, Any], list[Problem]]:
    """The configuration with each value as its type has it, and everything that is wrong with it.

    `folders` hold the user's own modules; the groups of `skip` are left unchecked. `plugins` stand for those
    of the configuration.
    """
    checker = _Checker(
        config,
        sources,
        Resolver(folders),
        plugins_of(config) if plugins is None else plugins,
        {swap.group: swap for swap in swaps},
    )
    return checker.run(skip), checker.problems


def plugins_of(config: Mapping[str, Any]) -> list[str]:
    """The plugins that a configuration names, those that are text."""
    plugins = config.get("plugins")
    return [name for name in plugins if isinstance(name, str)] if isinstance(plugins, list) else []


def bind(
    key: str,
    node: Mapping[str, Any],
    target: Any,
    *,
    offered: Collection[str] = (),
    plugins: Sequence[str] = (),
    folders: Sequence[Path] = (),
) -> list[Problem]:
    """The second check, once the target is imported: what it is, and its arguments against its signature.

    It finds what the first could not read, and a name that stands for something else than it says.
    """
    checker = _Checker({}, Sources(), Resolver(folders), plugins, {})
    checker.check_object(key, str(node[TARGET]), target)
    signature = None if checker.problems else from_callable(target)
    if signature is not None:
        checker.check_arguments(key, targets_own(key, node), signature, offered)
        checker.taken(key, dict(node), signature, offered, {})
    return checker.problems


def targets_own(key: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a node less those that the runner takes."""
    return {name: value for name, value in node.items() if name not in schema.TAKEN.get(key, ())}


def unknown_key(key: str, config: Mapping[str, Any], siblings: Iterable[str]) -> Problem:
    """The problem of a key that does not exist, with the nearest names and its home."""
    checker = _Checker(config, Sources(), Resolver(), (), {})
    parent, _, name = key.rpartition(".")
    checker.unknown(parent, name, siblings)
    return checker.problems[0]


@dataclass
class _Checker:
    config: Mapping[str, Any]
    sources: Sources
    resolver: Resolver
    plugins: Sequence[str]
    swaps: Mapping[str, Swap]
    problems: list[Problem] = field(default_factory=list)

    def run(self, skip: Collection[str]) -> dict[str, Any]:
        """Check each section; the checked configuration, its sections in their order."""
        checked: dict[str, Any] = {}
        for name in schema.ORDER:
            if name in skip and name in self.config:
                checked[name] = self.config[name]
            elif name not in self.config:
                self.report(name, f"{name} is missing", self._setting(name))
            else:
                checked[name] = self.section(name, self.config[name])
        for name in self.config:
            if name not in schema.ORDER:
                self.unknown("", name, schema.ORDER)
        self.problems += misnamed(self.config, self.sources)
        if not self.problems:
            self.problems += contradictions(checked, self.sources)
        return checked

    def section(self, name: str, value: Any) -> Any:
        """Check one top-level section or value."""
        if name in schema.TOP:
            return self.value(name, value, schema.TOP[name])
        if not isinstance(value, dict):
            self.report(name, f"{name} is {plain(value)}", f"it must be a mapping; {self._setting(name)}")
            return value
        if name in schema.TYPED:
            return self.fields(name, value, schema.kinds(schema.fields_of(name, value)))
        if name in schema.NODES:
            return self.node(name, value, schema.OFFERED.get(name, ()), schema.KNOWN.get(name, {}))
        return self.named(name, value)

    def fields(self, key: str, values: dict[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
        """Check the fields of a typed section."""
        checked = {}
        for name, kind in kinds.items():
            if name in values:
                checked[name] = self.value(f"{key}.{name}", values[name], kind)
            else:
                self.report(f"{key}.{name}", f"{key}.{name} is missing", f"it must be {kind}")
        for name in values:
            if name not in kinds:
                self.unknown(key, str(name), kinds)
        return checked

    def named(self, group: str, parts: dict[str, Any]) -> dict[str, Any]:
        """Check a group of named parts; null stands for a part that is not wanted."""
        checked: dict[str, Any] = dict.fromkeys(parts)
        for name, part in parts.items():
            key = f"{group}.{name}"
            if isinstance(part, dict):
                checked[name] = self.node(key, part, schema.OFFERED.get(group, ()), {})
            elif part is not None:
                self.unknown(group, name, parts, f"a part of {group} has a {TARGET}, or is null to remove it")
        return checked

    def node(
        self, key: str, node: dict[str, Any], offered: Collection[str], known: Mapping[str, Kind]
    ) -> dict[str, Any]:
        """Check a `_target_` node, and those within it."""
        target = node.get(TARGET)
        if not isinstance(target, str) or target == "???":
            near = [name for name in node if nearest(TARGET, [name])]
            right = f"did you mean {TARGET} for {near[0]}?" if near else self._making(key)
            self.report(key, f"{key} names nothing to build: it has no {TARGET}", right, target == "???")
            return node
        signature = self.signature(key, target)
        own = targets_own(key, node)
        if not targets.is_free(target, self.plugins, self.resolver):
            for name, why in targets.unpickling(target, own):
                self.report(f"{key}.{name}", f"{key}.{name} may not be given to {target}", why)
        if signature is None:
            checked = {name: self.inner(f"{key}.{name}", value) for name, value in own.items()}
        else:
            checked = self.check_arguments(key, own, signature, offered, known)
        return checked | self.taken(key, node, signature, offered, known)

    def signature(self, key: str, target: str) -> Signature | None:
        """What the target takes; None where it is not known, or not allowed, which is reported."""
        place = f"{key}.{TARGET}"
        absent = targets.absence(target, self.resolver)
        if absent is not None:
            self.report(place, f"{place} is {target}: {absent}", absent.hint)
            return None
        why = targets.refusal(target, self.plugins, self.resolver, group_of(key))
        if why:
            self.report(place, f"{place} may not name {target}", why)
            return None
        try:
            signature = self.resolver.signature(target)
        except NoTarget as error:
            top = target.split(".")[0]
            install = f"pip install {_INSTALL[top]} adds it" if top in _INSTALL and not error.hint else ""
            self.report(place, f"{place} is {target}: {error}", error.hint or install)
            return None
        if signature is None:
            return None
        self.check_identity(key, target, signature.module)
        return targets.closed(signature, target)

    def check_identity(self, key: str, target: str, module: str) -> None:
        """Report a target whose definition lies in a module that may not be named."""
        if not targets.is_reachable(module, self.plugins, self.resolver):
            self.refuse(key, target, f"it is defined in {module}")

    def check_object(self, key: str, target: str, made: Any) -> None:
        """Report a target that, imported, is not what may stand here."""
        group, made = group_of(key), offers.bare(made)
        free = targets.is_free(target, self.plugins, self.resolver)
        if free and not targets.is_at_home(target, made, self.plugins, self.resolver):
            self.refuse(key, target, f"it is {offers.full_name(made)}, of another module")
        elif group and not offers.fits(made, group):
            what = f"{key}.{TARGET}={target} names {offers.described(made)}"
            base = offers.PARTS[group].base
            self.report(f"{key}.{TARGET}", f"{what}, which is no {base}", targets.takes(group))
        elif not free and not offers.is_offered(target, made, offers.of(group)):
            self.refuse(key, target, targets.takes(group))

    def refuse(self, key: str, target: str, why: str) -> None:
        """Report a target that may not be named."""
        self.report(f"{key}.{TARGET}", f"{key}.{TARGET} may not name {target}", why)

    def check_arguments(
        self,
        key: str,
        node: dict[str, Any],
        signature: Signature,
        offered: Collection[str],
        known: Mapping[str, Kind] | None = None,
    ) -> dict[str, Any]:
        """Check a node's keys against what its target takes."""
        checked = {}
        for name, value in node.items():
            parameter = signature.parameter(name)
            at = f"{key}.{name}"
            if name in offered and name in schema.OBJECTS:
                self.report(at, f"{at} is given by the run itself", "leave it out")
            elif parameter is not None:
                checked[name] = self.argument(at, value, parameter, (known or {}).get(name))
            elif name in SPECIAL:
                checked[name] = self.inner(at, self.value(at, value, SPECIAL[name]))
            elif signature.accepts_any:
                checked[name] = self.inner(at, value)
            else:
                names = [p.name for p in signature.parameters if p.name not in offered]
                siblings = [*names, *schema.TAKEN.get(key, ()), *SPECIAL]
                self.unknown(key, str(name), siblings, f"{node[TARGET]} has no parameter {name}")
        positional = len(node.get("_args_") or ())
        given = {*node, *offered, *(p.name for p in signature.parameters[:positional])}
        if node.get("_partial_") is not True:
            missing = [p for p in signature.parameters if p.default is None and p.name not in given]
            group = group_of(key)
            if missing and signature.is_function and group in schema.NAMED:
                needs = f"a function that needs {', '.join(parameter.name for parameter in missing)}"
                base = offers.PARTS[group].base
                what = f"{key}.{TARGET}={node[TARGET]} names {needs}, and no {base}"
                self.report(f"{key}.{TARGET}", what, targets.takes(group))
            else:
                for parameter in missing:
                    at = f"{key}.{parameter.name}"
                    right = f"{node[TARGET]} needs it: {at}=VALUE" + _meaning(parameter)
                    self.report(key, f"{at} is missing", right, unset=True)
        return checked

    def taken(
        self,
        key: str,
        node: dict[str, Any],
        signature: Signature | None,
        offered: Collection[str],
        known: Mapping[str, Kind],
    ) -> dict[str, Any]:
        """Check those keys of a node that its target is not given."""
        checked = {}
        for name, kind in schema.TAKEN.get(key, {}).items():
            if name in node:
                checked[name] = self.value(f"{key}.{name}", node[name], kind)
        entries = checked.get("groups")
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            checked["groups"] = [
                self.parameter_group(
                    f"{key}.groups.{index}", entry, str(node[TARGET]), signature, offered, known
                )
                for index, entry in enumerate(entries)
            ]
        return checked

    def parameter_group(
        self,
        key: str,
        entry: dict[str, Any],
        target: str,
        signature: Signature | None,
        offered: Collection[str],
        known: Mapping[str, Kind],
    ) -> dict[str, Any]:
        """Check an entry of `optim.groups`: patterns, and hyperparameters that the optimizer has."""
        fields = schema.kinds(schema.GroupFields)
        names = [p.name for p in signature.parameters if p.name not in offered] if signature else []
        checked = dict(entry)
        for name, value in entry.items():
            at = f"{key}.{name}"
            parameter = signature.parameter(name) if signature and name in names else None
            if name in fields:
                checked[name] = self.value(at, value, fields[name])
            elif parameter is not None:
                checked[name] = self.argument(at, value, parameter, known.get(name))
            elif signature is not None and not signature.accepts_any:
                self.unknown(key, str(name), [*names, *fields], f"{target} has no parameter {name}")
        if "modules" not in entry:
            self.report(key, f"{key}.modules is missing", "modules: REGEX\n" + fields["modules"].doc)
        elif why := _not_a_pattern(checked["modules"]):
            self.report(key, f"{key}.modules: {why}", r"for example modules: layer\.(0|1)\.")
        return checked

    def argument(self, key: str, value: Any, parameter: Parameter, known: Kind | None) -> Any:
        """Check one argument against the signature, then against what else is known of it."""
        if _is_node(value):
            return self.inner(key, value)
        before = len(self.problems)
        doc = parameter.doc or (known.doc if known else "")
        value = self.value(key, value, replace(parameter.kind, doc=doc))
        if len(self.problems) == before and known is not None and _applies(known, parameter, value):
            value = self.value(key, value, known)
        return self.inner(key, value) if isinstance(value, dict | list) else value

    def inner(self, key: str, value: Any) -> Any:
        """Check the `_target_` nodes anywhere within a value."""
        if isinstance(value, dict):
            if TARGET in value:
                return self.node(key, value, (), {})
            return {name: self.inner(f"{key}.{name}", item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.inner(key, item) for item in value]
        if value == "???":
            self.value(key, value, ANY)
        return value

    def value(self, key: str, value: Any, kind: Kind) -> Any:
        """The value as its kind has it; reports one that is not of its kind."""
        if value == "???":
            meaning = f"\n{kind.doc}" if kind.doc else ""
            self.report(key, f"{key} must be set", f"{key}=VALUE{meaning}", unset=True)
            return value
        try:
            return coerce(value, kind)
        except Mismatch:
            self.report(key, f"{key} is {_quoted(value)}", _must_be(key, value, kind))
            return value

    def unknown(self, parent: str, name: str, siblings: Iterable[str], what: str = "") -> None:
        """Report a key that does not exist, with its home elsewhere and the nearest names."""
        key = f"{parent}.{name}" if parent else name
        what = f"{key}: {what}" if what else f"there is no {key}"
        prefix = f"{parent}." if parent else ""
        hints = [self._leftover(parent, key)]
        if not hints[0]:
            dotted = [] if parent else [other for other in keys(dict(self.config)) if one_edit(name, other)]
            home, known = self._home(parent, name), [*siblings, *dotted]
            is_near = any(one_edit(name, other) for other in known)
            hints = [home, did_you_mean(name, known, prefix) if is_near or not home else ""]
        self.report(key, what, "\n".join(filter(None, hints)))

    def _home(self, parent: str, name: str) -> str:
        """Where a key of this name lives, if it is not here."""
        options = [o for o, fields in schema.STRATEGIES.items() if name in schema.kinds(fields)]
        if parent == "strategy" and options:
            return f"it belongs to strategy={' or '.join(options)}"
        if parent in schema.NODES and (options := places.builtin_options(parent, name)):
            named = " or ".join(f"{parent}={option}" for option in options[:3])
            one = f": {named} {parent}.{name}=VALUE" if len(options) == 1 else ""
            return f"it belongs to {named}{' or another' if options[3:] else ''}{one}"
        home = HOMES.get(name)
        if home is not None and home.key not in (parent, f"{parent}.{name}"):
            return str(home)
        if name in TO_COME:
            return TO_COME[name]
        elsewhere = [
            f"{section}.{name}"
            for section, values in self.config.items()
            if section in schema.ORDER and section != parent and isinstance(values, dict) and name in values
        ]
        if not elsewhere and not parent and name in SHORT:
            return f"it is written {SHORT[name]}=VALUE"
        return f"it lives in {' or '.join(elsewhere)}" if elsewhere and name not in SPECIAL else ""

    def _leftover(self, parent: str, key: str) -> str:
        """For a key that was right before the command line put something else in its group's place."""
        group = parent.partition(".")[0]
        source, target = self.sources.winner(key), self.sources.winner(f"{parent}.{TARGET}")
        if source is None or target is None or source.origin == "override":
            return ""
        swap = self.swaps.get(group)
        if swap is not None and source.origin == "recipe":
            meant = f"{group}={swap.meant}, not for {swap.chosen}"
            return f"the recipe sets it for {meant}; ~{key} drops it"
        if target.origin != "option" and parent == group:
            return f"it belongs to the option's own {TARGET}; ~{key} drops it, as does an option of your own"
        return ""

    def _making(self, key: str) -> str:
        group, dot, name = key.partition(".")
        if not dot or group in schema.NODES:
            return self._setting(key)
        own = f"a class of your own: {key}.{TARGET}=MODULE.CLASS"
        return f"{group}={name}, if `trainer-cli list {group}` has that option; {own}"

    def _setting(self, key: str) -> str:
        return f"choose an option: {key}=NAME" if key in schema.GROUPS else f"set it: {key}=VALUE"

    def report(self, key: str, what: str, right: str, unset: bool = False) -> None:
        """Note a problem of a key, with the place that set it."""
        self.problems.append(Problem(what, self.sources.where(key), right, key, unset))


def _not_a_pattern(value: Any) -> str:
    """Why a text, or one of several, is no regular expression; empty where all are."""
    for pattern in value if isinstance(value, list) else [value]:
        try:
            re.compile(pattern if isinstance(pattern, str) else "")
        except re.error as error:
            return f"{pattern} is no regular expression: {error}"
    return ""


def _is_node(value: Any) -> bool:
    """Whether a `_target_` node, or a list or mapping of them, stands for the value."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict) and TARGET in value) or any(_is_node(item) for item in items)


def _applies(known: Kind, parameter: Parameter, value: Any) -> bool:
    """Whether what is known of the name holds here: another target may mean something else by it."""
    own = parameter.kind
    names = {part.name for part in own.parts} if own.name == "union" else {own.name}
    if value is None:
        return "none" not in names and parameter.default != "None"
    if (parameter.default or "").startswith("(") and known.name != "list":
        return False  # several numbers, as Adafactor's eps are
    return bool(names & {"any", known.name}) or ("tuple" in names and known.name == "list")


_SWITCH = {"yes": "true", "on": "true", "y": "true", "1": "true"} | {
    "no": "false",
    "off": "false",
    "n": "false",
    "0": "false",
}
"""What people write for true and false elsewhere."""


def _must_be(key: str, value: Any, kind: Kind) -> str:
    parts = kind.parts if kind.name == "union" else (kind,)
    words = [str(choice) for part in parts for choice in part.choices]
    hint = did_you_mean(str(value), words)
    if any(part.name == "bool" for part in parts) and str(value).lower() in _SWITCH:
        hint = f"did you mean {_SWITCH[str(value).lower()]}?"
    if key == "resume":
        return "resume=latest goes on with the newest run; auto, a run or a checkpoint are the others"
    if isinstance(value, str | int | float) and any(part.name in ("list", "tuple") for part in parts):
        hint = f"in brackets: {key}=[{plain(value)}]"
    return f"it must be {kind}" + (f"; {hint}" if hint else "")


def _quoted(value: Any) -> str:
    # A text that reads like another type is shown as the text that it is.
    if isinstance(value, str) and re.fullmatch(r"true|false|null|[-+.\deE]*", value):
        return f"the text {value!r}"
    return plain(value)


def _meaning(parameter: Parameter) -> str:
    return f"\n{parameter.doc}" if parameter.doc else ""
