"""A line of the file under a mistake, with everything masked that is not known to be harmless."""

from __future__ import annotations

import pytest

from proxy.config.document import Span, compose, split_lines
from proxy.config.excerpt import excerpt, masked_line


def shown(text: str, column: int, visible: str = "", line: int = 0) -> tuple[str, int]:
    document = compose(text)
    for word in document.scalars:
        place = word.span
        word.visible = text.split("\n")[place.line][place.column : place.end_column] in visible.split()
    return excerpt(split_lines(text), Span(line, column, line, column), document.scalars, {"known"})


@pytest.mark.parametrize(
    ("text", "column", "visible", "expected"),
    [
        ("a: hush", 3, "a", ("a: ***", 3)),
        ("a: b", 3, "a b", ("a: b", 3)),
        ("known: hush", 0, "", ("known: ***", 0)),
        ("a: {b: hush, c: d}", 13, "a b c d", ("a: {b: ***, c: d}", 12)),
        ("a: 'h u,s: h'  # hush", 3, "a", ("a: ***", 3)),
        ("a: b # hush", 3, "a b", ("a: b", 3)),
        ("   a: hush", 6, "a", ("a: ***", 3)),
        ("a: &hush b", 3, "a b", ("a: ***", 3)),
        ("[hush, hush]", 7, "", ("[***, ***]", 6)),
        ("a: h#ush", 4, "a", ("a: ***", 3)),
        ("a: &hush {b: c}", 9, "a b c", ("a: *** {b: c}", 7)),
        ("{a: &hush c, d: *hush}", 16, "a d", ("{a: ***, d: ***}", 12)),
        ("{a: , b: c}", 6, "a b c", ("{a: , b: c}", 6)),
        ("a: {b: 1}", 9, "a b", ("a: {b: ***}", 11)),
    ],
)
def test_words_are_shown_only_where_they_are_known_to_be_harmless(text, column, visible, expected):
    assert shown(text, column, visible) == expected


def test_every_line_of_a_long_value_is_masked():
    text = "a: |\n  hush\n  hush: hush\nb: 'x\n  hush'\n"
    for line in (1, 2, 4):
        assert "hush" not in shown(text, 2, "a b", line)[0]


def test_a_long_line_is_cut_around_the_caret():
    text = "{" + ", ".join(f"k{n}: v{n}" for n in range(200)) + "}"
    column = text.index("v100")
    line, caret = shown(text, column, text.replace(",", " ").replace(":", " ").replace("{", " ").replace("}", " "))
    assert len(line) <= 110
    assert line[caret:].startswith("v100")


def test_a_place_beyond_the_text_has_no_excerpt():
    assert excerpt(["a"], Span(5, 0, 5, 0), [], ()) == ("", 0)
    assert masked_line(["a"], Span(5, 0, 5, 0), ()) == ("", 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scope: 'hush", "scope: ***"),
        ("  - scope: hush: hush", "- scope: ***"),
        ("hush: scope: x", "***"),
        ("  hush", "***"),
        ("scope:", "scope:"),
        ("scope:hush", "***"),
        ("\tscope: hush", "scope: ***"),
        ("", ""),
        ("- - hush", "- - ***"),
    ],
)
def test_of_a_line_that_cannot_be_parsed_only_known_keys_are_shown(text, expected):
    assert masked_line([text], Span(0, 0, 0, 0), {"scope"})[0].strip() == expected


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in masked_line(["scope\x1b[31m: x"], Span(0, 2, 0, 2), {"scope"})[0]
