"""What a route has its connections from."""

from __future__ import annotations

from proxy.forward.pool import Pool
from proxy.forward.upstream_discovery import UpstreamDiscovery


async def test_each_kind_of_upstream_has_its_own_and_alike_ones_share(bench):
    looked_up = {"discover": {"url": "https://d.example/x", "allow_hosts": ["a.example"]}}
    config = {
        "routes": [
            {"match": "/a", "upstream": "https://a.example/1"},
            {"match": "/b", "upstream": "https://a.example/2"},
            {"match": "/c", "upstream": looked_up},
            {"match": "/d", "upstream": looked_up},
        ],
        "credentials": {},
    }
    runtime = bench.build(config)
    a, b, c, d = (runtime.live_routes[name].pool for name in "abcd")
    assert isinstance(a, Pool)
    assert a is b
    assert isinstance(c, UpstreamDiscovery)
    assert c is d
    again = bench.build(config, old=runtime)
    assert again.live_routes["a"].pool is a
    assert again.live_routes["c"].pool is c
