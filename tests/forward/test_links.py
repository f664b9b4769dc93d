"""The upstream's links, called as they are called here."""

from __future__ import annotations

from http.cookiejar import CookieJar
from urllib.request import Request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forward.links import UpstreamNames, UrlRewriter

API = UpstreamNames([b"api.example:443", b"api.example"], secure=True)
ODD = UpstreamNames([b"api.example:8443"], secure=True)
LINKS = UrlRewriter(API, b"/v2", scheme=b"http", authority=b"127.0.0.1:8080", prefix=b"/crm")
ROOT = UrlRewriter(API, b"", scheme=b"https", authority=b"side.local", prefix=b"/crm")
WHOLE = UrlRewriter(API, b"/v2", scheme=b"http", authority=b"side.local", prefix=b"")
ON_ODD_PORT = UrlRewriter(ODD, b"/v2", scheme=b"http", authority=b"side.local", prefix=b"/crm")

OURS = [
    (b"https://api.example/v2/a?b#c", b"http://127.0.0.1:8080/crm/a?b#c"),
    (b"HTTPS://API.example:443/v2", b"http://127.0.0.1:8080/crm"),
    (b"https://api.example./v2/", b"http://127.0.0.1:8080/crm/"),
    (b"https://api.example:/v2?x", b"http://127.0.0.1:8080/crm?x"),
    (b"http://api.example/v2/a", b"http://127.0.0.1:8080/crm/a"),
    (b"http://api.example:80/v2/a", b"http://127.0.0.1:8080/crm/a"),
    (b"http://Api.Example:443/v2/a", b"http://127.0.0.1:8080/crm/a"),
    (b"wss://api.example/v2/stream?t=1", b"ws://127.0.0.1:8080/crm/stream?t=1"),
    (b"ws://api.example/v2/stream#x", b"ws://127.0.0.1:8080/crm/stream#x"),
    (b"//api.example/v2/x", b"//127.0.0.1:8080/crm/x"),
    (b"//api.example:443/v2", b"//127.0.0.1:8080/crm"),
    (b"https://api.example/v2/a%2Fb/../c", b"http://127.0.0.1:8080/crm/a%2Fb/../c"),
]
OTHERS = [
    b"https://api.example/v22/a", b"https://api.example/other", b"https://api.example", b"https://api.example/",
    b"https://api.example?x=/v2", b"https://api.example:8443/v2/a", b"https://api.example.evil/v2/a",
    b"https://xapi.example/v2", b"https://user@api.example/v2/a", b"https://api.example@evil/v2/a",
    b"https://api.example/v2/../admin", b"https://api.example/v2/%2e%2e/admin", b"https://api.example/V2/a",
    b"mailto:a@api.example", b"ftp://api.example/v2/a", b"/v2/a", b"https:/api.example/v2", b"https:///v2/a", b"",
    b"https://[::1/v2/a", b"https://api.example:99999/v2",
]  # fmt: skip


@pytest.mark.parametrize(("url", "moved"), OURS)
def test_urls_below_the_upstreams_own_come_back_as_ours(url, moved):
    assert LINKS.url(url) == moved


@pytest.mark.parametrize("url", OTHERS)
def test_every_other_url_stays_as_it_is(url):
    assert LINKS.url(url) == url
    assert LINKS.text(b"<%b>; rel=next" % url) == b"<%b>; rel=next" % url.replace(b"/v2/a", b"/crm/a", url == b"/v2/a")


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        (b"https://api.example:8443/v2/a", True), (b"http://api.example:8443/v2/a", True),
        (b"wss://api.example:8443/v2/a", True), (b"//api.example:8443/v2/a", True),
        (b"https://api.example/v2/a", False), (b"http://api.example/v2/a", False), (b"//api.example/v2/a", False),
    ],
)  # fmt: skip
def test_at_a_port_of_its_own_an_upstream_is_at_no_other(url, ours):
    assert (ON_ODD_PORT.url(url) != url) is ours


def test_an_upstream_has_the_names_of_its_address_and_of_the_host_that_it_sees():
    places = UpstreamNames([b"10.0.0.5:8080", b"[2001:DB8::1]:8080", b"api.example"], secure=False)
    links = UrlRewriter(places, b"", scheme=b"http", authority=b"side", prefix=b"/x")
    for url in (b"http://10.0.0.5:8080/a", b"http://[2001:db8:0::1]:8080/a", b"https://api.example/a"):
        assert links.url(url) == b"http://side/x/a"
    assert links.may_be_in(b"nothing"), "an IPv6 address has many spellings"


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        (b"/v2/a?x=/v2", b"/crm/a?x=/v2"), (b"/v2", b"/crm"), (b"/v2#a", b"/crm#a"), (b"/v2?a", b"/crm?a"),
        (b"/other", b"/other"), (b"/v22", b"/v22"), (b"/v2/../other", b"/v2/../other"), (b"next", b"next"),
        (b"?page=2", b"?page=2"), (b"https://api.example/v2/", b"http://127.0.0.1:8080/crm/"),
    ],
)  # fmt: skip
def test_a_location_may_be_a_path_too(value, moved):
    assert LINKS.location(value) == moved


def test_an_upstream_without_a_path_and_a_route_without_a_prefix_reach_everything():
    assert ROOT.location(b"/x") == b"/crm/x"
    assert ROOT.location(b"/") == b"/crm/"
    assert ROOT.url(b"wss://api.example") == b"wss://side.local/crm"
    assert WHOLE.location(b"/v2") == b"/"
    assert WHOLE.location(b"/v2?x") == b"/?x"
    assert WHOLE.url(b"https://api.example/v2/x") == b"http://side.local/x"


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        (
            b'<https://api.example/v2/a?page=2>; rel="next", <http://api.example/v2/a?page=9>; rel=last, <o>',
            b'<http://127.0.0.1:8080/crm/a?page=2>; rel="next", <http://127.0.0.1:8080/crm/a?page=9>; rel=last, <o>',
        ),
        (b'</v2/a?page=2>; rel="next"', b'</crm/a?page=2>; rel="next"'),
        (b"</other>; rel=x, <//api.example/v2>", b"</other>; rel=x, <//127.0.0.1:8080/crm>"),
        (b"5; url=https://api.example/v2/x", b"5; url=http://127.0.0.1:8080/crm/x"),
        (b'5; URL="/v2/x"', b'5; URL="/crm/x"'),
        (b"/v2/x", b"/crm/x"),
        (b"https://api.example/v2,https://api.example/v2;x", b"http://127.0.0.1:8080/crm,http://127.0.0.1:8080/crm;x"),
        (b"see (https://api.example/v2) 'wss://api.example/v2'", b"see (http://127.0.0.1:8080/crm) 'ws://127.0.0.1:8080/crm'"),
        (b"https://login/?next=https://api.example/v2/x", b"https://login/?next=http://127.0.0.1:8080/crm/x"),
        (b"xhttps://api.example/v2 a//api.example/v2 ftp://api.example/v2", None),
        (b"https://api.example/v2x, https://api.example.evil/v2, https://api.example-x/v2", None),
        (b"a/v2/x, /v2x", None),
    ],
)  # fmt: skip
def test_urls_among_other_things_are_found_where_they_begin_and_end(value, moved):
    assert LINKS.text(value) == (moved or value)


@pytest.mark.parametrize(
    ("links", "value", "moved"),
    [
        (LINKS, b"a=1; Domain=api.example; Path=/v2/x; HttpOnly", b"a=1; Path=/crm/x; HttpOnly"),
        (LINKS, b"a=1; path=/", b"a=1; Path=/crm"),
        (LINKS, b"a=1; Path=/v2", b"a=1; Path=/crm"),
        (LINKS, b"a=1; Path=/v2/", b"a=1; Path=/crm/"),
        (LINKS, b"a=1;path=/v2/x ;domain=.example", b"a=1; Path=/crm/x"),
        (LINKS, b"a=1; Path=/elsewhere; Secure", b"a=1; Path=/crm; Secure"),
        (LINKS, b"a=1; Path=/v22", b"a=1; Path=/crm"),
        (LINKS, b"a=1; Path=", b"a=1; Path=/crm"),
        (LINKS, b"a=domain=x", b"a=domain=x"),
        (LINKS, b"a=/v2; Expires=Wed, 21 Oct 2026 07:28:00 GMT", b"a=/v2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        (LINKS, b"__Host-a=1; Path=/; Secure", b"__Host-a=1; Path=/; Secure"),
        (LINKS, b"__HOST-a=1; Secure; path=/; Domain=api.example", b"__HOST-a=1; Secure; path=/"),
        (LINKS, b"__Secure-a=1; Secure; Path=/", b"__Secure-a=1; Secure; Path=/crm"),
        (LINKS, b"a=__Host-; Path=/", b"a=__Host-; Path=/crm"),
        (ROOT, b"a=1; Path=/", b"a=1; Path=/crm"),
        (ROOT, b"a=1; Path=/x/", b"a=1; Path=/crm/x/"),
        (WHOLE, b"a=1; Path=/v2", b"a=1; Path=/"),
        (WHOLE, b"a=1;  path=/", b"a=1;  path=/"),
        (WHOLE, b"a=1; Path=/other", b"a=1; Path=/"),
    ],
)
def test_cookies_are_for_this_host_and_the_routes_path(links, value, moved):
    assert links.cookie(value) == moved


def test_a_cookie_without_a_path_that_the_prefix_itself_set_stays_on_its_route():
    at_prefix = UrlRewriter(API, b"/v2", scheme=b"http", authority=b"side", prefix=b"/crm", at_prefix=True)
    assert at_prefix.cookie(b"a=1; Secure") == b"a=1; Secure; Path=/crm"
    assert at_prefix.cookie(b"__Host-a=1; Secure") == b"__Host-a=1; Secure"
    assert LINKS.cookie(b"a=1; Secure") == b"a=1; Secure"


class Told:
    """An answer as the standard library's cookie jar sees it."""

    def __init__(self, cookie: bytes) -> None:
        self.cookie = cookie.decode()

    def info(self):
        return self

    def get_all(self, name, default=None):
        return [self.cookie] if name.lower() == "set-cookie" else default


def goes_to(cookie: bytes, set_at: str, asked: str) -> bool:
    """Whether a client that got this cookie at one URL sends it to the other."""
    jar = CookieJar()
    jar.extract_cookies(Told(cookie), Request(set_at))  # type: ignore[arg-type]
    request = Request(asked)
    jar.add_cookie_header(request)
    return request.has_header("Cookie")


@pytest.mark.parametrize("base", ["", "/v2", "/api/v2"])
@pytest.mark.parametrize("prefix", ["", "/crm", "/a/crm"])
@pytest.mark.parametrize("given", ["/", "{base}", "{base}/", "{base}/x", "{base}/x/", "/api", None])
@pytest.mark.parametrize("below", ["/", "/x", "/x/y", "/z", ""])
@pytest.mark.parametrize("set_below", ["/x/login", "/login", ""])
def test_a_cookie_reaches_its_api_just_where_it_would_without_us(base, prefix, given, below, set_below):
    path = None if given is None else given.format(base=base) or "/"
    cookie = b"a=1" if path is None else b"a=1; Path=%b" % path.encode()
    links = UrlRewriter(
        API, base.encode(), scheme=b"http", authority=b"side.local", prefix=prefix.encode(), at_prefix=not set_below
    )
    api, here = "http://api.example" + base, "http://side.local" + prefix
    below, set_below = (below or "/", set_below or "/") if not prefix else (below, set_below)
    if path is not None and not (set_below + "/").startswith("/x/") and "/x" in path:
        set_below = "/x/login"  # Python's jar refuses a path that does not lead to where the cookie comes from
    if path == "/api" and not base.startswith("/api"):
        return  # of no use to this route
    there = goes_to(cookie, f"{api}{set_below}", f"{api}{below}")
    assert goes_to(links.cookie(cookie), f"{here}{set_below}", f"{here}{below}") is there
    assert prefix == "" or not goes_to(links.cookie(cookie), f"{here}{set_below}", "http://side.local/other/x")


@given(st.binary())
def test_whatever_a_value_is_nothing_is_raised(value):
    for change in (LINKS.url, LINKS.location, LINKS.text, LINKS.cookie):
        assert b"api.example" in value.lower() or b"/v2" in value or change is LINKS.cookie or change(value) == value
    LINKS.cookie(value)


def test_a_text_that_cannot_hold_a_url_of_the_upstream_need_not_be_searched():
    assert LINKS.may_be_in(b'{"a": "https:\\/\\/API.example\\/v2"}')
    assert LINKS.may_be_in(b'{"a": "https://\\u0061pi.example/v2"}')
    assert not LINKS.may_be_in(b'{"a": "https://other.example/v2"}')
