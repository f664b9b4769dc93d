"""RFC 6901, and that all who read a pointer agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.json_pointer import follow, index_of, parts_of
from proxy.config.secrets import SecretError, extract
from proxy.tokens.answer_reader import found_at

SAID = {
    "foo": ["bar", "baz"], "": "0", "a/b": "1", "c%d": "2", "e^f": "3", "g|h": "4", "i\\j": "5", 'k"l': "6", " ": "7",
    "m~n": "8", "01": "named", "list": [["deep"], {"0": "member"}],
}  # fmt: skip
NOWHERE = [
    "/foo/00", "/foo/01", "/foo/-", "/foo/+1", "/foo/-1", "/foo/2", "/foo/1.0", "/foo/1e0", "/foo/ 1", "/foo/\u0661",
    "/foo/\u00b2", "/foo/", "/foo/length", "/foo/99999999999999999999", "/foo/" + "9" * 5000, "/foo/0/0", "/absent",
    "/m~0n/x", "/list/0/01", "/01/0",
]  # fmt: skip


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo/0", "bar"), ("/foo/1", "baz"), ("/", "0"), ("/a~1b", "1"), ("/c%d", "2"), ("/e^f", "3"), ("/g|h", "4"),
        ("/i\\j", "5"), ('/k"l', "6"), ("/ ", "7"), ("/m~0n", "8"), ("/01", "named"), ("/list/0/0", "deep"),
        ("/list/1/0", "member"),
    ],
)  # fmt: skip
def test_all_readers_find_the_same(pointer, value):
    assert follow(SAID, pointer) == value
    assert extract(json.dumps(SAID), pointer, "it") == value
    assert found_at(SAID, pointer) == value


@pytest.mark.parametrize("pointer", NOWHERE)
def test_all_readers_find_nothing_where_nothing_is(pointer):
    with pytest.raises(LookupError):
        follow(SAID, pointer)
    with pytest.raises(SecretError):
        extract(json.dumps(SAID), pointer, "it")
    assert found_at(SAID, pointer) is None


def test_the_empty_pointer_is_the_whole_value():
    assert follow(SAID, "") is SAID
    assert parts_of("") == []


def test_escapes_are_undone_once():
    assert parts_of("/~01/~00/~10") == ["~1", "~0", "/0"]


@given(st.text())
def test_an_index_is_what_a_number_is_written_as(text):
    index = index_of(text)
    assert index is None or str(index) == text
