"""Which routes share a signpost, what a reload keeps of it, and how a look-up leaves this machine."""

from __future__ import annotations

import asyncio

import pytest
from support.directory import Directory
from support.tls import Authority

from proxy.assembly.discoveries import discovery_key
from proxy.errors import ConfigurationError, ConnectionRefused
from proxy.forward.directory import BaseUrl
from proxy.forward.directory_errors import DirectoryUnavailable


@pytest.fixture
async def directory():
    async with Directory(base="127.0.0.1:1/v1") as running:
        yield running


def routes(*rows):
    return {"routes": [{"name": name, "match": f"/{name}", "upstream": where, **more} for name, where, more in rows]}


async def test_routes_that_ask_the_same_share_a_signpost_and_its_connections(bench, directory):
    same, other = directory.discover(), directory.discover(ttl="5m")
    runtime = bench.build(routes(("a", same, {}), ("b", same, {}), ("c", other, {}), ("d", "http://127.0.0.1:1", {})))
    assert list(runtime.discoveries_by_route) == ["a", "b", "c"]
    assert len(runtime.discoveries) == 2
    assert runtime.discoveries_by_route["a"] is runtime.discoveries_by_route["b"]
    await runtime.discoveries_by_route["a"].look()
    runtime.follow()
    assert runtime.live_routes["a"].pool is runtime.live_routes["b"].pool
    assert runtime.live_routes["c"].unresolved
    assert not runtime.live_routes["a"].unresolved


async def test_a_reload_keeps_the_signpost_that_is_unchanged_and_what_it_found_where_it_is_changed(bench, directory):
    old = bench.build(routes(("a", directory.discover(), {})))
    await old.discoveries_by_route["a"].look()
    kept = bench.build(routes(("z", directory.discover(), {"strip_prefix": False})), old)
    assert kept.discoveries_by_route["z"] is old.discoveries_by_route["a"]
    assert kept.live_routes["z"].target(b"/z/x") == b"/v1/z/x"
    changed = bench.build(routes(("a", directory.discover(), {"timeouts": {"connect": "1s"}})), old)
    assert changed.discoveries_by_route["a"] is not old.discoveries_by_route["a"]
    assert changed.live_routes["a"].target(b"/a/x") == b"/v1/x"
    assert changed.discoveries_by_route["a"].pool is not old.discoveries_by_route["a"].pool
    stricter = bench.build(routes(("a", directory.discover(allow_hosts=["localhost"]), {})), old)
    assert stricter.discoveries_by_route["a"].found is None


async def test_of_several_predecessors_the_latest_word_is_inherited(bench, directory):
    old = bench.build(routes(("a", directory.discover(ttl="1m"), {}), ("b", directory.discover(ttl="2m"), {})))
    await old.discoveries_by_route["b"].look()
    await bench.clock.advance(1)
    directory.base = "127.0.0.1:1/latest"
    await old.discoveries_by_route["a"].look()
    new = bench.build(routes(("c", directory.discover(ttl="3m"), {})), old)
    assert new.live_routes["c"].target(b"/c") == b"/latest"


async def test_a_world_starts_its_signposts_and_stops_those_that_another_does_not_have(bench, directory):
    one, two = directory.discover(), directory.discover(json_pointer="/service")
    old = bench.build(routes(("a", one, {}), ("b", two, {})))
    await old.start(None)
    async with asyncio.timeout(30):
        while old.discoveries_by_route["a"].pool is None:
            await asyncio.sleep(0.005)
    new = bench.build(routes(("a", one, {})), old)
    await new.start(old)
    await old.stop(new)
    assert [discovery._task.done() for discovery in old.discoveries_by_route.values()] == [False, True]
    asked = len(directory.requests)
    await bench.clock.advance(600)
    await directory.received(asked + 1)
    await new.stop(None)
    assert all(discovery._task.done() for discovery in new.discoveries_by_route.values())


async def test_what_is_known_of_each_route_is_told(bench, directory):
    runtime = bench.build(routes(("a", directory.discover(), {}), ("b", "http://127.0.0.1:1", {})))
    (told,) = runtime.discovered(bench.clock.elapsed()).values()
    assert (told.url, told.age, told.last_error) == (None, None, None)
    await runtime.discoveries_by_route["a"].look()
    await bench.clock.advance(7)
    await directory.stop()
    with pytest.raises(DirectoryUnavailable):
        await runtime.discoveries_by_route["a"].look()
    (told,) = runtime.discovered(bench.clock.elapsed()).values()
    assert (told.url, told.age) == ("http://127.0.0.1:1/v1", 7.0)
    assert told.last_error == "The directory cannot be reached"


async def test_the_look_up_trusts_the_route_s_authorities_under_the_directory_s_own_name(bench, tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    tls = {"ca_file": "ca.pem", "server_name": "upstream.example"}
    async with Directory(tls=authority.server_context(), base="localhost:1") as directory:
        runtime = bench.build(routes(("a", directory.discover(scheme="https"), {"tls": tls})))
        await runtime.discoveries_by_route["a"].look()
        runtime.follow()
        assert runtime.live_routes["a"].origin.tls.server_name == "upstream.example"
        stranger = bench.build(routes(("a", directory.discover(scheme="https"), {})))
        with pytest.raises(DirectoryUnavailable, match="certificate"):
            await stranger.discoveries_by_route["a"].look()


async def test_the_look_up_leaves_through_the_route_s_proxy(bench):
    """Which is the directory here: it is asked in absolute-form, as a proxy is for plain http."""
    async with Directory(base="127.0.0.1:1") as proxy:
        where = {"discover": {"url": "http://127.0.0.1:1/where", "scheme": "http", "allow_hosts": ["127.0.0.1"]}}
        runtime = bench.build(routes(("a", where, {"via_proxy": {"url": proxy.url}})))
        found = await runtime.discoveries_by_route["a"].look()
        assert proxy.requests[0].target == b"http://127.0.0.1:1/where"
    origin = discovery_key(runtime.loaded.config.routes[0], runtime.loaded.config).origin(found)
    assert (origin.via.url, origin.found) == (proxy.url, True)


async def test_the_host_of_the_route_is_what_the_upstream_sees_and_not_the_directory(bench, directory):
    directory.base = "localhost:1/v2"
    runtime = bench.build(routes(("a", directory.discover(), {"host": "api.example"}), ("b", directory.discover(), {})))
    for name in ("a", "b"):
        await runtime.discoveries_by_route[name].look()
    runtime.follow()
    assert (runtime.live_routes["a"].authority, runtime.live_routes["b"].authority) == (b"api.example", b"localhost:1")
    assert runtime.live_routes["a"].origin.url == runtime.live_routes["b"].origin.url
    assert all(one.field(b"host") == directory.authority.encode() for one in directory.requests)


async def test_tls_is_only_for_a_base_url_that_has_it(bench, directory, tmp_path):
    (tmp_path / "ca.pem").write_bytes(Authority().certificate)
    config = bench.loaded(routes(("a", directory.discover(), {"tls": {"ca_file": "ca.pem"}}))).config
    key = discovery_key(config.routes[0], config)
    assert key.origin(BaseUrl("http", "a", 80, "", "a")).tls is None
    assert key.origin(BaseUrl("https", "a", 443, "", "a")).tls is not None


async def test_certificates_and_proxies_that_cannot_be_used_are_mistakes_before_anything_is_found(
    bench, directory, tmp_path
):
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        bench.build(routes(("a", directory.discover(), {"tls": {"ca_file": "ca.pem"}})))
    with pytest.raises(ConfigurationError, match="via_proxy"):
        bench.build(routes(("a", directory.discover(), {"via_proxy": {"url": "https://127.0.0.1:1"}})))


async def test_an_upstream_that_cannot_be_connected_to_is_looked_up_again(bench, directory):
    runtime = bench.build(routes(("a", directory.discover(), {})))
    await runtime.start(None)
    async with asyncio.timeout(30):
        while (pool := runtime.discoveries_by_route["a"].pool) is None:
            await asyncio.sleep(0.005)
    await bench.clock.advance(30)
    with pytest.raises(ConnectionRefused):
        await pool.dialler.dial(asyncio.Protocol)
    await directory.received(2)
    await runtime.stop(None)
