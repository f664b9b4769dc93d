"""Answers as servers send them: any charset, marks, forms, cut short."""

from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.body import MAX_REPLY, json_value, members, salvaged, unpacked

SAID = {"name": "José", "access_token": "t", "refresh_token": "r"}
TEXT = json.dumps(SAID, ensure_ascii=False)
CHARSETS = ["iso-8859-1", "ISO-8859-15", "windows-1252", "utf-8", "UTF8", "cp437", "utf-16", "utf-32", "utf-7"]
SPELLED = ["application/json; charset={}", 'application/json;Charset="{}"', "text/plain ; x=1; charset={} ; y"]
NO_CHARSETS = [
    *("none-such", "", '""', "hex", "base64", "rot13", "zlib", "undefined", "idna", "punycode", "unicode_escape"),
    *("a\0b", "utf-16", "\u00e9"),
]
UNREAD = [b"", b"null", b"[]", b"17", b'"t"', b"<a=b>", b"words", b'{"a":', b'{"a":1}x', b"{" * 9000]
content_types = st.none() | st.text(max_size=40).map(lambda name: f"a/b; charset={name}")


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("spelled", SPELLED)
def test_the_declared_charset_is_believed(charset, spelled):
    assert members(TEXT.encode(charset), spelled.format(charset)) == SAID


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("declared", [None, "application/json", "application/json; charset=iso-8859-1"])
def test_a_byte_order_mark_knows_better_than_what_is_declared(encoding, declared):
    assert members(TEXT.encode(encoding), declared) == SAID


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("declared", [None, "application/json; charset=utf-8"])
def test_utf_16_and_32_are_known_by_their_pattern(encoding, declared):
    """RFC 4627 §3."""
    assert members(TEXT.encode(encoding), declared) == SAID


@pytest.mark.parametrize("charset", NO_CHARSETS)
def test_a_charset_that_is_none_or_wrong_is_forgotten(charset):
    assert members(TEXT.encode(), f"application/json; charset={charset}") == SAID


@pytest.mark.parametrize("octet", [b"\xe9", b"\xff", b"\x80", b"\xc3"])
def test_octets_that_do_not_fit_are_replaced(octet):
    said = members(b'{"access_token":"t","name":"Jos' + octet + b'"}')
    assert said == {"access_token": "t", "name": "Jos\ufffd"}
    assert members(b"access_token=t&name=Jos" + octet) == {"access_token": "t", "name": "Jos\ufffd"}


def test_line_breaks_within_strings_are_forgiven():
    assert members(b'{"error":"x","error_description":"a\nb\tc"}') == {"error": "x", "error_description": "a\nb\tc"}


@pytest.mark.parametrize("body", UNREAD)
def test_what_is_neither_an_object_nor_a_form_has_no_members(body):
    assert members(body) is None


def test_an_answer_that_broke_off_is_no_form():
    assert members(b"access_token=t") == {"access_token": "t"}
    assert members(b"access_token=t", whole=False) is None
    assert members(b'{"access_token":"t"}', whole=False) == {"access_token": "t"}


def test_more_than_a_mebibyte_has_no_members():
    assert members(b'{"a":"' + b"a" * MAX_REPLY + b'"}') is None
    assert json_value(b'["' + b"a" * MAX_REPLY + b'"]') is None


def test_any_json_value_is_a_value():
    values: tuple[object, ...] = ([1], "t", 17, True, {"a": []})
    for said in values:
        assert json_value(json.dumps(said).encode("utf-16")) == said
    assert json_value(b"null") is None
    assert json_value(b"a=b") is None


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"refresh_token":"r"', "r"),
        (b'{"refresh_token"\n:\t"r"}garbage', "r"),
        (b'{"x":1}{"refreshToken":"r"}', "r"),
        (b'{"refresh_token":"a\\/b\\u0041\\"c"', 'a/bA"c'),
        (b'{"refresh_token":"r', None),
        (b'{"refresh_token":""', None),
        (b'{"refresh_token":null', None),
        (b'{"refresh_token":"a\\', None),
        (b'{"refresh_token":"\\x"', None),
        (b'{"old_refresh_token":"r"', None),
        (b"x&refresh_token=a%2Bb", "a+b"),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_a_refresh_token_is_salvaged_only_if_it_is_there_to_its_end(body, token):
    assert salvaged(body) == token


def test_it_is_found_under_the_name_that_it_has():
    assert salvaged(b'{"rt":"r","x', names=("rt",)) == "r"
    assert salvaged(b'{"refresh_token":"r","x', names=()) is None
    assert salvaged('{"refresh_token":"r","x'.encode("utf-16")) == "r"


@given(st.binary(max_size=300), content_types, st.booleans())
def test_any_octets_are_read_without_harm(body, content_type, whole):
    said = members(body, content_type, whole=whole)
    assert said is None or isinstance(said, dict)
    token = salvaged(body, content_type, whole=whole)
    assert token is None or isinstance(token, str)
    json_value(body, content_type)


def raw_deflate(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(content) + packing.flush()


@pytest.mark.parametrize(
    "content", [b'{"access_token":"a"}', b"access_token=a&expires_in=3600", b"<html>", b"a" * 5000]
)
@pytest.mark.parametrize("coding", [None, "gzip", "Deflate", "br", "gzip, deflate", ""])
def test_packed_or_not_the_content_is_found_whatever_is_said_of_it(content, coding):
    for body in (content, gzip.compress(content), gzip.compress(gzip.compress(content))):
        assert unpacked(body, coding) == (content, True)
    if coding == "Deflate":
        for body in (zlib.compress(content), raw_deflate(content)):
            assert unpacked(body, coding) == (content, True)


def test_what_was_packed_and_broke_off_is_there_as_far_as_it_goes():
    content = random.Random(7).randbytes(5000).hex().encode()
    for body, coding in ((gzip.compress(content), None), (zlib.compress(content), "deflate")):
        found, whole = unpacked(body[:-500], coding)
        assert content.startswith(found)
        assert (len(found) > 4000, whole) == (True, False)


def test_what_unpacks_without_end_is_cut():
    assert len(unpacked(gzip.compress(b"a" * (50 * MAX_REPLY)), None)[0]) == MAX_REPLY + 1


@given(st.binary(max_size=200), st.sampled_from([None, "gzip", "deflate", "br"]))
def test_any_octets_are_unpacked_without_harm(body, coding):
    assert unpacked(b"\x1f\x8b" + body, coding)[0] is not None
    assert unpacked(body, coding)[0] is not None
