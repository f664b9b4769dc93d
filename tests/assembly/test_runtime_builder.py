"""Whole worlds: hosts, callers, the table of routes, the store; and credentials that find each other."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from support.clock import FakeClock

from proxy.assembly.stores import make_store
from proxy.config import schema
from proxy.errors import CallerUnknown, ConfigurationError, CredentialRefused, NoRoute, RequestDenied
from proxy.forward.router import Peer
from proxy.http1.request import read_request

PLAIN: dict[str, Any] = {"routes": [{"match": "/a", "upstream": "http://127.0.0.1:1"}]}


def admitted(runtime, *fields, target="/a", method="GET", host="localhost"):
    octets = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]).encode() + b"\r\n\r\n"
    return runtime.site.admit(read_request(octets, 0, 4096, 50), Peer()).route.name


async def test_routes_are_found_by_path_host_and_method(bench):
    rows: list[dict[str, Any]] = [
        {"name": "path", "match": "/a"},
        {"name": "deeper", "match": "/a/b"},
        {"name": "host", "match": {"path": "/a", "host": "API.example"}},
        {"name": "post", "match": {"path": "/a", "methods": ["POST"]}},
    ]
    runtime = bench.build({"routes": [{**row, "upstream": "http://127.0.0.1:1"} for row in rows]})
    assert admitted(runtime) == "path"
    assert admitted(runtime, target="/a/b/c") == "deeper"
    assert admitted(runtime, host="api.example:80") == "host"
    assert admitted(runtime, method="POST") == "post"
    with pytest.raises(NoRoute):
        admitted(runtime, target="/ab")


async def test_hosts_are_the_allowed_ones_and_those_of_routes(bench):
    runtime = bench.build(PLAIN)
    with pytest.raises(RequestDenied):
        admitted(runtime, host="evil.example")
    assert admitted(bench.build({**PLAIN, "allowed_hosts": []}, runtime), host="evil.example") == "a"


async def test_callers_show_their_bearer(bench, tmp_path):
    (tmp_path / "bearer").write_text("phantom")
    runtime = bench.build({**PLAIN, "callers": {"bearer": {"file": "bearer"}}, "admin": {"bearer": {"env": "KEY"}}})
    with pytest.raises(CallerUnknown):
        admitted(runtime)
    assert admitted(runtime, "Authorization: Bearer phantom") == "a"
    assert runtime.admin_bearer() == "hush-key"
    assert bench.build({**PLAIN, "callers": "any"}, runtime).site.callers is None


async def test_figures_and_unchanged_credentials_pass_to_the_next_world(bench):
    old = bench.build(PLAIN)
    old.stats["a"].count(b"GET", 200, 0.1)
    new = bench.build({"routes": [{**PLAIN["routes"][0], "timeouts": {"idle": "1s"}}]}, old)
    assert new.stats["a"] is old.stats["a"]
    assert new.live_routes["a"] is not old.live_routes["a"]


async def test_credentials_find_each_other_in_the_world_that_is_used(bench):
    fixed = {"type": "bearer", "token": {"value": "one"}}
    signed = {"type": "oauth1", "consumer_key": "k", "consumer_secret": {"credential": "first"}}
    old = bench.build({"credentials": {"second": signed, "first": fixed}})
    assert bench.builder._tokens_of("first") is old.credentials["first"].credential.tokens
    new = bench.build({"credentials": {"second": signed, "first": {**fixed, "token": {"value": "two"}}}}, old)
    assert bench.builder._tokens_of("first").ready().access_token == "two"
    assert new.credentials["second"] is old.credentials["second"]
    bench.build(PLAIN, new)
    with pytest.raises(CredentialRefused, match="first is no longer configured"):
        bench.builder._tokens_of("first")


async def test_a_credential_with_a_token_per_caller_has_none_for_others(bench):
    issued = {"type": "oauth2", "token_endpoint": "https://login.example/token", "client_id": "c"}
    per = {**issued, "client_secret": {"env": "KEY"}, "per": {"header": "X-Tenant"}}
    bench.build({"credentials": {"main": per}})
    with pytest.raises(CredentialRefused, match="has a token per request"):
        bench.builder._tokens_of("main")


def test_stores_are_made_as_configured(tmp_path):
    assert make_store(schema.MemoryStore(), {}, FakeClock()).type == "memory"
    path = str(tmp_path / "state")
    assert make_store(schema.FileStore(path=path), {}, FakeClock()).durable
    key = schema.Secret(value=base64.b64encode(bytes(32)).decode())
    assert make_store(schema.FileStore(path=path, encryption_key=key), {}, FakeClock()).type == "file"
    with pytest.raises(ConfigurationError):
        make_store(schema.FileStore(path=path, encryption_key=schema.Secret(env="NONE")), {}, FakeClock())
    assert not (tmp_path / "state").exists()
