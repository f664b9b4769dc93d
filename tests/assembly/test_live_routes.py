"""Routes made ready: fields, pools, and which connections outlive a reload."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigurationError
from proxy.forward.live_route import AuthorizationAction
from proxy.http1.request import read_request


def route(**more):
    return {"routes": [{"match": "/a", "upstream": "https://api.example:8443/v1/", **more}]}


async def test_an_upstream_is_an_origin_and_a_path(bench):
    live_route = bench.build(route()).live_routes["a"]
    assert (live_route.origin.scheme, live_route.origin.host, live_route.origin.port) == ("https", "api.example", 8443)
    assert live_route.target(b"/a/x") == b"/v1/x"


async def test_fields_are_set_from_words_files_and_commands(bench, tmp_path):
    (tmp_path / "key").write_text("from-file")
    fields = {"X-Word": "word", "X-File": {"file": "key"}, "X-Command": {"exec": ["echo", "printed"]}}
    runtime = bench.build(route(headers={"set": fields}))
    await runtime.start(None)
    head = read_request(b"GET /a HTTP/1.1\r\nHost: localhost\r\nX-Word: mine\r\n\r\n", 0, 1024, 10)
    section = runtime.live_routes["a"].section(head.fields, AuthorizationAction.REPLACE)
    assert section.endswith(b"X-Word: word\r\nX-File: from-file\r\nX-Command: printed\r\n")
    assert b"mine" not in section
    await runtime.stop(None)


async def test_routes_to_one_origin_share_its_connections(bench):
    runtime = bench.build(
        {"routes": [{"match": f"/{name}", "upstream": f"http://127.0.0.1:1/{name}"} for name in "ab"]}
    )
    assert runtime.live_routes["a"].pool is runtime.live_routes["b"].pool
    assert len(runtime.pools) == 1


async def test_connections_outlive_a_reload_unless_limits_change(bench):
    old = bench.build(route())
    assert bench.build(route(retry={"max_attempts": 2}), old).pools == old.pools
    assert bench.build({**route(), "limits": {"max_headers": 50}}, old).pools != old.pools
    assert bench.build(route(timeouts={"connect": "1s"}), old).pools != old.pools


async def test_a_certificate_that_cannot_be_used_is_a_mistake(bench, tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        bench.build(route(tls={"ca_file": "ca.pem"}))
