from __future__ import annotations

import pytest

from proxy.config.no_proxy import NoProxy


@pytest.mark.parametrize(
    ("host", "port", "entry", "direct"),
    [
        ("internal.example", 443, "internal.example", True),
        ("a.internal.example", 443, "internal.example", True),
        ("A.Internal.Example", 443, ".internal.EXAMPLE", True),
        ("internal.example", 443, ".internal.example", True),
        ("a.internal.example", 443, "*.internal.example", True),
        ("internal.example.", 443, "internal.example", True),
        ("internal.example", 443, "internal.example.", True),
        ("notinternal.example", 443, "internal.example", False),
        ("notinternal.example", 443, "*.internal.example", False),
        ("internal.example.evil", 443, "internal.example", False),
        ("my_service", 8080, "my_service", True),
        ("anything", 1, "*", True),
        ("10.1.2.3", 1, "*", True),
        ("10.0.0.7", 443, "10.0.0.7", True),
        ("10.0.0.70", 443, "10.0.0.7", False),
        ("10.200.0.7", 443, "10.0.0.0/8", True),
        ("11.0.0.7", 443, "10.0.0.0/8", False),
        ("10.0.0.7", 443, "10.1.2.3/8", True),
        ("10.0.0.7", 443, "0.0.0.0/0", True),
        ("name.example", 443, "0.0.0.0/0", False),
        ("10.example", 443, "10.0.0.0/8", False),
        ("::1", 443, "10.0.0.0/8", False),
        ("10.0.0.7", 443, "fd00::/8", False),
        ("fd12::1", 443, "fd00::/8", True),
        ("[fd12::1]", 443, "fd00::/8", True),
        ("fd12::1", 443, "[fd00::]/8", True),
        ("::1", 443, "::1", True),
        ("[0:0::1]", 443, "[::1]", True),
        ("::ffff:10.0.0.7", 443, "10.0.0.0/8", True),
        ("10.0.0.7", 443, "::ffff:10.0.0.7", True),
        ("host", 8443, "host:8443", True),
        ("a.host", 8443, "host:8443", True),
        ("a.host", 8443, ".host:8443", True),
        ("host", 443, "host:8443", False),
        ("10.0.0.7", 8443, "10.0.0.7:8443", True),
        ("10.0.0.7", 443, "10.0.0.7:8443", False),
        ("::1", 8443, "[::1]:8443", True),
        ("::1", 443, "[::1]:8443", False),
    ],
)
def test_what_is_reached_directly(host, port, entry, direct):
    assert NoProxy(["other.example", entry, "192.0.2.0/24"]).covers(host, port) is direct


def test_without_entries_every_host_is_reached_through_the_proxy():
    assert not NoProxy([]).covers("localhost", 80)
    assert not NoProxy([]).covers("127.0.0.1", 80)


@pytest.mark.parametrize(
    "entry",
    [
        "", " ", ".", "*.", "a b", "a,b", "http://a", "https://a/", "a/b", "a:", "a:0", "a:65536", "a:x", ":80", "u@a",
        "10.0.0.*", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/8:80", "fd00::/129", "[::1", "::1]", "[10.0.0.1]", "[a]",
        "*example", "a.*", "**", "*:80", "1.2.3", "010.0.0.1", "bücher.example", "a\n",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_mistake(entry):
    with pytest.raises(ValueError, match=r"\w"):
        NoProxy(["a.example", entry])
