"""One string in a JSON text, and nothing else of it changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.json_members import JsonPlaceError, with_value
from proxy.config.json_pointer import follow


@pytest.mark.parametrize(
    ("body", "parts", "expected"),
    [
        ("{}", ["key"], '{"key":"v"}'),
        ("{ }", ["key"], '{ "key":"v"}'),
        ('{"a": 1 }', ["key"], '{"a": 1 ,"key":"v"}'),
        ('{"key":"mine"}', ["key"], '{"key":"v"}'),
        (' {"key" : {"a":[1]} , "b":1.0}\n', ["key"], ' {"key" : "v" , "b":1.0}\n'),
        ('{"key":1,"a":2,"key":"mine"}', ["key"], '{"key":"v","a":2,"key":"v"}'),
        ('{"\\u006bey":1,"k\\u0065y":2}', ["key"], '{"\\u006bey":"v","k\\u0065y":"v"}'),
        ('{"Key":1,"a":"key"}', ["key"], '{"Key":1,"a":"key","key":"v"}'),
        ('{"a":{"b":1}}', ["a", "key"], '{"a":{"b":1,"key":"v"}}'),
        ('{"a":{},"a":{"key":2}}', ["a", "key"], '{"a":{"key":"v"},"a":{"key":"v"}}'),
        ('{"b":1e400}', ["a", "key"], '{"b":1e400,"a":{"key":"v"}}'),
        ('[{"key":1},{"b":2}]', ["1", "key"], '[{"key":1},{"b":2,"key":"v"}]'),
        ('{"":1}', [""], '{"":"v"}'),
        ('\ufeff{"a":"ä\\ud83d"}', ["k"], '\ufeff{"a":"ä\\ud83d","k":"v"}'),
        ('{"n":' + "9" * 5000 + "}", ["k"], '{"n":' + "9" * 5000 + ',"k":"v"}'),
    ],
)
def test_the_value_stands_where_the_pointer_says_and_every_other_octet_stays(body, parts, expected):
    assert with_value(body.encode(), parts, "v") == expected.encode()


def test_a_value_is_written_as_a_string_of_json():
    assert json.loads(with_value(b"{}", ["k"], 'a"b\\\n\x00ä')) == {"k": 'a"b\\\n\x00ä'}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "this body is none"),
        (b"{", "this body is none"),
        (b"{}x", "this body is none"),
        (b'{"a":1,}', "this body is none"),
        (b'{"a" 1}', "this body is none"),
        (b'{"a":1 "b":2}', "this body is none"),
        (b"{a:1}", "this body is none"),
        (b'{"a":NaN}', "this body is none"),
        (b'{"a":"\x01"}', "this body is none"),
        (b'{"a":hush}', "this body is none"),
        (b'{"a":"\xff"}', "this body is none"),
        (b"key=1", "this body is none"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "this body is none"),
        (b'"text"', "something else stands there"),
        (b"[]", "something else stands there"),
        (b'{"key":7}', "something else stands there"),
        (b'{"key":[1]}', "something else stands there"),
        (b'{"key":{},"key":null}', "something else stands there"),
        (b"{" + b'"key":{},' * 200 + b'"a":1}', "repeats the member"),
    ],
)
def test_what_has_no_place_for_it_is_refused_without_a_word_of_it(body, why):
    with pytest.raises(JsonPlaceError, match=why) as refused:
        with_value(body, ["key", "inner"], "v")
    assert "hush" not in str(refused.value)


def test_an_element_that_is_not_there_is_not_made():
    with pytest.raises(JsonPlaceError, match="too short"):
        with_value(b"[1]", ["1"], "v")
    with pytest.raises(JsonPlaceError, match="none"):
        with_value(b"[1,]", ["0"], "v")
    assert with_value(b"[1, [2]]", ["1"], "v") == b'[1, "v"]'


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "a", ""]), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["key", "a", "b"]), values), st.text(), st.integers(0, 4))
def test_any_reader_finds_the_value_and_the_rest_as_it_was(said, value, indent):
    body = json.dumps(said, ensure_ascii=False, indent=indent or None).encode()
    found = json.loads(with_value(body, ["key"], value))
    assert follow(found, "/key") == value
    assert found == {**said, "key": value}
