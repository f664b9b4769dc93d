"""Routes made ready: fields, pools, and which connections outlive a reload."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigurationError
from proxy.forward.lane import Fate
from proxy.http1.request import read_request


def route(**more):
    return {"routes": [{"match": "/a", "upstream": "https://api.example:8443/v1/", **more}]}


async def test_an_upstream_is_an_origin_and_a_path(bench):
    lane = bench.build(route()).lanes["a"]
    assert (lane.origin.scheme, lane.origin.host, lane.origin.port) == ("https", "api.example", 8443)
    assert lane.target(b"/a/x") == b"/v1/x"


async def test_fields_are_set_from_words_files_and_commands(bench, tmp_path):
    (tmp_path / "key").write_text("from-file")
    fields = {"X-Word": "word", "X-File": {"file": "key"}, "X-Command": {"exec": ["echo", "printed"]}}
    world = bench.build(route(headers={"set": fields}))
    await world.start(None)
    head = read_request(b"GET /a HTTP/1.1\r\nHost: localhost\r\nX-Word: mine\r\n\r\n", 0, 1024, 10)
    section = world.lanes["a"].section(head.fields, Fate.REPLACED)
    assert section.endswith(b"X-Word: word\r\nX-File: from-file\r\nX-Command: printed\r\n")
    assert b"mine" not in section
    await world.stop(None)


async def test_routes_to_one_origin_share_its_connections(bench):
    world = bench.build({"routes": [{"match": f"/{name}", "upstream": f"http://127.0.0.1:1/{name}"} for name in "ab"]})
    assert world.lanes["a"].pool is world.lanes["b"].pool
    assert len(world.pools) == 1


async def test_connections_outlive_a_reload_unless_limits_change(bench):
    old = bench.build(route())
    assert bench.build(route(retry={"max_attempts": 2}), old).pools == old.pools
    assert bench.build({**route(), "limits": {"max_headers": 50}}, old).pools != old.pools
    assert bench.build(route(timeouts={"connect": "1s"}), old).pools != old.pools


async def test_a_certificate_that_cannot_be_used_is_a_mistake(bench, tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        bench.build(route(tls={"ca_file": "ca.pem"}))
