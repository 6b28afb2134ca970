"""HTML put together from elements, with everything escaped that is no element."""

from __future__ import annotations

import html
import json
from typing import Any

EMPTY = ("meta", "link")
"""Elements without an end tag."""


class Html(str):
    """Text that is HTML already, and is not escaped again."""


def element(name: str, /, *children: str, **attributes: str | None) -> Html:
    """An element; an attribute that is None is left out, `class_` is `class`, `data_x` is `data-x`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    end = "" if name in EMPTY else f"{joined(*children)}</{name}>"
    return Html(f"<{name}{given}>{end}")


def joined(*children: str) -> Html:
    """Elements and texts, one after the other."""
    return Html("".join(child if isinstance(child, Html) else html.escape(child) for child in children))


def script_json(value: Any) -> Html:
    """JSON that can stand in a script element: no `<` in it, so no end of the element."""
    return Html(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
