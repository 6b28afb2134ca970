"""YAML as it is read here: a value without quotes as on the command line, mistakes with their line."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_WHOLE = r"(?:0|[1-9](?:_?[0-9])*)"
_POINT = rf"(?:{_WHOLE}\.|{_WHOLE}?\.[0-9](?:_?[0-9])*)"
_EXPONENT = rf"(?:{_WHOLE}|{_POINT})[eE][-+]?[0-9](?:_?[0-9])*"

_PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (rf"[-+]?{_WHOLE}", "-+0123456789"),
    "float": (
        rf"[-+]?(?:{_EXPONENT}|{_POINT}|\.?(?i:inf))|\.?(?i:nan)|[-+](?i:nan)",
        "-+0123456789.iInN",
    ),
    "merge": (r"<<", "<"),
}
"""What a value without quotes is, if it is no text: as in Hydra's grammar, with YAML's ~, .inf and .nan.

YAML 1.1 has more: 010 is 8 there, 1:30 is 90, yes is true. Here they are the text that they are elsewhere.
"""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML's safe loader with fewer surprises."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; raises ConstructorError for a key that is there twice."""
        seen: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (name := (key.tag, key.value)) in seen:
                    line = seen[name].line + 1
                    what = f"{key.value} is there twice, first in line {line}"
                    raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
                seen[name] = key.start_mark
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


for _name, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )


def parse(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of a document, which know their lines, and its values; raises YAMLError."""
    loader = _Loader(text.removeprefix("\ufeff"))
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def mistake(error: yaml.YAMLError, text: str) -> tuple[int | None, str, str]:
    """The line of what cannot be read, what is wrong with it, and what would be right."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        is_wide = text.count("\0") > len(text) // 4
        right = "it looks like UTF-16: save it as UTF-8" if is_wide else "take it out"
        return line, f"it has the character U+{ord(text[error.position]):04X}", right
    mark, what = getattr(error, "problem_mark", None), str(getattr(error, "problem", error))
    source = text.splitlines()[mark.line : mark.line + 1] if mark else []
    return mark and mark.line + 1, what.replace("'\\t'", "tab"), _right(what, source[0] if source else "")


def _right(what: str, source: str) -> str:
    """What to do about the commonest mistakes."""
    if "'\\t'" in what:
        return "indent with blanks"
    if (
        "cannot start any token" in what
        or "alphabetic or numeric character" in what
        or "undefined alias" in what
    ):
        return "a text that begins with a special character needs quotes"
    if "mapping values are not allowed" in what:
        return (
            "a text with a colon and a blank needs quotes"
            if source.count(": ") > 1
            else "check the indentation"
        )
    if "could not determine a constructor" in what:
        return "no tags (!name) are read; a text that begins with ! needs quotes"
    if "another document" in what:
        return "a file holds one document: no second ---"
    if "end of stream" in what or "stream end" in what:
        return "a quote or a bracket is not closed"
    return ""


def undecodable(error: UnicodeDecodeError) -> str:
    """Why the bytes of a file are no text."""
    if error.object[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it is UTF-16: save it as UTF-8"
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"line {line} has the byte 0x{error.object[error.start]:02X}, which is not UTF-8: save it as UTF-8"
