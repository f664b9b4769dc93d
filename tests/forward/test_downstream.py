"""One connection of the app."""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import socket
import struct
import time
from typing import Any

import pytest
from msgspec.structs import replace
from support.front import Client, Gate, ScriptedTokens, request
from support.recording_upstream import ECHO, READ, Received
from support.tls import Authority

from proxy.config import schema
from proxy.forward import proxy_server
from proxy.forward.socket_probe import silent
from proxy.model import Token

LARGE = b"z" * (8 * 1024 * 1024)


def echoes_its_target(received: Received):
    return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received.target) + received.target,)


async def waited(condition, *, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_pipelined_requests_are_answered_in_order_each_with_its_own_answer(upstream):
    """Row 64."""
    upstream.answer = echoes_its_target
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"".join(request("GET", f"/crm/{n}") for n in range(200)))
        for n in range(200):
            assert (await client.answer()).body == b"/%d" % n


async def test_pipelined_requests_with_bodies_are_told_apart(upstream):
    upstream.answer = echoes_its_target
    chunked = b"POST /crm/%d HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%03d\r\n0\r\n\r\n"
    async with Gate(upstream.url) as gate, gate.client() as client:
        octets = [chunked % (n, n) if n % 2 else request("POST", f"/crm/{n}", body=b"%03d" % n) for n in range(100)]
        await client.send(b"".join(octets))
        for n in range(100):
            assert (await client.answer()).body == b"/%d" % n
    assert [bytes(one.body) for one in upstream.requests] == [b"%03d" % n for n in range(100)]
    assert upstream.connections == 1


async def test_three_thousand_pipelined_answers_of_our_own_do_not_recurse(upstream):
    async with Gate(upstream.url) as gate, gate.client() as client:
        sending = asyncio.create_task(client.send(request("GET", "/nowhere") * 3000))
        for _ in range(3000):
            assert (await client.answer()).status == 404
        await sending


async def test_an_app_that_pipelines_and_does_not_read_costs_bounded_memory(upstream):
    """Rows 41 and 64: no request is begun while the answers before it wait to be read."""
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + bytes(1048576)
    async with Gate(upstream.url) as gate, gate.client(limit=2**16) as client:
        client.writer.write(request() * 400)
        await waited(lambda: any(one.full for one in gate.apps))
        await asyncio.sleep(0.3)
        (connection,) = gate.apps
        assert connection.transport.get_write_buffer_size() < 2 * 1024 * 1024
        begun = len(upstream.requests)
        assert begun < 40
        for _ in range(400):
            assert len((await client.answer()).body) == 1048576
    assert len(upstream.requests) == 400


async def test_own_answers_that_nobody_reads_are_not_made_without_end(upstream):
    async with Gate(upstream.url) as gate, gate.client(limit=2**16) as client:
        sending = asyncio.create_task(client.send(request("GET", "/nowhere") * 60_000))
        await waited(lambda: any(one.full for one in gate.apps))
        await asyncio.sleep(0.2)
        (connection,) = gate.apps
        assert connection.transport.get_write_buffer_size() < 512 * 1024
        for _ in range(60_000):
            assert (await client.answer()).status == 404
        await sending


@pytest.mark.parametrize("tls", [False, True])
async def test_a_slow_app_costs_bounded_memory(upstream, tls):
    """Row 41."""
    authority = Authority()
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE
    async with Gate(upstream.url, tls=authority.server_context() if tls else None) as gate:
        options = {"ssl": authority.client_context(), "server_hostname": "localhost"} if tls else {}
        async with gate.client(limit=2**16, **options) as client:
            await client.send(request())
            await waited(lambda: any(one.full for one in gate.apps))
            await asyncio.sleep(0.2)
            (connection,) = gate.apps
            assert connection.transport.get_write_buffer_size() < 1024 * 1024
            assert (await client.answer()).body == LARGE


async def test_a_slow_upstream_makes_the_app_wait():
    """Row 41."""
    begin, size = asyncio.Event(), 2 * len(LARGE)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await begin.wait()
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**14) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"http://127.0.0.1:{port}") as gate, gate.client() as client:
            sending = asyncio.create_task(client.send(request("PUT", body=LARGE * 2)))
            await waited(lambda: any(one.flow.reasons for one in gate.apps))
            await asyncio.sleep(0.1)
            (connection,) = gate.apps
            assert connection.exchange is not None
            assert connection.exchange.up.transport.get_write_buffer_size() < 1024 * 1024
            assert not sending.done()
            begin.set()
            await sending
            assert (await client.answer()).status == 204


async def test_a_half_closing_app_gets_all_answers_that_it_asked_for(upstream):
    """Row 58."""
    upstream.answer = echoes_its_target
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request("GET", "/crm/1") + request("GET", "/nowhere") + request("GET", "/crm/2"))
        client.writer.write_eof()
        assert (await client.answer()).body == b"/1"
        assert (await client.answer()).status == 404
        assert (await client.answer()).body == b"/2"
        assert await client.ended() == b""


async def test_a_head_cut_off_by_a_half_close_ends_the_connection(upstream):
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"GET /crm HTTP/1.1\r\nHo")
        client.writer.write_eof()
        assert await client.ended() == b""
    assert upstream.requests == []


async def test_a_head_that_does_not_come_is_408_and_an_idle_connection_just_ends(upstream, later):
    """Row 59."""
    limits = {"header_timeout": schema.Duration(100)}
    async with Gate(upstream.url, clock=later, limits=limits) as gate:
        async with gate.client() as client:
            await client.send(b"GET /crm HTTP/1.1\r\nHost: local")
            await waited(lambda: any(one._buffer for one in gate.apps))
            later(101)
            answer = await client.answer()
            assert answer.status == 408
            assert answer.field(b"connection") == b"close"
            assert await client.ended() == b""
        async with gate.client() as client:
            await waited(lambda: gate.apps)
            later(101)
            assert await client.ended() == b""


async def test_a_head_that_comes_octet_by_octet_does_not_win_time(upstream, later):
    """Row 59: slowloris."""
    async with (
        Gate(upstream.url, clock=later, limits={"header_timeout": schema.Duration(100)}) as gate,
        gate.client() as client,
    ):
        for count, octet in enumerate(b"GET", 1):
            await client.send(bytes([octet]))
            await waited(lambda count=count: any(len(one._buffer) == count for one in gate.apps))
            later(40)
        assert (await client.answer()).status == 408


async def test_a_kept_connection_ends_when_it_is_idle_for_too_long(upstream):
    async with Gate(upstream.url, limits={"keep_alive": schema.Duration(0.05)}) as gate, gate.client() as client:
        assert (await client.ask(request())).status == 200
        assert await client.ended() == b""


async def test_a_request_that_has_come_already_is_answered_though_its_connection_was_to_end(upstream):
    """Row 60: ending it now would reset it."""
    async with Gate(upstream.url) as gate, gate.client() as client:
        for octets in (request(), request("POST", body=b"x" * 100_000)):
            assert (await client.ask(request())).status == 200
            (connection,) = gate.apps
            client.writer.write(octets)
            while silent(connection.transport):
                time.sleep(0.001)
            connection.expire()
            assert (await client.answer()).status == 200
        connection.expire()
        assert await client.ended() == b""


async def test_an_answer_of_our_own_keeps_the_connection_as_long_as_any_other(upstream, later):
    limits = {"header_timeout": schema.Duration(10), "keep_alive": schema.Duration(300)}
    async with Gate(upstream.url, clock=later, limits=limits) as gate, gate.client() as client:
        assert (await client.ask(request("GET", "/nowhere"))).status == 404
        later(100)
        await asyncio.sleep(2 * proxy_server.SWEEP_EVERY)
        assert (await client.ask(request())).status == 200


async def test_more_connections_than_allowed_are_turned_away(upstream):
    async with Gate(upstream.url, limits={"max_connections": 2}) as gate, gate.client() as a, gate.client() as b:
        for client in (a, b):
            assert (await client.ask(request())).status == 200
        async with gate.client() as c:
            answer = await c.answer()
            assert answer.status == 503
            assert answer.field(b"retry-after") == b"1"
            assert (
                answer.field(b"proxy-status") == b'auth-sidecar; error=proxy_internal_response; details="limit_reached"'
            )
            assert await c.ended() == b""
        assert (await a.ask(request())).status == 200


async def test_what_an_app_sends_behind_a_refused_body_does_not_destroy_the_answer(upstream):
    """Row 38: read on for a moment, then end."""
    async with Gate(upstream.url, route={"max_request_body": schema.Size(1000)}) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(30):
            await client.send(bytes(100_000))
        answer = await client.answer()
        assert answer.status == 413
        assert answer.field(b"connection") == b"close"
    assert upstream.requests == []


@pytest.mark.parametrize("early", [0, 200_000])
async def test_bytes_behind_a_refused_head_are_never_a_request(upstream, early):
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"GET /crm HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + request() + bytes(early))
        assert (await client.answer()).status == 400
        assert await client.ended() == b""
    assert upstream.requests == []


async def test_a_last_answer_reaches_an_app_that_reads_slowly(upstream):
    """What waits for a slow reader behind `Connection: close` is not thrown away when lingering ends."""
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE
    async with Gate(upstream.url) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port, limit=2**14)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        writer.write(request("GET", "/crm", "Connection: close"))
        octets = 0
        started = asyncio.get_running_loop().time()
        while piece := await reader.read(2**18):
            octets += len(piece)
            if asyncio.get_running_loop().time() - started < 3.0:
                await asyncio.sleep(0.05)
        assert octets > len(LARGE)
        writer.close()
        await writer.wait_closed()


async def test_an_app_that_ends_behind_its_answer_and_never_reads_it_is_not_waited_for_for_ever(upstream, later):
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + bytes(40_000)
    loop = asyncio.get_running_loop()
    async with Gate(upstream.url, clock=later) as gate:
        with socket.socket() as app:
            app.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            app.setblocking(False)  # noqa: FBT003 - the library's signature
            await loop.sock_connect(app, ("127.0.0.1", gate.port))
            await waited(lambda: gate.front.connections)
            (connection,) = gate.apps
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await loop.sock_sendall(app, request())
            await waited(lambda: connection.transport.get_write_buffer_size() and connection.exchange is None)
            app.shutdown(socket.SHUT_WR)
            await waited(connection.transport.is_closing)
            async with asyncio.timeout(5):
                while gate.front.connections:
                    later(3600)
                    await asyncio.sleep(proxy_server.SWEEP_EVERY)


async def test_http_1_0_is_kept_only_where_it_is_asked_for(upstream):
    """Row 31."""
    async with Gate(upstream.url) as gate, gate.client() as client:
        for target in (b"/crm", b"/nowhere"):
            kept = b"GET %b HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n" % target
            answer = await client.ask(kept)
            assert answer.head.startswith(b"HTTP/1.1 ")
            assert answer.field(b"connection") == b"keep-alive"
        answer = await client.ask(b"GET /crm HTTP/1.0\r\n\r\n")
        assert answer.field(b"connection") == b"close"
        assert await client.ended() == b""


async def test_in_flight_requests_are_bounded_and_the_place_is_given_back(upstream):
    release = asyncio.Event()
    upstream.script(release, b"HTTP/1.1 204 No Content\r\n\r\n")
    async with Gate(upstream.url, limits={"max_in_flight": 1}) as gate, gate.client() as a, gate.client() as b:
        await a.send(request())
        await upstream.received()
        assert (await b.ask(request())).status == 503
        release.set()
        assert (await a.answer()).status == 204
        assert (await b.ask(request())).status == 200
        assert gate.front.in_flight == 0


async def test_a_routes_own_bound_leaves_other_routes_alone(upstream):
    release = asyncio.Event()
    upstream.script(release, b"HTTP/1.1 204 No Content\r\n\r\n")
    bound = {"limits": replace(schema.RouteLimits(), max_in_flight=1)}
    other = {"match": schema.Match(path="/other")}
    async with Gate(upstream.url, route=bound, more_routes=(other,)) as gate, gate.client() as a, gate.client() as b:
        await a.send(request())
        await upstream.received()
        assert (await b.ask(request())).status == 503
        assert (await b.ask(request("GET", "/other"))).status == 200
        release.set()
        assert (await a.answer()).status == 204


async def test_while_draining_answers_end_their_connections_and_idle_ones_end(upstream):
    """Row 60."""
    release = asyncio.Event()
    upstream.script(release, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    async with Gate(upstream.url) as gate, gate.client() as busy, gate.client() as idle:
        assert (await idle.ask(request("GET", "/nowhere"))).status == 404
        await busy.send(request())
        await upstream.received()
        draining = asyncio.create_task(gate.front.drain(60.0))
        assert await idle.ended() == b""
        release.set()
        answer = await busy.answer()
        assert answer.body == b"ok"
        assert answer.field(b"connection") == b"close"
        busy.writer.close()
        assert await draining


async def test_a_drain_does_not_wait_for_ever(upstream):
    upstream.script(ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        await upstream.received()
        assert not await gate.front.drain(0.05)


@pytest.mark.parametrize("state", ["token", "dial", "renewal", "answer", "body"])
async def test_an_app_that_hangs_up_leaves_nothing_behind(upstream, state):
    """Row 56."""
    tokens = ScriptedTokens(None if state == "token" else "old", "new")
    if state in ("token", "renewal"):
        tokens.gate.clear()
    if state == "renewal":
        upstream.answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    elif state != "body":
        upstream.script(ECHO)
    async with Gate(upstream.url, tokens=tokens) as gate:
        async with gate.client() as client:
            body = b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc"
            await client.send(body if state == "body" else request())
            if state == "token":
                await waited(lambda: tokens.waited)
            elif state == "renewal":
                await waited(lambda: tokens.refused)
            elif state != "dial":
                await waited(lambda: upstream.requests)
            client.reset()
        await waited(lambda: not gate.front.connections)
        assert gate.front.in_flight == gate.live_route.stats.in_flight == 0
        tokens.gate.set()
        await waited(lambda: upstream.open_connections == len(gate.pool._idle))
        assert (await gate.ask(request("GET", "/nowhere"))).status == 404


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(proxy_server, "LOOK_EVERY", 0.0)


class Stuck:
    """An upstream that reads nothing behind the head until it may `begin`, and then answers. `left`: it is alone."""

    def __init__(self):
        self.begin, self.left = asyncio.Event(), asyncio.Event()
        self.body = b""

    async def __call__(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await self.begin.wait()
        try:
            if b"Content-Length" in head:
                self.body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.left.set()
        writer.close()


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="the system tells no end before it is read")
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("way", ["reset", "closed"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
async def test_an_app_that_hangs_up_while_its_body_must_wait_is_noticed(framing, way):
    """Row 57: nothing is read from it, so nothing tells of its end."""
    stuck, piece = Stuck(), b"8000\r\n" + bytes(0x8000) + b"\r\n"
    async with await asyncio.start_server(stuck, "127.0.0.1", 0, limit=2**14) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"http://127.0.0.1:{port}") as gate, gate.client() as client:
            await client.send(b"PUT /crm HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % framing.encode())
            await waited(lambda: gate.apps)
            (connection,) = gate.apps
            waits = 0
            while waits < 5:
                waits = waits + 1 if connection.flow.reasons else 0
                if not waits:
                    await client.send(piece)
                await asyncio.sleep(0.01 if waits else 0)
            await client.send(piece)
            if way == "reset":
                client.reset()
            elif framing.startswith("Content-Length"):
                client.writer.close()
            else:  # what waits to be read might be the rest: it takes the upstream to go on
                client.writer.close()
                await asyncio.sleep(2 * proxy_server.SWEEP_EVERY)
                assert gate.front.connections
                stuck.begin.set()
            await waited(lambda: not gate.front.connections)
            await waited(lambda: not gate.pool.open)
            assert gate.front.in_flight == 0
            stuck.begin.set()
            await asyncio.wait_for(stuck.left.wait(), 30)


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="the system tells no end before it is read")
@pytest.mark.usefixtures("soon")
async def test_an_app_that_hangs_up_in_the_middle_of_a_body_whose_token_is_awaited_is_noticed(upstream):
    """Row 57: as much of it is kept as may be."""
    tokens = ScriptedTokens(None, "t")
    tokens.gate.clear()
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        await client.send(b"PUT /crm HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"20000\r\n" + bytes(0x20000) + b"\r\n")
        await waited(lambda: any(one.exchange.body.size == 0x20000 for one in gate.apps if one.exchange))
        client.writer.close()
        await waited(lambda: not gate.front.connections)
        assert gate.front.in_flight == 0


@pytest.mark.usefixtures("soon")
async def test_an_app_that_hangs_up_with_its_later_requests_unread_is_noticed():
    """Row 57: enough of them wait, so no more is read."""
    stuck = Stuck()
    async with await asyncio.start_server(stuck, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"http://127.0.0.1:{port}") as gate, gate.client() as client:
            client.writer.write(request() * 10_000)
            await waited(lambda: any(one.flow.reasons for one in gate.apps))
            client.reset()
            await waited(lambda: not gate.front.connections)
            stuck.begin.set()
            await asyncio.wait_for(stuck.left.wait(), 30)


@pytest.mark.usefixtures("soon")
async def test_an_app_that_half_closes_behind_a_body_that_must_wait_gets_its_answer():
    """Rows 57 and 58: its end is seen while its last octets still wait to be read, and means nothing."""
    stuck = Stuck()
    size = 6 * 1024 * 1024
    async with await asyncio.start_server(stuck, "127.0.0.1", 0, limit=2**14) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"http://127.0.0.1:{port}") as gate, gate.client() as client:
            client.writer.write(request("PUT", body=LARGE[:size]))
            await waited(lambda: any(one.flow.reasons for one in gate.apps))
            client.writer.write_eof()
            await waited(lambda: not client.writer.transport.get_write_buffer_size())
            await asyncio.sleep(4 * proxy_server.SWEEP_EVERY)
            (connection,) = gate.apps
            assert connection.flow.reasons
            stuck.begin.set()
            assert (await client.answer()).body == b"done"
            assert stuck.body == LARGE[:size]


@pytest.mark.usefixtures("soon")
async def test_an_app_that_half_closes_and_then_hangs_up_is_noticed():
    """Rows 57 and 58: behind its end nothing is read from it any more."""
    stuck = Stuck()
    async with await asyncio.start_server(stuck, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"http://127.0.0.1:{port}") as gate, gate.client() as client:
            await client.send(request())
            await waited(lambda: gate.pool.open)
            client.writer.write_eof()
            await asyncio.sleep(2 * proxy_server.SWEEP_EVERY)
            assert gate.front.connections
            client.reset()
            await waited(lambda: not gate.front.connections and not gate.pool.open)
            stuck.begin.set()
            await asyncio.wait_for(stuck.left.wait(), 30)


class Defect:
    """Something of ours with a mistake in it: whatever is asked of it fails."""

    def __init__(self, *fails: str) -> None:
        self._fails = fails
        self.strips: tuple[bytes, ...] = ()

    def _or(self, name: str, value: object) -> object:
        if name in self._fails:
            raise KeyError("s3cret")
        return value

    def pick(self, request: object, field: object) -> object:  # noqa: ARG002 - the interface
        return self._or("pick", self)

    def whose(self, tokens: object) -> object:  # noqa: ARG002 - the interface
        return self._or("whose", self)

    def ready(self) -> object:
        return self._or("ready", None if "current" in self._fails else Token(access_token="t"))

    async def current(self) -> object:
        return self._or("current", None)

    def predecessor(self, young: Token) -> object:  # noqa: ARG002 - the interface
        return self._or("predecessor", None)

    async def renew(self, refused: Token) -> object:  # noqa: ARG002 - the interface
        return self._or("renew", Token(access_token="n"))


@pytest.mark.parametrize("where", ["pick", "ready", "current"])
@pytest.mark.parametrize("body", [b"", b"x" * 100])
async def test_a_mistake_in_what_gives_tokens_is_answered_and_the_next_request_is_served(upstream, where, body, caplog):
    picker: Any = Defect(where)
    more = ({"match": schema.Match(path="/plain")},)
    async with Gate(upstream.url, picker=picker, more_routes=more) as gate, gate.client() as client:
        for _ in range(2):
            answer = await client.ask(request("POST", body=body))
            assert answer.status == 500
            assert answer.field(b"content-type") == b"application/problem+json"
            assert answer.field(b"proxy-status") == b"auth-sidecar; error=proxy_internal_error"
        assert gate.front.in_flight == 0
    assert "internal error while serving a request, please report: KeyError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("where", ["whose", "predecessor", "renew"])
async def test_a_mistake_in_what_is_made_of_a_refusal_leaves_the_app_with_an_answer(upstream, where, caplog):
    """The upstream's own; never a connection that just ends."""
    upstream.answer = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"
    picker: Any = Defect(where)
    async with Gate(upstream.url, picker=picker) as gate, gate.client() as client:
        for _ in range(2):
            assert (await client.ask(request())).status == 401
        assert gate.front.in_flight == 0
    assert "please report: KeyError" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_cancellation_that_leaks_out_of_a_token_request_is_answered_too(upstream):
    class Leaking(ScriptedTokens):
        async def current(self) -> Token:
            raise asyncio.CancelledError

    async with Gate(upstream.url, tokens=Leaking(None)) as gate:
        assert (await gate.ask(request())).status == 500


@pytest.mark.parametrize("method", ["admit", "target"])
async def test_a_mistake_before_there_is_a_token_is_answered(upstream, monkeypatch, method):
    async with Gate(upstream.url) as gate, gate.client() as client:
        place = gate.front if method == "admit" else gate.live_route
        with monkeypatch.context() as broken:
            broken.setattr(place, method, lambda *_, **__: 1 / 0)
            assert (await client.ask(request())).status == 500
        assert (await client.ask(request())).status == 200


async def test_a_mistake_while_an_answer_is_read_is_told_to_the_app(upstream, monkeypatch):
    async with Gate(upstream.url) as gate, gate.client() as client:
        with monkeypatch.context() as broken:
            broken.setattr("proxy.forward.exchange.Exchange.answered", lambda *_, **__: 1 / 0)
            assert (await client.ask(request())).status == 500
        assert (await client.ask(request())).status == 200


# ---- every request is counted once -----------------------------------------------------------------------------------

LONG = b"x" * 8_000_000
EVENTS = (
    "answer",
    "rest",
    "upload",
    "half close",
    "total",
    "idle",
    "token",
    "upstream ends",
    "upstream resets",
    "app resets",
)


async def happens(event: str, gate: Gate, client: Client, steps: dict[str, asyncio.Event], later) -> None:
    """One thing that may happen at any time, or that is nothing any more when it comes too late."""
    if event in steps:
        steps[event].set()
    elif event in ("upload", "half close", "app resets"):
        with contextlib.suppress(OSError, RuntimeError):  # it has ended
            {"upload": lambda: client.writer.write(b"rest"), "half close": client.writer.write_eof}.get(
                event, client.reset
            )()
    else:
        later({"total": 1001.0, "idle": 101.0, "token": 0.0}[event])
        for one in list(gate.front.connections):
            if event == "token":
                one.token_expired()
            elif one.deadline <= later.monotonic():
                one.expire()
    for _ in range(300):
        await asyncio.sleep(0)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("seed", range(100))
async def test_a_request_is_counted_once_whatever_happens_to_it_and_in_which_order(version, seed, later):
    dice = random.Random(seed)
    order = ["answer"] * dice.randrange(2) + dice.sample(EVENTS, k=4)
    steps = {name: asyncio.Event() for name in ("answer", "rest", "upstream ends", "upstream resets")}

    async def serve(reader, writer):
        async def say(step: str, octets: bytes) -> None:
            await steps[step].wait()
            writer.write(octets)

        async def leave(step: str, *, reset: bool) -> None:
            await steps[step].wait()
            if reset and (handle := writer.get_extra_info("socket")).fileno() >= 0:
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()

        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            tasks = [
                say("answer", head + b"%x\r\n%b\r\n" % (len(LONG), LONG)),
                say("rest", b"0\r\n\r\n"),
                leave("upstream ends", reset=False),
                leave("upstream resets", reset=True),
            ]
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
        writer.close()

    timeouts = replace(schema.RouteTimeouts(), total=schema.Duration(1000.0), idle=schema.Duration(100.0))
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    route = {"timeouts": timeouts, "on_token_expiry": "close"}
    async with listening, Gate(url, clock=later, route=route) as gate, gate.client(limit=1024) as client:
        upload = b"POST /crm HTTP/%b\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nbegins" % version
        await client.send(upload)
        async with asyncio.timeout(30):
            while not gate.front.in_flight:
                await asyncio.sleep(0)
            for event in order:
                await happens(event, gate, client, steps, later)
            while gate.front.connections:
                later(10_000.0)
                for one in list(gate.front.connections):
                    one.expire()
                await asyncio.sleep(0)
        for step in steps.values():
            step.set()
        assert sum(gate.live_route.stats.counts.values()) == 1, order
        assert gate.live_route.stats.durations.buckets.count(0) == len(gate.live_route.stats.durations.buckets) - 1
        assert gate.front.in_flight == gate.live_route.stats.in_flight == 0


async def test_an_upload_that_its_app_ends_while_it_reads_nothing_is_counted_once(upstream, later):
    """The connection waits for its reader, and the time of the request ends meanwhile."""
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG, READ)
    timeouts = replace(schema.RouteTimeouts(), total=schema.Duration(100.0))
    async with Gate(upstream.url, clock=later, route={"timeouts": timeouts}) as gate, gate.client(limit=1024) as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nbegins")
        (app,) = gate.apps
        async with asyncio.timeout(30):
            while not app.full:
                await asyncio.sleep(0.001)
            client.writer.write_eof()
            while not app._half_closed:
                await asyncio.sleep(0.001)
            later(101)
            app.expire()
        assert gate.live_route.stats.counts == {("POST", 200): 1}
        assert gate.live_route.stats.in_flight == 0
