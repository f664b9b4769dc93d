"""What the log is told of an answer: names, and no values."""

from __future__ import annotations

import pytest

from proxy.tokens.answer_names import names_at


@pytest.mark.parametrize(
    ("value", "pointer", "told"),
    [
        ({"data": {"tok": "s3cret", "ttl": 1}}, "/data/token", "at /data: tok, ttl"),
        ({"data": {"tok": "s3cret"}}, "/date/token", "at its root: data"),
        ({}, "/token", "at its root: an empty object"),
        ({"data": "s3cret"}, "/data/token", "at /data: a string"),
        ({"data": ["s3cret", 1]}, "/data/token", "at /data: a list of 2"),
        (7, "/token", "at its root: a number"),
        (None, "", "at its root: true, false or null"),
        ({"a/b": {"x": True}}, "/a~1b/x/y", "at /a~1b/x: true, false or null"),
    ],
)
def test_the_names_are_told_as_far_as_the_pointer_leads(value, pointer, told):
    assert names_at(value, pointer) == told


def test_a_name_that_may_be_a_value_is_only_counted():
    secrets = (
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "4f3c2b1a0d9e8f7a6b5c",
        "ann@example.org",
        "two words",
        "a" * 64,
    )
    assert names_at(dict.fromkeys((*secrets, "ok"), 1), "/token") == "at its root: ok, 5 others"


def test_no_more_than_twenty_names_are_told():
    letters = [chr(ord("a") + n) for n in range(26)]
    assert names_at(dict.fromkeys(letters, 1), "/0").endswith("t, 6 others")
