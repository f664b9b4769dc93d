from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.template import MissingPartError, fill, places

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
    assert fill('{"x": {unknown} {} {{per}}', PARTS) == '{"x": {unknown} {} {tenant}'


def test_parts_can_be_escaped_and_the_template_is_not():
    assert fill("/t?x=1&p={per}", {"per": "a/b&c"}, lambda part: quote(part, safe="")) == "/t?x=1&p=a%2Fb%26c"


@pytest.mark.parametrize("parts", [{}, {"refresh_token": None}])
def test_a_part_that_is_missing_is_named(parts):
    with pytest.raises(MissingPartError, match="refresh_token"):
        fill(["{refresh_token}"], parts)


def test_an_empty_part_is_not_a_missing_one():
    assert fill("<{per}>", {"per": ""}) == "<>"


def test_the_parts_that_a_template_asks_for_are_known():
    assert places({"a": ["{per}", {"b": "{access_token}{nothing}"}], "c": 7}) == {"per", "access_token"}


@given(JSON)
def test_a_value_that_asks_for_nothing_is_left_as_it_is(value):
    if not places(value):
        assert fill(value, {}) == value
