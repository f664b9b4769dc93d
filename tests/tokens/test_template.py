from __future__ import annotations

import json
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.placeholders import places
from proxy.tokens.template import (
    MissingPartError,
    UnfitPartError,
    fill,
    fill_text,
    fill_url,
    fits,
    quoted_segment,
)

PARTS = {"access_token": "a-1", "refresh_token": "r-1", "per": "tenant"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_parts_are_filled_in_anywhere_in_a_json_value():
    template = {"a": ["Bearer {access_token}", {"b": "{refresh_token}/{per}"}], "n": 1, "t": True, "z": None}
    assert fill(template, PARTS) == {"a": ["Bearer a-1", {"b": "r-1/tenant"}], "n": 1, "t": True, "z": None}


def test_what_is_filled_in_is_no_template():
    assert fill("{access_token}{per}", {"access_token": "{per}", "per": "{access_token}"}) == "{per}{access_token}"


def test_other_braces_stay():
    assert fill('{"x": {unknown} {} {{"y": {per}}}}', PARTS) == '{"x": {unknown} {} {{"y": tenant}}}'


def test_a_literal_placeholder_is_written_in_two_braces():
    assert fill("{{per}} {{nobody}} {{{per}}}", PARTS) == "{per} {nobody} {{per}}"


def test_parts_can_be_escaped_and_the_template_is_not():
    assert fill("/t?x=1&p={per}", {"per": "a/b&c"}, lambda part: quote(part, safe="")) == "/t?x=1&p=a%2Fb%26c"


@pytest.mark.parametrize("parts", [{}, {"refresh_token": None}])
def test_a_part_that_is_missing_is_named(parts):
    with pytest.raises(MissingPartError, match="refresh_token"):
        fill(["{refresh_token}"], parts)


def test_an_empty_part_is_not_a_missing_one():
    assert fill("<{per}>", {"per": ""}) == "<>"


@given(JSON)
def test_a_value_that_asks_for_nothing_is_left_as_it_is(value):
    if not places(value) and "{{" not in str(value):
        assert fill(value, {}) == value


HOSTILE = [
    "a?x=1", "a/../../admin", "a b", "%2e%2e", "a#b", "a&b=c", "a;b", "a+b", "a%2Fb", "a\\b", "@evil.example", "//evil",
    "a\r\nX: y", "\x00", "\u00fc", "\u2028", "{per}", "a\t", "...", "..;x", "-x", "",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_a_part_stays_within_its_component_of_a_url(part):
    url = fill_url("https://login.example:8443/t/{per}/token?tenant={per}&x=1", {"per": part})
    split = urlsplit(url)
    assert (split.scheme, split.netloc, split.fragment) == ("https", "login.example:8443", "")
    assert [unquote(segment) for segment in split.path.split("/")] == ["", "t", part, "token"]
    assert parse_qsl(split.query, keep_blank_values=True) == [("tenant", part), ("x", "1")]


@given(st.text(), st.sampled_from(["{per}", "a{per}", "{per}.json", ".{per}", "{per}{per}", "{per};v=1"]))
def test_no_part_makes_a_url_climb(part, segment):
    try:
        url = fill_url(f"https://h.example/a/{segment}/b?q={{per}}", {"per": part})
    except UnfitPartError:
        return
    path = urlsplit(url).path.split("/")
    assert (path[:2], path[3:]) == (["", "a"], ["b"])
    assert path[2].partition(";")[0] not in (".", "..")


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("https://h.example/{per}/x", ".."), ("https://h.example/{per}", "."), ("https://h.example/.{per}/x", "."),
        ("https://h.example/{per}{per}", "."), ("https://h.example/{per};v=1/x", ".."), ("/{per}", ".."),
        ("https://h.example/..{per}/x", ""),
        ("https://{per}.example/x", "evil/"), ("https://{per}.example/x", "a@b"), ("https://{per}.example/x", ""),
        ("https://{per}.example/x", "a:80"), ("https://{per}.example/x", "a?"), ("https://{per}.example/x", "a..b"),
    ],
)  # fmt: skip
def test_a_part_that_no_encoding_keeps_in_its_place_is_unfit(template, part):
    with pytest.raises(UnfitPartError):
        fill_url(template, {"per": part})
    assert not fits(template, part)


def test_what_fits_is_filled_in():
    assert fill_url("https://{per}.example/x", {"per": "a-1.b"}) == "https://a-1.b.example/x"
    assert fill_url("urn:tenant:{per}", {"per": "a:b/c"}) == "urn:tenant:a%3Ab%2Fc"
    assert fill_url("api://app/{per}", {"per": "\u00fc"}) == "api://app/%C3%BC"
    assert fill_url("https://h.example/a/../b", {}) == "https://h.example/a/../b"
    assert fits("https://h.example/{per}?t={access_token}", "a")


def test_a_segment_by_itself():
    assert quoted_segment("a/b c") == "a%2Fb%20c"
    for dots in (".", ".."):
        with pytest.raises(UnfitPartError):
            quoted_segment(dots)


@pytest.mark.parametrize("part", HOSTILE)
def test_a_part_stays_within_its_string_of_a_text(part):
    parts = {"per": part}
    assert json.loads(fill_text('{"a": "{per}"}', parts, "application/json; charset=utf-8")) == {"a": part}
    assert json.loads(fill_text('["{per}"]', parts, "application/vnd.x+json")) == [part]
    form = fill_text("a={per}&b=1", parts, "application/x-www-form-urlencoded")
    assert parse_qsl(form, keep_blank_values=True) == [("a", part), ("b", "1")]
    assert fill_text("<{per}>", parts, "text/plain") == f"<{part}>"
    assert fill_text("<{per}>", parts, None) == f"<{part}>"


@pytest.mark.parametrize("part", ["</u><admin/>", "&amp;", "\"' x='", "\u00fc"])
def test_a_part_stays_within_its_element_or_attribute(part):
    element = ET.fromstring(fill_text('<u n="{per}">{per}</u>', {"per": part}, "text/xml"))
    assert (element.tag, element.text, element.attrib, len(element)) == ("u", part, {"n": part}, 0)
