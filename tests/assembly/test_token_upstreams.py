"""The routes whose upstream their token names."""

from __future__ import annotations

from typing import Any

ISSUED: dict[str, Any] = {"type": "oauth2", "token_endpoint": "http://127.0.0.1:9/token", "client_id": "c"}


def configured(*more: dict[str, Any], **credential: Any) -> dict[str, Any]:
    upstream = {"from_token": "/url", "allow_hosts": ["*.example"]}
    routes = [{"match": "/a", "upstream": upstream, "credential": "c"}, *more]
    return {"routes": routes, "credentials": {"c": {**ISSUED, **credential}}}


async def test_routes_that_want_the_same_share_it_and_keep_it_on_a_reload(bench):
    other = {"match": "/b", "upstream": {"from_token": "/url", "allow_hosts": ["*.example"]}, "credential": "c"}
    apart = {"match": "/c", "upstream": {"from_token": "/url", "allow_hosts": ["b.example"]}, "credential": "c"}
    first = bench.build(configured(other, apart))
    named = first.token_upstreams_by_route
    assert named["a"] is named["b"] is not named["c"]
    assert first.live_routes["a"].by_token is named["a"]
    assert first.live_routes["a"].unresolved
    again = bench.build(configured(), old=first)
    assert again.token_upstreams_by_route["a"] is named["a"]


async def test_the_credential_keeps_what_the_route_needs(bench):
    runtime = bench.build(configured())
    config = runtime.credentials["c"].config
    assert config.response.keep == {"/url": "/url"}


async def test_callers_have_as_many_places_as_tokens(bench):
    assert bench.build(configured()).token_upstreams_by_route["a"].shared
    each = configured(per={"header": "X-T", "max": 7})
    assert not bench.build(each).token_upstreams_by_route["a"].shared
