"""The parts of an answer that hold the upstream's links, and nothing else of it."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import RewriteResponse
from proxy.forward.json_scanner import JsonScanner
from proxy.forward.links import UpstreamNames, UrlRewriter
from proxy.forward.url_rewriter import MAX_BODY, Rules, body, mended, section, wants_body

LINKS = UrlRewriter(
    UpstreamNames([b"api.example"], secure=True), b"/v2", scheme=b"http", authority=b"127.0.0.1:8080", prefix=b"/crm"
)


def rewritten(text: bytes, *pointers: str, encodings: tuple[bytes, ...] = ()) -> bytes | None:
    return body(text, list(encodings), LINKS, JsonScanner(pointers))


def test_a_section_is_changed_in_these_lines_only():
    before = (
        b"\r\nX: https://api.example/v2\r\nlocation:  /v2/a \r\nSet-Cookie: a=1; Path=/v2\r\nlink: </v2/b>\r\n"
        b"Link: <https://api.example/v2/c>; rel=next\r\nContent-Location: /v2/d\r\n"
    )
    location = before.replace(b"/v2/a ", b"/crm/a").replace(b"/v2/d", b"/crm/d")
    assert section(before, LINKS, Rules(RewriteResponse(location=True))) == location
    assert section(before, LINKS, Rules(RewriteResponse(cookies=True))) == before.replace(b"Path=/v2", b"Path=/crm")
    links = before.replace(b"</v2/b>", b"</crm/b>").replace(b"<https://api.example/v2", b"<http://127.0.0.1:8080/crm")
    assert section(before, LINKS, Rules(RewriteResponse(headers=("LINK",)))) == links
    assert section(before, LINKS, Rules(RewriteResponse(headers=("x",)))) == before.replace(
        b"X: https://api.example/v2", b"X: http://127.0.0.1:8080/crm"
    )
    assert section(before, LINKS, Rules(RewriteResponse())) == before


def test_what_two_rules_name_is_changed_once():
    rules = Rules(RewriteResponse(location=True, cookies=True, headers=("Location", "Set-Cookie")))
    same = UrlRewriter(
        UpstreamNames([b"api.example"], secure=True), b"/a", scheme=b"https", authority=b"api.example", prefix=b"/a/a"
    )
    before = b"\r\nLocation: https://api.example/a/x\r\nSet-Cookie: b=1; Path=/a/x\r\n"
    assert section(before, same, rules) == before.replace(b"/a/x", b"/a/a/x")


def test_white_space_stays_where_nothing_moves():
    before = b"\r\nLocation: \t https://other.example/v2  \r\nSet-Cookie:a=1 \r\nLink:  <x> \r\n"
    assert section(before, LINKS, Rules(RewriteResponse(location=True, cookies=True, headers=("Link",)))) == before


def test_every_octet_of_the_json_but_the_named_value_stays():
    text = b'{ "n": 1.50e2,\r\n "streamUrl" : "wss:\\/\\/api.example\\/v2\\/s", "other":"https://api.example/v2"}'
    assert rewritten(text, "/streamUrl", "/missing", "/n") == (
        b'{ "n": 1.50e2,\r\n "streamUrl" : "ws://127.0.0.1:8080/crm/s", "other":"https://api.example/v2"}'
    )


def test_every_named_value_is_changed_and_a_name_that_is_repeated_each_time():
    text = b'{"a":"https://api.example/v2/1","l":["x","//API.example/v2/2"],"a":"http://api.example/v2/3","b":"no"}'
    assert rewritten(text, "/l/1", "/a", "/b") == (
        b'{"a":"http://127.0.0.1:8080/crm/1","l":["x","//127.0.0.1:8080/crm/2"],"a":"http://127.0.0.1:8080/crm/3","b":"no"}'
    )


def test_gzip_is_unpacked_and_anything_else_left_alone():
    text = json.dumps({"items": [{"url": "https://api.example/v2/1"}]}).encode()
    assert rewritten(gzip.compress(text), "/items/0/url", encodings=(b"gzip",)) == text.replace(
        b"https://api.example/v2", b"http://127.0.0.1:8080/crm"
    )
    packed = gzip.compress(b'{"a": "https://api.example/v2"}')
    assert rewritten(packed, "/a", encodings=(b"GZIP",))
    for left_alone in (
        b"not gzip",
        packed[:-1],
        packed + b"x",
        gzip.compress(b" " * (MAX_BODY + 1) + b'"api.example"'),
    ):
        assert rewritten(left_alone, "/a", encodings=(b"gzip",)) is None
    assert rewritten(b'{"a": "https://api.example/v2/\xff"}', "/a") is None
    assert rewritten(b'{"a": "https://api.example/v2/\\ud800"}', "/a") == b'{"a": "http://127.0.0.1:8080/crm/\\ud800"}'


@pytest.mark.parametrize(
    ("status", "method", "found", "length", "wanted"),
    [
        (200, b"GET", {b"content-type": [b"application/json; charset=utf-8"]}, 10, True),
        (200, b"GET", {b"content-type": [b"application/hal+json"], b"content-encoding": [b"gzip"]}, None, True),
        (200, b"GET", {b"content-type": [b"application/json"], b"content-encoding": [b"br"]}, 10, False),
        (200, b"GET", {b"content-type": [b"application/json"], b"content-encoding": [b"gzip, gzip"]}, 10, False),
        (200, b"GET", {b"content-type": [b"text/html"]}, 10, False),
        (200, b"GET", {b"content-type": [b"application/json"]}, MAX_BODY, True),
        (200, b"GET", {b"content-type": [b"application/json"]}, MAX_BODY + 1, False),
        (206, b"GET", {b"content-type": [b"application/json"]}, 10, False),
        (304, b"GET", {b"content-type": [b"application/json"]}, None, False),
        (200, b"HEAD", {b"content-type": [b"application/json"]}, 10, False),
    ],
)
def test_bodies_that_are_looked_into(status, method, found, length, wanted):
    assert wants_body(status, method, found, length) is wanted


def test_a_changed_body_loses_what_spoke_of_the_old_octets():
    before = b"\r\nETag: x\r\nContent-Encoding: gzip\r\nX: 1\r\nContent-Length: 5\r\nContent-Digest: y\r\n"
    assert mended(before, 7) == b"\r\nX: 1\r\nContent-Length: 7\r\n"


@given(st.text(), st.text())
def test_whatever_the_body_is_nothing_is_raised(text, pointer):
    rewritten(text.encode("utf-8", "surrogatepass"), "/" + pointer)


@pytest.mark.parametrize(
    "line",
    [
        b"Set-Cookie: a=1; Path=/v2\r\n", b"Set-Cookie: " + b"; " * 500 + b"\r\n",
        b"Set-Cookie: a;" + b" " * 30000 + b"\r\n",
        b"Link: //x,//x,//x,//api.example/v2,</v2>\r\n", b"Link: " + b"//,<" * 300 + b"\r\n",
        b"Link: " + b"https:" * 5000 + b"\r\n", b"Location: " + b"/v2/../" * 100 + b"\r\n",
    ],
)  # fmt: skip
def test_the_longest_head_takes_a_moment_whatever_it_holds(line):
    rules = Rules(RewriteResponse(location=True, cookies=True, headers=("Link",)))
    before = b"\r\n" + line * (32 * 1024 // len(line))  # an answer's head is no longer
    took = []
    for _ in range(3):
        start = time.thread_time()
        section(before, LINKS, rules)
        took.append(time.thread_time() - start)
    assert min(took) < 0.05


def test_a_whole_body_takes_a_moment_whatever_it_holds():
    text = b'{"a":"https://api.example/v2","l":[' + b"0," * ((MAX_BODY - 100) // 2) + b'0],"streamUrl":""}'
    packed, took = gzip.compress(text), []
    for _ in range(3):
        start = time.thread_time()
        assert rewritten(packed, "/a", "/l/1000", "/streamUrl", encodings=(b"gzip",)) is not None
        took.append(time.thread_time() - start)
    assert min(took) < 0.05


@pytest.mark.parametrize("path", [b"a/../", b"%2e", b"%25", b"%252e", b"/..;", b"%2f..", b"\\\\..", b"a"])
@pytest.mark.parametrize("many", [1, 2, 64])
def test_long_links_take_a_moment_whatever_is_in_them(path, many):
    """Values of a length that no URL has stay as they are, one or all of them together."""
    one = b'"a":"https://api.example/v2/' + path * ((MAX_BODY - 100) // many // len(path) - 10) + b'",'
    text = b"{" + one * many + b'"b":0}'
    took = []
    for _ in range(2):
        start = time.thread_time()
        assert rewritten(text, "/a") is None
        took.append(time.thread_time() - start)
    assert min(took) < 0.1


def test_links_as_long_as_a_head_are_changed():
    text = b'{"a":"https://api.example/v2/' + b"a" * 32_000 + b'","b":"https://api.example/v2/"}'
    assert rewritten(text, "/a", "/b") == text.replace(b"https://api.example/v2", b"http://127.0.0.1:8080/crm")
