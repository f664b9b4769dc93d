"""What a request's URI is called in a signature."""

from __future__ import annotations

import pytest
from support.signing import request

from proxy.auth.uri import as_uri, base_url, origin_of, signed_uri
from proxy.errors import ConfigurationError
from proxy.model import Request


@pytest.mark.parametrize(
    ("scheme", "authority", "expected"),
    [
        ("http", b"EXAMPLE.COM:80", "http://example.com"),
        ("https", b"www.example.net:8080", "https://www.example.net:8080"),
        ("HTTPS", b"a.example:443", "https://a.example"),
        ("http", b"a.example:443", "http://a.example:443"),
        ("https", b"a.example:", "https://a.example"),
        ("https", b"[::1]", "https://[::1]"),
        ("https", b"[2001:DB8::1]:443", "https://[2001:db8::1]"),
        ("http", b"127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_an_origin_has_one_spelling(scheme, authority, expected):
    """E2: RFC 5849 §3.4.1.2, with its two examples first."""
    assert origin_of(scheme, authority) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://EXAMPLE.COM:80/r%20v/X?id=123", ("http://example.com", b"/r%20v/X")),
        ("https://www.example.net:8080/?q=1", ("https://www.example.net:8080", b"/")),
        ("https://a.example", ("https://a.example", b"/")),
        ("https://a.example?q", ("https://a.example", b"/")),
        ("https://a.example/a;b=1//%7e/../%zz?", ("https://a.example", b"/a;b=1//%7e/../%zz")),
    ],
)
def test_the_path_stays_as_it_was_sent(url, expected):
    """E2."""
    assert signed_uri(request(url=url), None) == expected


def test_options_for_the_whole_server_counts_as_its_root():
    everything = Request(b"OPTIONS", "https", b"a.example", b"*")
    assert signed_uri(everything, None) == ("https://a.example", b"/")


@pytest.mark.parametrize(
    ("base", "base_path", "target", "expected"),
    [
        ("https://public.example/base", b"", b"/x?q", ("https://public.example/base", b"/x")),
        ("https://public.example", b"/v2", b"/v2/x", ("https://public.example", b"/x")),
        ("https://public.example", b"/v2", b"/v2", ("https://public.example", b"/")),
        ("https://public.example/base", b"/v2", b"/v2/", ("https://public.example/base", b"/")),
        ("https://public.example/base", b"/v2", b"/v2?q", ("https://public.example/base", b"")),
        ("https://public.example/base", b"/v2", b"/other", ("https://public.example/base", b"/other")),
    ],
)
def test_a_base_stands_in_for_the_upstreams_own_url(base, base_path, target, expected):
    one = Request(b"GET", "http", b"10.0.0.1:8080", target, base_path=base_path)
    assert signed_uri(one, base) == expected


def test_octets_beyond_ascii_are_escaped_because_no_uri_can_hold_them():
    assert as_uri("https://a.example", b"/caf\xc3\xa9/%C3%A9/\xff") == "https://a.example/caf%C3%A9/%C3%A9/%FF"


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("https://Public.Example:443/base/", "https://public.example/base"),
        ("http://public.example:8080", "http://public.example:8080"),
        ("HTTPS://public.example/", "https://public.example"),
    ],
)
def test_a_configured_base_is_normalised(configured, expected):
    assert base_url(configured, "signing_base_url") == expected


@pytest.mark.parametrize(
    "configured",
    [
        "public.example/base",
        "ftp://public.example",
        "https:///base",
        "https://user@public.example",
        "https://public.example/?",
        "https://public.example/#x",
        "https://public.example:port",
        "https://[::1",
        "https://ü.example",
        "https://public.example/ü",
    ],
)
def test_what_cannot_be_a_base_is_a_configuration_error_that_names_the_option(configured):
    with pytest.raises(ConfigurationError, match=r"^dpop\.htu_base: "):
        base_url(configured, "dpop.htu_base")
