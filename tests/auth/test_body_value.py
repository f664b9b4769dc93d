"""A value in the request's own body."""

from __future__ import annotations

import pytest
from support.signing import answer, moment, request, token

from proxy.auth.body_value import BodyScheme, UnfitBodyError, reframed
from proxy.errors import ConfigurationError
from proxy.model import Verdict

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
IN_JSON, IN_FORM = BodyScheme(json_pointer="/a~1b/key"), BodyScheme(form="api key")


def placed(scheme, body, kind, method=b"POST"):
    return scheme.place(request(method, content_type=kind, body=body), token("v&=ü"), moment()).body


@pytest.mark.parametrize(
    "kind", [JSON, b"application/vnd.x+json; charset=UTF-8", b"Text/JSON", b'application/json;charset="us-ascii"']
)
def test_a_member_of_a_json_body_becomes_the_token(kind):
    assert placed(IN_JSON, b'{"a/b":{"key":1}, "c":2}', kind) == '{"a/b":{"key":"v&=ü"}, "c":2}'.encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", b"api%20key=v%26%3D%C3%BC"),
        (b"a=1&b", b"a=1&b&api%20key=v%26%3D%C3%BC"),
        (b"api+key=mine&a=1&%61pi%20key=mine;api+key", b"a=1&api%20key=v%26%3D%C3%BC"),
    ],
)
def test_a_parameter_of_a_form_becomes_the_token(body, expected):
    assert placed(IN_FORM, body, FORM) == expected


def test_an_empty_body_of_json_counts_as_an_empty_object():
    assert placed(BodyScheme(json_pointer="/k"), b"", JSON) == '{"k":"v&=ü"}'.encode()
    assert placed(BodyScheme(json_pointer="/k"), None, JSON) == '{"k":"v&=ü"}'.encode()


@pytest.mark.parametrize(
    ("scheme", "kind", "method", "body"),
    [
        (IN_JSON, FORM, b"POST", b"a=hush"),
        (IN_JSON, None, b"POST", b'{"a":"hush"}'),
        (IN_JSON, b"application/jsonp", b"POST", b'{"a":"hush"}'),
        (IN_JSON, b"application/json; charset=utf-16", b"POST", '{"a":"hush"}'.encode("utf-16")),
        (IN_JSON, JSON, b"POST", b"hush"),
        (IN_JSON, JSON, b"GET", b""),
        (IN_FORM, JSON, b"PUT", b'{"a":"hush"}'),
        (IN_FORM, b"multipart/form-data; boundary=x", b"POST", b"--x"),
        (IN_FORM, FORM, b"HEAD", b""),
    ],
)
def test_a_body_that_cannot_hold_it_is_the_callers_mistake_and_is_not_quoted(scheme, kind, method, body):
    with pytest.raises(UnfitBodyError) as refused:
        placed(scheme, body, kind, method)
    assert refused.value.status == 400
    assert "hush" not in str(refused.value)
    assert "v&" not in str(refused.value)


@pytest.mark.parametrize("keys", [{}, {"json_pointer": "/a", "form": "a"}, {"json_pointer": ""}, {"form": ""}])
def test_it_stands_in_one_place(keys):
    with pytest.raises(ConfigurationError):
        BodyScheme(**keys)


def test_nothing_is_added_to_the_head_and_a_401_asks_for_a_newer_value():
    assert IN_FORM.sign(request(), token(), moment()) == []
    assert IN_FORM.judge(request(), answer(401)) is Verdict.RENEW
    assert IN_FORM.judge(request(), answer(403)) is Verdict.PASS


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"A: b\r\nCONTENT-length: 5\r\nC: d\r\n", b"A: b\r\nContent-Length: 7\r\nC: d\r\n"),
        (b"A: b\r\nTransfer-Encoding: chunked\r\n", b"A: b\r\nContent-Length: 7\r\n"),
        (b"A: b\r\n", b"A: b\r\nContent-Length: 7\r\n"),
        (
            b"Digest: a\r\ncontent-md5: b\r\nContent-Digest: c\r\nRepr-Digest: d\r\nTrailer: E\r\n",
            b"Content-Length: 7\r\n",
        ),
        (b"Content-Encoding: identity\r\n", b"Content-Encoding: identity\r\nContent-Length: 7\r\n"),
    ],
)
def test_the_length_is_mended_and_what_speaks_of_the_old_octets_goes(lines, expected):
    assert reframed(b"\r\n" + lines, 7) == b"\r\n" + expected


def test_a_packed_body_cannot_hold_it():
    with pytest.raises(UnfitBodyError, match="Content-Encoding"):
        reframed(b"\r\nContent-Encoding: gzip\r\n", 7)
