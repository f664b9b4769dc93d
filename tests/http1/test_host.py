from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import MalformedRequest
from proxy.http1.host import HostGuard, parse_host

WELL_FORMED = [
    (b"localhost", (b"localhost", None)),
    (b"LocalHost:8080", (b"localhost", 8080)),
    (b"api.Example.com", (b"api.example.com", None)),
    (b"api_internal", (b"api_internal", None)),
    (b"127.0.0.1:80", (b"127.0.0.1", 80)),
    (b"a:", (b"a", None)),
    (b"a:0", (b"a", 0)),
    (b"a:00080", (b"a", 80)),
    (b"a:65535", (b"a", 65535)),
    (b"a%2Db", (b"a%2db", None)),
    (b"a!$&'()*+;=~", (b"a!$&'()*+;=~", None)),
    (b"[::1]", (b"[::1]", None)),
    (b"[::1]:8080", (b"[::1]", 8080)),
    (b"[0:0:0:0:0:0:0:1]", (b"[::1]", None)),
    (b"[2001:DB8::A]:443", (b"[2001:db8::a]", 443)),
    (b"[::ffff:127.0.0.1]", (b"[::ffff:7f00:1]", None)),
    (b"[V1.fe80::a+en1]:1", (b"[v1.fe80::a+en1]", 1)),
]

MALFORMED = [
    b"", b" ", b":80", b"a b", b" a", b"a ", b"a/b@c", b"user@a", b"user:secret@a:80", b"a,b", b"a, b", b"a/b", b"a?b",
    b"a#b", b"http://a", b"a:b", b"a:80:80", b"a:-1", b"a:+80", b"a:65536", b"a:999999", b"a:8_0", b"a: 80", b"a:80 ",
    b"a\tb", b"a\x00", b"a\\b", b'a"b', b"a<b>", b"a%", b"a%2", b"a%zz", b"caf\xe9", "bücher.example".encode(),
    b"::1", b"[::1", b"::1]", b"[::1]a", b"[]", b"[:]", b"[::1%25eth0]", b"[::1%eth0]", b"[1.2.3.4]", b"[:::1]",
    b"[v1]", b"[v1.]", b"[1:2:3:4:5:6:7:8:9]", b"[vx.a]", b"[::1]:65536", b"a" * 256, "a:٨٠".encode(),
]  # fmt: skip


@pytest.mark.parametrize(("value", "parsed"), WELL_FORMED)
def test_a_host_is_read_in_one_form(value, parsed):
    host, port = parse_host(value)

    # an address with an IPv4 address in it is spelled differently by different versions of Python
    assert (_spelled(host), port) == (_spelled(parsed[0]), parsed[1])


def _spelled(host: bytes) -> bytes:
    if host.startswith(b"[") and not host.startswith(b"[v"):
        return ipaddress.IPv6Address(host[1:-1].decode()).packed
    return host


@pytest.mark.parametrize("value", MALFORMED)
def test_whatever_is_no_host_is_refused_every_time(value):
    for _ in range(2):
        with pytest.raises(MalformedRequest) as refusal:
            parse_host(value)
        assert "secret" not in repr(refusal.value)


@given(st.binary(max_size=40))
def test_no_octets_raise_anything_else(value):
    try:
        host, port = parse_host(value)
    except MalformedRequest:
        return
    assert host == host.lower()
    assert port is None or 0 <= port <= 65535
    assert parse_host(host) == (host, None)


@given(st.ip_addresses(v=6), st.integers(0, 65535))
def test_an_ipv6_address_is_one_name_however_it_is_written(address, port):
    assert parse_host(f"[{address}]:{port}".encode()) == parse_host(f"[{address.exploded.upper()}]:{port}".encode())


DEFAULT = HostGuard(["localhost", "127.0.0.1", "[::1]"])


@pytest.mark.parametrize(
    "value", [b"localhost", b"LOCALHOST:1", b"127.0.0.1:8080", b"[::1]:8080", b"[0:0:0:0:0:0:0:1]", b"localhost:"]
)
def test_an_allowed_name_is_allowed_with_any_port_and_in_any_case(value):
    assert DEFAULT.allows(value)


@pytest.mark.parametrize(
    "value",
    [
        b"evil.example",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"xlocalhost",
        b"[::2]",
        b"localhost.",
        b"127.1",
    ],
)
def test_any_other_name_is_not(value):
    assert not DEFAULT.allows(value)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [(b"a.example:8443", True), (b"A.EXAMPLE:8443", True), (b"a.example:8444", False), (b"a.example", False)],
)
def test_an_entry_with_a_port_allows_that_port_only(value, allowed):
    assert HostGuard(["a.example:8443"]).allows(value) is allowed


def test_a_host_without_a_port_means_the_listeners_own():
    assert HostGuard(["a.example:80"]).allows(b"a.example")
    assert not HostGuard(["a.example:80"], default_port=443).allows(b"a.example")
    assert HostGuard(["a.example:443"], default_port=443).allows(b"a.example:")


def test_an_empty_list_allows_every_host():
    assert HostGuard([]).allows(b"anything.example:1234")


@pytest.mark.parametrize("guard", [DEFAULT, HostGuard([])])
def test_what_is_no_host_is_malformed_and_not_merely_forbidden(guard):
    with pytest.raises(MalformedRequest):
        guard.allows(b"localhost/@evil.example")


def test_a_bare_ipv6_address_is_forgiven_its_brackets_in_the_list():
    assert HostGuard(["::1"]).allows(b"[::1]:8080")


@pytest.mark.parametrize("entry", ["", "a b", "http://a", "bücher.example", "[::1", "a/b"])
def test_an_entry_that_is_no_host_is_refused_when_the_list_is_made(entry):
    with pytest.raises(ValueError, match="not a host"):
        HostGuard(["localhost", entry])
