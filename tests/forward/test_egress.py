"""Through an egress proxy."""

from __future__ import annotations

from typing import Any

import pytest
from support.clock import FakeClock
from support.egress_proxy import EgressProxy
from support.front import Gate, request
from support.recording_upstream import ECHO, RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.errors import ConfigurationError
from proxy.forward.egress import Egress, absolute

SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
DENIED = b'auth-sidecar; error=proxy_configuration_error; details="egress_proxy_authentication"'


def via(egress: EgressProxy, password: str | None = None, **more: Any) -> dict[str, Any]:
    """A route through the proxy."""
    if password is not None:
        more["username"] = "prøxy"
        more["password"] = schema.Secret(value=password)
    return {"via_proxy": schema.ViaProxy(url=egress.url, **more)}


# ---- http, sent to the proxy itself ----------------------------------------------------------------------------------


async def test_http_is_sent_in_absolute_form_with_the_proxys_password_and_nobody_else_gets_it(upstream):
    """RFC 9112 §3.2.2: most proxies connect to port 443 alone."""
    async with (
        EgressProxy(login="prøxy:gehéim:x", ports=()) as egress,
        Gate(upstream.url + "/v2", route=via(egress, "gehéim:x")) as gate,
    ):
        for target in ("/crm/a%2Fb?c=d", "/crm", "/crm?x"):
            fields = ("Proxy-Authorization: Basic the-apps-own", "X-App: y")
            assert (await gate.ask(request("POST", target, *fields, body=b"body"))).status == 200
    authority = upstream.authority.encode()
    assert egress.lines == [
        b"POST http://%b/v2%b HTTP/1.1" % (authority, target) for target in (b"/a%2Fb?c=d", b"", b"?x")
    ]
    assert all(b"\r\nHost: %b\r\n" % authority in head for head in egress.heads)
    assert all(b"\r\nAuthorization: Bearer t0ken\r\n" in head for head in egress.heads)
    assert [one.body for one in upstream.requests] == [b"body"] * 3
    assert all(one.field(b"proxy-authorization") is None for one in upstream.requests)


async def test_the_root_and_the_asterisk_have_their_absolute_forms(upstream):
    async with EgressProxy() as egress:
        route = via(egress) | {"match": schema.Match(path="/")}
        async with Gate(upstream.url, route=route) as gate:
            assert (await gate.ask(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 200
            assert (await gate.ask(b"GET /?a HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 200
    url = upstream.url.encode()
    assert egress.lines == [b"OPTIONS %b HTTP/1.1" % url, b"GET %b/?a HTTP/1.1" % url]
    assert [one.target for one in upstream.requests] == [b"*", b"/?a"]


def test_a_target_in_absolute_form_has_the_authority_before_it():
    assert absolute(b"[::1]:81", b"/a?b") == b"http://[::1]:81/a?b"
    assert absolute(b"api.example", b"*") == b"http://api.example"


async def test_connections_to_the_proxy_are_kept():
    async with RecordingUpstream() as proxy:
        egress = schema.ViaProxy(url=proxy.url)
        async with Gate("http://api.example", route={"via_proxy": egress}) as gate, gate.client() as client:
            for _ in range(3):
                assert (await client.ask(request())).status == 200
    assert proxy.connections == 1
    assert {one.target for one in proxy.requests} == {b"http://api.example/x"}
    assert {one.field(b"host") for one in proxy.requests} == {b"api.example"}


@pytest.mark.parametrize("password", [None, "wrong"])
@pytest.mark.parametrize("credential", [True, False])
@pytest.mark.parametrize("body", [b"", b"x" * 300_000])
async def test_a_407_of_the_proxy_is_a_502_of_ours(upstream, password, credential, body):
    async with EgressProxy(login="prøxy:right") as egress:
        gate = Gate(upstream.url, route=via(egress, password), credential=credential)
        async with gate, gate.client() as client:
            answer = await client.ask(request("POST", body=body))
    assert (answer.status, answer.field(b"proxy-status")) == (502, DENIED)
    assert (b"refuses" if password else b"none stand in") in answer.body
    assert b"the-proxys-text" not in answer.body
    assert b"wrong" not in answer.body
    assert answer.field(b"proxy-authenticate") is None
    assert upstream.requests == []


async def test_a_407_of_an_api_that_is_reached_directly_is_its_own(upstream):
    upstream.script(b"HTTP/1.1 407 Odd\r\nContent-Length: 0\r\n\r\n")
    async with EgressProxy() as egress, Gate(upstream.url, route=via(egress, no_proxy=("127.0.0.0/8",))) as gate:
        assert (await gate.ask(request())).status == 407
    assert egress.heads == []


async def test_a_websocket_is_connected_through_the_proxy(upstream):
    """RFC 6455 §4.1: proxies forward no Upgrade."""
    upstream.script(SWITCHED, ECHO)
    async with (
        EgressProxy(login="prøxy:p") as egress,
        Gate(upstream.url, route=via(egress, "p")) as gate,
        gate.client() as client,
    ):
        upgrade = request("GET", "/crm/ws", "Connection: Upgrade", "Upgrade: websocket")
        assert (await client.ask(upgrade)).status == 101
        await client.send(b"frames")
        assert await client.reader.readexactly(6) == b"frames"
        assert gate.live_route.stats.in_flight == 0
    assert egress.lines == [b"CONNECT %b HTTP/1.1" % upstream.authority.encode()]
    (opened,) = upstream.requests
    assert (opened.line, opened.field(b"proxy-authorization")) == (b"GET /ws HTTP/1.1", None)
    assert opened.field(b"authorization") == b"Bearer t0ken"


# ---- https, through a connection of its making -----------------------------------------------------------------------


@pytest.fixture
def trusted(tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    return authority, schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))


async def test_https_is_encrypted_to_the_upstream_itself(trusted):
    authority, tls = trusted
    body = bytes(range(256)) * 4096
    async with (
        RecordingUpstream(tls=authority.server_context()) as upstream,
        EgressProxy(login="prøxy:p", ports={upstream.port}) as egress,
        Gate(upstream.url, route=via(egress, "p") | {"tls": tls}) as gate,
        gate.client() as client,
    ):
        for _ in range(3):
            assert (await client.ask(request("PUT", body=body))).status == 200
    assert [one.body for one in upstream.requests] == [body] * 3
    assert all(one.field(b"proxy-authorization") is None for one in upstream.requests)
    (head,) = egress.heads
    assert head == (
        b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic cHLDuHh5OnA=\r\n\r\n"
        % ((upstream.authority.encode(),) * 2)
    )


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_407_to_a_connect_is_a_502_of_ours(trusted, password):
    authority, tls = trusted
    async with (
        RecordingUpstream(tls=authority.server_context()) as upstream,
        EgressProxy(login="u:right") as egress,
        Gate(upstream.url, route=via(egress, password) | {"tls": tls}) as gate,
    ):
        answer = await gate.ask(request())
    assert (answer.status, answer.field(b"proxy-status")) == (502, DENIED)
    assert (b"refuses" if password else b"none stand in") in answer.body
    assert upstream.requests == []


@pytest.mark.parametrize("entry", ["127.0.0.0/8", "*", "127.0.0.1", "127.0.0.1:PORT"])
async def test_hosts_of_no_proxy_are_reached_directly(upstream, entry):
    async with EgressProxy() as egress:
        route = via(egress, no_proxy=("a.example", entry.replace("PORT", str(upstream.port))))
        async with Gate(upstream.url, route=route) as gate:
            assert (await gate.ask(request())).status == 200
    assert egress.heads == []
    assert upstream.requests[0].target == b"/x"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", DENIED.partition(b"error=")[2]),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"connection_refused"),
        (b"HTTP/1.1 2OO OK\r\n\r\n", b"http_protocol_error"),
        (b"HTTP/1.1 201 Created\r\n\r\nsurplus", b"http_protocol_error"),
        (b"HTTP/1.1 201 Created\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"http_response_header_section_size"),
        (b"SSH-2.0\r\n\r\n", b"http_protocol_error"),
        (b"", b"connection_refused"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\n\r\n", b"connection_refused"),
    ],
)
async def test_any_other_answer_to_a_connect_is_502_and_nothing_is_sent(trusted, answer, error):
    authority, tls = trusted
    async with (
        RecordingUpstream(tls=authority.server_context()) as upstream,
        EgressProxy(answer=answer) as egress,
        Gate(upstream.url, route=via(egress) | {"tls": tls}) as gate,
    ):
        got = await gate.ask(request())
    assert got.status == 502
    assert got.field(b"proxy-status") == b"auth-sidecar; error=" + error
    assert upstream.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_502(scheme):
    async with EgressProxy() as egress:
        pass
    async with Gate(f"{scheme}://api.example", route=via(egress)) as gate:
        got = await gate.ask(request())
    assert (got.status, got.field(b"proxy-status")) == (502, b"auth-sidecar; error=connection_refused")
    assert b"The egress proxy cannot be connected to" in got.body


# ---- the password ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_password_that_changes_is_used_at_once(tmp_path, trusted, encrypted):
    authority, tls = trusted
    file = tmp_path / "password"
    file.write_text("first\n")
    context = authority.server_context() if encrypted else None
    async with RecordingUpstream(tls=context) as upstream, EgressProxy(login="u:first") as egress:
        proxy = schema.ViaProxy(url=egress.url, username="u", password=schema.Secret(file=str(file)))
        route = {"via_proxy": proxy} | ({"tls": tls} if encrypted else {})
        clock = FakeClock()
        async with Gate(upstream.url, route=route, clock=clock) as gate:
            assert (await gate.ask(request())).status == 200
            upstream.drop()
            egress.login = "u:second"
            (tmp_path / "next").write_text("second\n")
            (tmp_path / "next").replace(file)
            await clock.advance(2.0)
            assert (await gate.ask(request())).status == 200
            assert (await gate.ask(request())).status == 200


async def test_a_password_is_what_a_command_prints(upstream):
    async with EgressProxy(login="u:printed") as egress:
        secret = schema.Secret(exec=("echo", "printed"))
        async with Gate(
            upstream.url, route={"via_proxy": schema.ViaProxy(url=egress.url, username="u", password=secret)}
        ) as gate:
            assert (await gate.ask(request())).status == 200


async def test_a_user_name_may_come_without_a_password(upstream):
    async with (
        EgressProxy(login="only-a-key:") as egress,
        Gate(upstream.url, route={"via_proxy": schema.ViaProxy(url=egress.url, username="only-a-key")}) as gate,
    ):
        assert (await gate.ask(request())).status == 200


@pytest.mark.parametrize("url", ["https://egress:3128", "socks5://egress:1080", "egress:3128"])
def test_other_kinds_of_proxies_are_an_error_of_the_configuration(url):
    with pytest.raises(ConfigurationError, match="http://"):
        Egress(schema.ViaProxy(url=url))
