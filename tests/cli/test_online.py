"""What shows when the configuration meets the world."""

from __future__ import annotations

import asyncio

import pytest
from support.directory import Directory
from support.egress_proxy import EgressProxy
from support.recording_upstream import RecordingUpstream
from support.runtime_bench import Bench
from support.settings import client_credentials
from support.tls import Authority

from proxy.cli.online import Finding, tried
from proxy.errors import ConfigurationError


@pytest.fixture
def tried_of(tmp_path):
    """The findings for some credentials, by name: whether it works, and the sentence."""

    async def find(config, *, online=True):
        loaded = Bench(tmp_path, {"KEY": "hush-key"}).loaded(config)
        return {
            finding.name: (finding.works, finding.detail)
            for finding in await tried(loaded, {"KEY": "hush-key"}, online=online)
        }

    return find


async def test_an_issuer_is_asked_for_a_token(tried_of, sandbox):
    wrong = client_credentials(sandbox.token_endpoint, secret="hush-wrong")
    found = await tried_of({"credentials": {"good": client_credentials(sandbox.token_endpoint), "bad": wrong}})
    assert found["good"] == (True, "a token came, good for 3600 s")
    assert found["bad"] == (False, "The token endpoint answered 401 invalid_client")
    assert sandbox.counters.grants == {"client_credentials": 1}


async def test_nothing_is_asked_without_the_word(tried_of, sandbox):
    assert await tried_of({"credentials": {"good": client_credentials(sandbox.token_endpoint)}}, online=False) == {}
    assert sandbox.counters.token_requests.total == 0


async def test_a_refresh_token_is_spent_only_where_a_store_keeps_the_next_one(tried_of, sandbox):
    seeded = client_credentials(sandbox.token_endpoint, refresh_token={"value": "sandbox-refresh-token"})
    seeded["grant_type"] = "refresh_token"
    works, why = (await tried_of({"credentials": {"main": seeded}}))["main"]
    assert works is None
    assert "not asked" in why
    kept = {"credentials": {"main": seeded}, "store": {"type": "file", "path": "state"}}
    for _ in range(2):
        assert (await tried_of(kept))["main"][0] is True
    assert sandbox.counters.refresh_token_reuses == 0


async def test_what_cannot_be_asked_is_said_to_be_so(tried_of, sandbox):
    found = await tried_of(
        {
            "credentials": {
                "pushed": {"type": "external", "update": {"secret": {"env": "KEY"}}},
                "tenant": client_credentials(sandbox.token_endpoint, per={"header": "X-Tenant"}),
                "key": {"type": "header", "name": "X", "value": {"env": "KEY"}},
                "printed": {"type": "bearer", "token": {"exec": ["false"]}},
            }
        }
    )
    assert found["pushed"][0] is found["tenant"][0] is None
    assert found["key"] == (True, "its secrets can be read")
    assert found["printed"][0] is False


async def test_upstreams_are_connected_to_and_certificates_verified(tried_of, tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with RecordingUpstream(tls=authority.server_context()) as secure, RecordingUpstream() as plain:
        trusted = {"match": "/a", "upstream": secure.url, "tls": {"ca_file": "ca.pem"}}
        assert await tried_of({"routes": [trusted, {"match": "/b", "upstream": plain.url}]}) == {
            secure.url: (True, "TLS verified"),
            plain.url: (True, "connected"),
        }
        found = await tried_of({"routes": [{"match": "/a", "upstream": secure.url}]})
        assert found[secure.url][0] is False
        assert "does not verify" in found[secure.url][1]
        async with asyncio.timeout(30):
            while plain.open_connections or secure.open_connections:
                await asyncio.sleep(0.01)
    assert (await tried_of({"routes": [{"match": "/b", "upstream": plain.url}]}))[plain.url][0] is False


async def test_certificates_of_listeners_are_read(tried_of, tmp_path):
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    tls = {"cert_file": "cert.pem", "key_file": "key.pem"}
    with pytest.raises(ConfigurationError, match=r"tls of a listener"):
        await tried_of(
            {
                "update": {"listen": "127.0.0.1:1", "tls": tls},
                "credentials": {},
                "routes": [{"match": "/", "upstream": "https://a.example"}],
            },
            online=False,
        )


def test_a_finding_is_a_line_or_an_object():
    finding = Finding(kind="upstream", name="https://a.example", works=None, detail="not tried")
    assert finding.as_text() == "-      upstream https://a.example: not tried"
    assert finding.as_json() == {"kind": "upstream", "name": "https://a.example", "works": None, "detail": "not tried"}


async def test_directories_are_asked_and_what_they_name_is_connected_to(tried_of):
    async with Directory() as directory, RecordingUpstream() as upstream:
        directory.base = f"{upstream.authority}/v1"
        name = directory.url + "/api/account/4711/service/asyncMessaging/baseURI.json"
        config = {"routes": [{"match": "/a", "upstream": directory.discover()}]}
        assert await tried_of(config) == {
            name: (True, f"names {upstream.url}/v1"),
            upstream.url: (True, "connected"),
        }
        directory.base = "evil.example"
        assert await tried_of(config) == {name: (False, "The directory names a host that `allow_hosts` does not")}
        assert await tried_of(config, online=False) == {}
        assert len(directory.requests) == 2


async def test_what_is_behind_a_proxy_that_is_sent_requests_is_not_said_to_work(tried_of):
    """Nor is it a mistake that the proxy connects to port 443 alone."""
    async with EgressProxy(ports=()) as egress:
        route = {"match": "/", "upstream": "http://api.example", "via_proxy": egress.url}
        found = await tried_of({"routes": [route]})
    assert found == {"http://api.example": (None, "the egress proxy is there; what is behind it was not tried")}


async def test_a_unix_socket_is_connected_to(tried_of, tmp_path):
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "app.sock")
    routes = [{"match": f"/{name}", "upstream": f"unix:{name}.sock:/v1"} for name in ("app", "gone")]
    found = await tried_of({"routes": routes})
    server.close()
    assert found[f"unix:{tmp_path}/app.sock"] == (True, "connected")
    assert found[f"unix:{tmp_path}/gone.sock"][0] is False
