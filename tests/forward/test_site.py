"""May it come in, and where to?"""

from __future__ import annotations

import pytest
from support.front import Gate, request

from proxy.config import schema
from proxy.routes import Routes


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/crm", "localhost", 200),
        ("/crm", "LOCALHOST:9", 200),
        ("/crm", "127.0.0.1:8080", 200),
        ("/crm", "evil.example", 403),
        ("/crm", "localhost.evil.example", 403),
        ("/crm", "a/b@localhost", 400),
        ("/crm", "localhost,evil.example", 400),
        ("/crm", "", 400),
        ("http://localhost/crm", "evil.example", 200),
        ("http://evil.example/crm", "localhost", 403),
        ("http://localhost@evil.example/crm", "localhost", 400),
        ("ftp://localhost/crm", "localhost", 400),
        ("crm", "localhost", 400),
        ("/crm#x", "localhost", 400),
        ("*", "localhost", 400),
    ],
)
async def test_only_allowed_hosts_come_in_whatever_form_the_target_has(upstream, target, host, status):
    """Rows 9, 10 and 11."""
    octets = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(octets)).status == status
    assert len(upstream.requests) == (status == 200)
    for one in upstream.requests:
        assert one.field(b"host") == upstream.authority.encode()


async def test_hosts_tell_routes_apart(upstream):
    one = {"match": schema.Match(path="/crm", host="one.example"), "tokens": None}
    async with Gate(upstream.url, hosts=("localhost", "one.example"), more_routes=(one,)) as gate:
        await gate.ask(request())
        await gate.ask(request().replace(b"localhost", b"one.example"))
        await gate.ask(b"GET http://one.example/crm HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [one.field(b"authorization") is None for one in upstream.requests] == [False, True, True]


async def test_without_names_any_host_may_come(upstream):
    async with Gate(upstream.url, hosts=()) as gate:
        assert (await gate.ask(request().replace(b"localhost", b"any.example"))).status == 200


async def test_a_site_with_other_routes_is_the_same_in_all_else(upstream):
    async with Gate(upstream.url) as gate:
        site = gate.front.site
        other = site.with_routes(Routes([]))
        assert (other.limits, other.hosts, other.callers) == (site.limits, site.hosts, site.callers)
        assert other.routes is not site.routes
        gate.front.swap(other, gate.pools.values())
        assert (await gate.ask(request())).status == 404
