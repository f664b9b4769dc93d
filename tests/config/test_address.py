"""Addresses and URLs as the configuration writes them."""

from __future__ import annotations

import pytest

from proxy.config.address import (
    Address,
    escapes,
    is_address,
    is_host,
    is_loopback,
    is_prohibited,
    parse_address,
    parse_url,
    port_of,
)


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("127.9.9.9:0", Address("127.9.9.9", 0), True),
        ("LocalHost:80", Address("localhost", 80), True),
        ("[::1]:65535", Address("::1", 65535), True),
        ("[0:0::1]:1", Address("::1", 1), True),
        ("[::]:1", Address("::", 1), False),
        ("0.0.0.0:1", Address("0.0.0.0", 1), False),
        ("a-b.example:1", Address("a-b.example", 1), False),
        ("unix:/run/x:1", Address("", 0, "/run/x:1"), True),
    ],
)
def test_an_address_is_a_host_and_a_port_or_a_socket(text, address, loopback):
    assert parse_address(text) == address
    assert address.loopback is loopback


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ":1",
        "x:",
        "x:-1",
        "x:65536",
        "x:1_0",
        "x:٣",
        "1.2.3:1",
        "1.2.3.4.5:1",
        "a b:1",
        "[x]:1",
        "[1.2.3.4]:1",
        "[::1]",
        "::1:1",
        "unix:",
        "-a:1",
        "a..b:1",
    ],
)
def test_what_nobody_can_listen_on_is_no_address(text):
    with pytest.raises(ValueError, match=r"^an? |^the |^what |^a port"):
        parse_address(text)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("0.0.0.0:80", "10.0.0.1:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("localhost:80", "[::1]:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "127.0.0.1:0", False),
    ],
)
def test_two_listeners_meet_on_one_port_of_one_host(one, other, meet):
    assert parse_address(one).meets(parse_address(other)) is meet
    assert parse_address(other).meets(parse_address(one)) is meet


@pytest.mark.parametrize(
    ("listener", "host", "port", "reached"),
    [
        ("127.0.0.1:80", "localhost", 80, True),
        ("127.0.0.1:80", "localhost", 81, False),
        ("0.0.0.0:80", "127.0.0.1", 80, True),
        ("0.0.0.0:80", "api.example", 80, False),
        ("127.0.0.1:80", "0.0.0.0", 80, True),
        ("127.0.0.1:80", "127.0.0.2", 80, False),
        ("me.example:80", "ME.example", 80, True),
        ("unix:/a", "localhost", 0, False),
    ],
)
def test_a_url_that_leads_to_a_listener_is_known(listener, host, port, reached):
    assert parse_address(listener).reached_by(host, port) is reached


def test_hosts_and_loopback():
    assert all(map(is_host, ("a", "a_b", "xn--x", "1a", "a.b.", "1.2.3.4", "[::1]")))
    assert not any(
        map(is_host, ("", ".", "..", "a b", "a/b", "1.2.3", "[::1", "::1", "[1.2.3.4]", "ä", "a" * 64, "a:1"))
    )
    assert all(map(is_loopback, ("localhost", "LOCALHOST.", "127.1.2.3", "::1", "[::1]")))
    assert not any(map(is_loopback, ("localhost.example", "128.0.0.1", "::", "0.0.0.0", "a")))


def test_ports_follow_from_the_scheme():
    assert [port_of(parse_url(url)) for url in ("http://a", "https://a/b", "https://a:8443", "http://[::1]:81/")] == [
        80,
        443,
        8443,
        81,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/a",
        "a.b/c",
        "ftp://a",
        "https:a",
        "https://",
        "https:///a",
        "https://a b",
        "https://ä",
        "https://a:x",
        "https://a:",
        "https://a:0",
        "https://u@a",
        "https://[::1",
        "https://a?b",
        "https://a/?",
        "https://a#",
        "https://a\n",
        "https://a\\b",
    ],
)
def test_what_leads_nowhere_is_no_url(text):
    with pytest.raises(ValueError, match=r"^a URL |^this |^a host name "):
        parse_url(text)


def test_a_query_is_good_where_it_is_allowed():
    assert parse_url("https://a/?b=c", query=True).query == "b=c"


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("", False),
        ("/", False),
        ("/a/.well-known/...", False),
        ("/a/..b", False),
        ("/a/..", True),
        ("/./a", True),
        ("/a/%2e%2E/b", True),
        ("/a%2f..", True),
        ("/a%5c.%2e;x/b", True),
    ],
)
def test_dots_in_a_path_are_seen_through_every_spelling(path, has):
    assert escapes(path) is has


@pytest.mark.parametrize(
    "text",
    [
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "fe80::1",
        "[febf::1]",
        "fe80::1%eth0",
        "::ffff:169.254.1.1",
        "2002:a9fe:0101::1",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_no_api_is_at_an_address_that_is_link_local_or_nobody_s_or_serves_a_machine_its_own_credentials(text):
    assert is_prohibited(text)
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["169.253.1.1", "10.0.0.1", "127.0.0.1", "[::1]", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "a.b", ""]
)
def test_an_api_may_be_at_any_other_address_or_name(text):
    assert not is_prohibited(text)
