"""Elements, and texts that try to be some."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_cli.report.markup import Html, element, joined, script_json

EVIL = "</script></td><script>alert(1)</script><!-- &amp; \" ' <b onclick=x>"


class Seen(HTMLParser):
    """What a reader of HTML makes of a text: the tags with their attributes, and all text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def test_what_is_an_element_is_left_and_all_else_is_escaped() -> None:
    assert element("td", element("b", "1 < 2"), " & ", "<b>") == "<td><b>1 &lt; 2</b> &amp; &lt;b&gt;</td>"
    assert joined("<", Html("<br>"), ">") == "&lt;<br>&gt;"


def test_text_that_is_put_together_from_html_is_text_again() -> None:
    made = element("b", "x")
    assert element("p", f"{made}!") == "<p>&lt;b&gt;x&lt;/b&gt;!</p>"


def test_attributes() -> None:
    made = element("td", class_="number", data_axis="3", stroke_dasharray="2 3", title=None, open="")
    assert made == '<td class="number" data-axis="3" stroke-dasharray="2 3" open=""></td>'
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("span", name="the attribute, not the element") == (
        '<span name="the attribute, not the element"></span>'
    )


@pytest.mark.parametrize("text", [EVIL, "'", '"', "&", "&lt;", "a=b", "</p", "<!--", "\n"])
def test_a_hostile_text_is_the_text_that_it_is(text: str) -> None:
    seen = Seen(element("p", text, title=text, data_x=text))
    assert seen.tags == [("p", {"title": text, "data-x": text})]
    assert seen.text == text


# A reader of HTML takes \r for \n, and has no NUL.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))


@given(st.lists(texts), st.dictionaries(st.sampled_from(["title", "data-x", "aria-label"]), texts))
def test_a_reader_finds_the_texts_and_attributes_that_were_given(
    children: list[str], attributes: dict[str, str]
) -> None:
    inside = [element("i", child) for child in children]
    seen = Seen(element("p", *inside, **{name.replace("-", "_"): text for name, text in attributes.items()}))
    assert seen.text == "".join(children)
    assert seen.tags == [("p", attributes), *[("i", {})] * len(children)]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_json_in_a_script_is_read_as_it_was_and_cannot_end_it(value: Any) -> None:
    text = script_json({"of": value, EVIL: EVIL})
    assert json.loads(text) == {"of": value, EVIL: EVIL}
    assert "<" not in text
    assert text.isascii()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json({"y": [value]})
