"""The upstream's links, called as they are called here."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forward.rewrite import MAX_BODY, Links, body, find, mended, section, wants_body

LINKS = Links(b"api.example", 443, b"/v2", scheme=b"http", authority=b"127.0.0.1:8080", prefix=b"/crm")
ROOT = Links(b"api.example", 443, b"", scheme=b"https", authority=b"side.local", prefix=b"/crm")


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        (b"https://api.example/v2/a?b#c", b"http://127.0.0.1:8080/crm/a?b#c"),
        (b"HTTPS://API.example:443/v2", b"http://127.0.0.1:8080/crm"),
        (b"wss://api.example/v2/stream?t=1", b"ws://127.0.0.1:8080/crm/stream?t=1"),
        (b"//api.example/v2/x", b"//127.0.0.1:8080/crm/x"),
        (b"https://api.example/v22/a", None),
        (b"https://api.example/other", None),
        (b"https://api.example:8443/v2/a", None),
        (b"http://api.example/v2/a", None),
        (b"https://api.example.evil/v2/a", None),
        (b"https://user@api.example/v2/a", None),
        (b"mailto:a@api.example", None),
        (b"/v2/a", None),
    ],
)
def test_only_urls_below_the_upstreams_own_come_back_as_ours(url, moved):
    assert LINKS.url(url) == (moved or url)


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        (b"/v2/a?x=/v2", b"/crm/a?x=/v2"),
        (b"/v2", b"/crm"),
        (b"/other", b"/other"),
        (b"next", b"next"),
        (b"https://api.example/v2/", b"http://127.0.0.1:8080/crm/"),
    ],
)
def test_a_location_may_be_a_path_too(value, moved):
    assert LINKS.location(value) == moved


def test_an_upstream_without_a_path_reaches_everything():
    assert ROOT.location(b"/x") == b"/crm/x"
    assert ROOT.url(b"wss://api.example") == b"wss://side.local/crm"


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        (b"a=1; Domain=api.example; Path=/v2/x; HttpOnly", b"a=1; Path=/crm/x; HttpOnly"),
        (b"a=1; path=/", b"a=1; Path=/crm"),
        (b"a=1; Path=/elsewhere; Secure", b"a=1; Path=/crm; Secure"),
        (b"a=domain=x", b"a=domain=x"),
    ],
)
def test_cookies_are_for_this_host_and_the_routes_path(value, moved):
    assert LINKS.cookie(value) == moved


def test_a_section_is_changed_in_these_lines_only():
    before = b"\r\nX: https://api.example/v2\r\nlocation:  /v2/a \r\nSet-Cookie: a=1; Path=/v2\r\n"
    assert section(before, LINKS, location=True, cookies=False) == before.replace(b"/v2/a ", b"/crm/a")
    assert section(before, LINKS, location=False, cookies=True) == before.replace(b"Path=/v2", b"Path=/crm")


def test_every_octet_of_the_json_but_the_named_value_stays():
    text = b'{ "n": 1.50e2,\r\n "streamUrl" : "wss:\\/\\/api.example\\/v2\\/s", "other":"https://api.example/v2"}'
    moved = body(text, [], LINKS, ("/streamUrl", "/missing", "/n"))
    assert moved == b'{ "n": 1.50e2,\r\n "streamUrl" : "ws://127.0.0.1:8080/crm/s", "other":"https://api.example/v2"}'


def test_gzip_is_unpacked_and_anything_else_left_alone():
    text = json.dumps({"items": [{"url": "https://api.example/v2/1"}]}).encode()
    assert body(gzip.compress(text), [b"gzip"], LINKS, ("/items/0/url",)) == text.replace(
        b"https://api.example/v2", b"http://127.0.0.1:8080/crm"
    )
    assert body(b"not gzip", [b"gzip"], LINKS, ("/a",)) is None
    assert body(gzip.compress(b" " * (MAX_BODY + 1)), [b"gzip"], LINKS, ("/a",)) is None
    assert body(b'{"a": "\xff"}', [], LINKS, ("/a",)) is None


@pytest.mark.parametrize(
    ("status", "method", "found", "length", "wanted"),
    [
        (200, b"GET", {b"content-type": [b"application/json; charset=utf-8"]}, 10, True),
        (200, b"GET", {b"content-type": [b"application/hal+json"], b"content-encoding": [b"gzip"]}, None, True),
        (200, b"GET", {b"content-type": [b"application/json"], b"content-encoding": [b"br"]}, 10, False),
        (200, b"GET", {b"content-type": [b"text/html"]}, 10, False),
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


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_found_is_what_a_parser_finds(value):
    text = json.dumps(value, ensure_ascii=False)

    def walk(part, pointer):
        if isinstance(part, str):
            found = find(text, pointer)
            assert found is not None
            assert found[0] == part
            assert json.loads(text[found[1] : found[2]]) == part
        elif isinstance(part, dict):
            for key, inner in part.items():
                walk(inner, pointer + "/" + key.replace("~", "~0").replace("/", "~1"))
        elif isinstance(part, list):
            for index, inner in enumerate(part):
                walk(inner, f"{pointer}/{index}")
        else:
            assert find(text, pointer) is None

    walk(value, "")


@given(st.text(), st.text())
def test_whatever_the_body_is_nothing_is_raised(text, pointer):
    find(text, "/" + pointer)
    assert body(text.encode("utf-8", "surrogatepass"), [], LINKS, ("/" + pointer,)) is None or "api.example" in text
