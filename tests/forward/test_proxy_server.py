"""Listeners, reloads and the end."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

import pytest
from support.front import Client, Gate, ScriptedTokens, request
from support.process import free_port
from support.recording_upstream import RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.config.address import parse_address
from proxy.forward import proxy_server as server_module
from proxy.forward.proxy_server import ProxyServer
from proxy.forward.router import Router
from proxy.http1.host import HostGuard
from proxy.routes import RouteEntry, Routes


async def test_a_unix_socket_is_its_owners_alone_and_takes_the_place_of_a_stale_one(upstream, tmp_path):
    """Row 61."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with Gate(upstream.url, address=f"unix:{path}") as gate:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert (await gate.ask(request())).status == 200
        with pytest.raises(OSError, match="another process"):
            await ProxyServer(gate.front.site, gate.clock, []).listen(parse_address(f"unix:{path}"))
    assert not os.path.exists(path)


async def test_the_end_leaves_the_socket_of_a_successor_alone(upstream, tmp_path):
    path = str(tmp_path / "socket")
    async with Gate(upstream.url, address=f"unix:{path}"):
        os.unlink(path)
        async with Gate(upstream.url, address=f"unix:{path}") as successor:
            pass
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
    assert os.path.exists(path)
    assert successor.front.connections == set()


async def test_a_tls_listener_serves_like_any_other(upstream):
    authority = Authority()
    async with (
        Gate(upstream.url, tls=authority.server_context()) as gate,
        gate.client(ssl=authority.client_context(), server_hostname="localhost") as client,
    ):
        for _ in range(3):
            assert (await client.ask(request("POST", body=b"x" * 100_000))).status == 200
        own = await client.ask(request("GET", "/crm", "Origin: https://localhost"))
        assert own.status == 200, "its own origin is https"
    assert upstream.connections == 1


@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_a_tls_listener_waits_for_the_handshake_no_longer_than_for_a_head(upstream, tmp_path, way):
    """Row 59. Such connections are not among the counted ones yet."""
    where = str(tmp_path / "socket")
    async with Gate(
        upstream.url,
        tls=Authority().server_context(),
        address=f"unix:{where}" if way == "unix" else "127.0.0.1:0",
        limits={"header_timeout": 0.1},
    ) as gate:
        opening = (
            asyncio.open_unix_connection(where) if way == "unix" else asyncio.open_connection("127.0.0.1", gate.port)
        )
        reader, writer = await opening
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_reload_under_load_loses_no_request_and_old_connections_end(upstream):
    """Requests in flight finish on the old configuration; those that wait for a connection are served, too."""
    async with RecordingUpstream() as other:
        second = Gate(other.url)
        async with Gate(upstream.url) as gate, second:
            answers: list[int] = []
            done, news = False, asyncio.Event()

            async def ask() -> None:
                while not done:
                    async with gate.client() as client:
                        answers.extend([(await client.ask(request("POST", body=b"x"))).status for _ in range(5)])
                    news.set()

            asking = [asyncio.create_task(ask()) for _ in range(20)]
            for turn in range(10):
                before = len(answers)
                while len(answers) < before + 20:
                    news.clear()
                    await news.wait()
                fresh = Gate(other.url if turn % 2 else upstream.url)
                live_route = fresh._live_route(schema.Limits(), {})
                fresh.tokens = gate.tokens
                site = Router(
                    schema.Limits(), HostGuard(["localhost"]), Routes([RouteEntry(b"/crm", None, None, live_route)])
                )
                gate.front.swap(site, [fresh.pool])
            done = True
            await asyncio.gather(*asking)
            assert set(answers) == {200}
            assert upstream.requests
            assert other.requests
            await upstream.until(lambda: True if not upstream.open_connections else None)


async def test_requests_sent_before_the_end_began_are_answered(upstream, later):
    async with Gate(upstream.url, clock=later) as gate, gate.client() as client:
        assert (await client.ask(request())).status == 200
        draining = asyncio.create_task(gate.front.drain(60.0))
        await asyncio.sleep(0)
        later(-10)  # no sweep comes first
        answer = await client.ask(request())
        assert answer.status == 200
        assert answer.field(b"connection") == b"close"
        client.writer.close()
        assert await draining


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
async def test_connections_that_nobody_has_accepted_yet_are_served_before_the_end(upstream, tmp_path, way, monkeypatch):
    """The kernel has told these apps that they are connected; closing the listener would reset them."""
    monkeypatch.setattr(server_module, "_LATE", 60.0)
    authority = Authority() if way == "tls" else None
    tls = authority.server_context() if authority is not None else None
    where = str(tmp_path / "socket")
    async with Gate(upstream.url, tls=tls, address=f"unix:{where}" if way == "unix" else "127.0.0.1:0") as gate:
        apps = [socket.socket(socket.AF_UNIX if way == "unix" else socket.AF_INET) for _ in range(20)]
        for app in apps:
            app.connect(where if way == "unix" else ("127.0.0.1", gate.port))
        draining = asyncio.create_task(gate.front.drain(60.0))
        for app in apps:
            context = authority.client_context() if authority is not None else None
            name = "localhost" if context is not None else None
            client = Client(*await asyncio.open_connection(sock=app, ssl=context, server_hostname=name))
            answer = await client.ask(request())
            assert (answer.status, answer.field(b"connection")) == (200, b"close")
            client.writer.close()
        assert await draining


async def test_the_access_log_says_what_and_how_long_without_query_and_fields(upstream, caplog):
    """Row 13."""
    caplog.set_level("INFO", "auth_sidecar.access")
    async with Gate(upstream.url, access="all") as gate:
        await gate.ask(request("GET", "/crm/x?key=secret", "Cookie: secret"))
        await gate.ask(request("GET", "/nowhere?key=secret"))
    lines = [record.getMessage() for record in caplog.records if record.name == "auth_sidecar.access"]
    assert [line.rpartition(" route=")[0] for line in lines] == ["GET /crm/x 200", "GET /nowhere 404"]
    assert "secret" not in caplog.text


async def test_only_errors_are_logged_unless_more_is_asked_for(upstream, caplog):
    """Row 63."""
    caplog.set_level("INFO", "auth_sidecar.access")
    upstream.script(b"garbage\r\n\r\n")
    async with Gate(upstream.url, access="errors") as gate:
        await gate.ask(request())
        await gate.ask(request())
    lines = [record.getMessage() for record in caplog.records if record.name == "auth_sidecar.access"]
    assert len(lines) == 1
    assert lines[0].startswith("GET /crm/x 502 route=crm ")


async def test_what_could_not_be_read_is_in_the_access_log_too(upstream, caplog, later):
    """Whoever wonders where a 400 comes from finds it, and nothing of what was sent."""
    caplog.set_level("INFO", "auth_sidecar.access")
    async with Gate(upstream.url, clock=later, access="all") as gate, gate.client() as client:
        assert (await gate.ask(b"GET /crm/secret HTTP/1.1\r\nHost : localhost\r\n\r\n")).status == 400
        await client.send(b"GET /crm/secret HTTP/1.1\r\n")
        async with asyncio.timeout(30):
            while not any(one._buffer for one in gate.apps):
                await asyncio.sleep(0.005)
        later(11)
        assert (await client.answer()).status == 408
    records = [record for record in caplog.records if record.name == "auth_sidecar.access"]
    assert [record.getMessage() for record in records] == [
        "- - 400 route=- 0.0 ms: The header section is malformed",
        "- - 408 route=- 0.0 ms: The request head did not come in time",
    ]
    assert [(record.members["method"], record.members["path"]) for record in records] == [(None, None)] * 2


async def test_the_access_log_says_why_an_answer_is_our_own(caplog):
    caplog.set_level("INFO", "auth_sidecar.access")
    async with Gate(f"http://127.0.0.1:{free_port()}", access="errors") as gate:
        assert (await gate.ask(request("GET", "/crm/x?key=secret"))).status == 502
    (record,) = [record for record in caplog.records if record.name == "auth_sidecar.access"]
    assert record.getMessage().endswith(" ms: The upstream cannot be connected to")
    assert record.members.pop("seconds") >= 0
    assert record.members == {
        "method": "GET", "path": "/crm/x", "status": 502, "route": "crm", "error": "connection_refused"
    }  # fmt: skip


async def test_who_still_waits_shortly_before_the_end_is_told_so_and_who_is_served_is_not(upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", asyncio.Event())
    tokens = ScriptedTokens(None, "late")
    tokens.gate.clear()
    more = ({"match": schema.Match(path="/served"), "tokens": ScriptedTokens("t")},)
    async with Gate(upstream.url, tokens=tokens, more_routes=more) as gate, gate.client() as one, gate.client() as two:
        await one.send(request("GET", "/served/x"))
        await one.reader.readuntil(b"abc")
        await two.send(request())
        async with asyncio.timeout(20):
            while tokens.waited == 0:
                await asyncio.sleep(0.005)
        draining = asyncio.create_task(gate.front.drain(1.0))
        answer = await two.answer()
        assert not draining.done()
        assert answer.status == 503
        assert answer.field(b"connection") == b"close"
        assert answer.field(b"proxy-status") == b'auth-sidecar; error=proxy_internal_response; details="shutting_down"'
        assert await draining is False
        assert gate.front.in_flight == 1


async def test_an_answer_that_had_begun_before_the_end_is_the_last_of_its_connection(upstream):
    go = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", go, b"def")
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"abc")
        draining = asyncio.create_task(gate.front.drain(60.0))
        await asyncio.sleep(0)
        go.set()
        assert await client.reader.readexactly(3) == b"def"
        assert await client.ended() == b""
        client.writer.close()
        async with asyncio.timeout(20):
            assert await draining is True


async def test_requests_that_wait_behind_such_an_answer_are_served_too(upstream):
    go = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", go, b"def")
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"abc")
        await client.send(request())
        async with asyncio.timeout(20):
            while not gate.apps[0]._buffer:
                await asyncio.sleep(0.005)
        draining = asyncio.create_task(gate.front.drain(60.0))
        await asyncio.sleep(0)
        go.set()
        assert await client.reader.readexactly(3) == b"def"
        answer = await client.answer()
        assert (answer.status, answer.field(b"connection")) == (200, b"close")
        client.writer.close()
        async with asyncio.timeout(20):
            assert await draining is True


async def test_a_mistake_of_one_in_the_sweep_keeps_no_other_waiting(upstream, monkeypatch, caplog):
    upstream.answer = lambda _: (asyncio.Event(),)
    timeouts = schema.RouteTimeouts(response_header=schema.Duration(0.2))
    async with Gate(upstream.url, route={"timeouts": timeouts}) as gate, gate.client() as one, gate.client() as two:
        await one.send(request())
        await upstream.received(1)
        broken = next(app.exchange for app in gate.apps if app.exchange is not None)
        monkeypatch.setattr(broken, "expire", lambda: 1 / 0)
        assert (await two.ask(request())).status == 504
        one.reset()
    assert "internal error in the sweep, please report: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("cut", [False, True], ids=["in the middle", "cut off a moment ago"])
async def test_an_answer_that_the_end_of_the_program_cuts_off_does_not_look_whole(upstream, cut):
    """To HTTP/1.0, where an orderly end of the connection is the end of the answer."""
    go = asyncio.Event()
    head = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    upstream.script(b"HTTP/1.1 200 OK\r\n" + head, go, b"no chunk\r\n")
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"GET /crm/x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await client.reader.readuntil(b"abc")).endswith(b"\r\n\r\nabc")
        if cut:
            go.set()
            async with asyncio.timeout(20):
                while gate.apps[0].exchange is not None:
                    await asyncio.sleep(0.005)
        await gate.front.close()
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
