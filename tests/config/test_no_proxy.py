from __future__ import annotations

import pytest

from proxy.config.no_proxy import is_direct


@pytest.mark.parametrize(
    ("host", "pattern", "direct"),
    [
        ("internal.example", "internal.example", True),
        ("a.internal.example", "internal.example", True),
        ("A.Internal.Example", ".internal.EXAMPLE", True),
        ("notinternal.example", "internal.example", False),
        ("internal.example.evil", "internal.example", False),
        ("10.0.0.7", "10.0.0.*", True),
        ("10.0.1.7", "10.0.0.*", False),
        ("anything", "*", True),
    ],
)
def test_a_name_stands_for_itself_and_what_is_below_it(host, pattern, direct):
    assert is_direct(host, ["other.example", pattern]) is direct


def test_without_patterns_every_host_is_reached_through_the_proxy():
    assert not is_direct("localhost", [])
