"""Upstreams that close kept connections without a word: what may be sent again is, over a new connection, once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct

import pytest
from msgspec.structs import replace
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import CLOSE, RESET, Received
from support.tls import Authority

from proxy.config import schema

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {
    "length": OK,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}
RETRY = schema.Retry()


class Leaving:
    """Answers, and then often ends the connection, whatever it let the other side believe.

    `share` of the connections end behind an answer, by `reset` or in good order; `reads`: not before the next request.
    """

    def __init__(self, answer: bytes, share: float, *, reset: bool, reads: bool) -> None:
        self.answer = answer
        self.dice = random.Random(22)
        self.share, self.reset, self.reads = share, reset, reads
        self.connections = 0
        self.unanswered = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            while True:
                writer.write(self.answer)
                await writer.drain()
                leaves = self.dice.random() < self.share
                if leaves and not self.reads:
                    break
                await reader.readuntil(b"\r\n\r\n")
                if leaves:
                    self.unanswered += 1
                    break
        if self.reset:
            handle = writer.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize(
    ("framing", "share", "reset", "reads"),
    [
        ("length", 1.0, False, False),
        ("chunks", 1.0, False, False),
        ("length", 1.0, True, False),
        ("length", 1.0, False, True),
        ("length", 1.0, True, True),
        ("length", 0.5, False, False),
        ("chunks", 0.3, True, False),
        ("length", 0.5, False, True),
    ],
)
async def test_two_thousand_requests_at_once_are_all_answered(tmp_path, framing, share, reset, reads, encrypted):
    """None of them is to be told that a connection, of which it knows nothing, was closed."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    many = 300 if encrypted else 2000
    upstream = Leaving(ANSWERS[framing], share, reset=reset, reads=reads)
    context = authority.server_context() if encrypted else None
    statuses: list[int] = []
    numbers = iter(range(many))

    async def ask(gate: Gate) -> None:
        async with gate.client() as client:
            while next(numbers, None) is not None:
                statuses.append((await client.ask(request())).status)

    async with await asyncio.start_server(upstream, "127.0.0.1", 0, ssl=context, backlog=500) as server:
        url = f"http{'s' * encrypted}://localhost:{server.sockets[0].getsockname()[1]}"
        route = {"tls": schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))} if encrypted else {}
        async with Gate(url, route=route) as gate, asyncio.timeout(60):
            await asyncio.gather(*(ask(gate) for _ in range(50)))
    assert statuses == [200] * many
    assert upstream.connections > 50
    assert gate.live_route.stats.retries.get("connection", 0) >= upstream.unanswered


async def test_the_repeat_goes_over_a_new_connection_and_over_no_other_kept_one(upstream):
    """Though there are twenty: each of them may be as dead."""
    held = asyncio.Event()
    for _ in range(20):
        upstream.script(held, OK)
    async with Gate(upstream.url) as gate:
        asked = [asyncio.create_task(gate.ask(request())) for _ in range(20)]
        await upstream.until(lambda: True if len(upstream.requests) == 20 else None)
        held.set()
        await asyncio.gather(*asked)
        upstream.script(RESET)
        assert (await gate.ask(request())).status == 200
    assert upstream.requests[-1].connection == 21
    assert gate.live_route.stats.retries == {"connection": 1}


async def test_once_a_kept_connection_was_dead_the_others_are_looked_at_first(upstream):
    """Even those of this very second."""
    held = asyncio.Event()
    for _ in range(5):
        upstream.script(held, OK, CLOSE)
    async with Gate(upstream.url) as gate:
        asked = [asyncio.create_task(gate.ask(request())) for _ in range(5)]
        await upstream.until(lambda: True if len(upstream.requests) == 5 else None)
        for one in gate.pool.open:
            one.flow.shut(0x1000)  # the loop does not come round to them, neither to their answers nor to their ends
        held.set()
        await upstream.until(lambda: True if not upstream.open_connections else None)
        for one in list(gate.pool.open):
            one.data_received(OK)
            one.flow.shut(0x1000)
        await asyncio.gather(*asked)
        assert len(gate.pool._idle) == 5
        first = gate.pool._idle[-1]
        first.flow.open()
        answers = [await gate.ask(request()) for _ in range(5)]
    assert [one.status for one in answers] == [200] * 5
    assert gate.live_route.stats.retries.get("connection", 0) <= 1


@pytest.mark.parametrize("end", [RESET, CLOSE])
async def test_a_repeat_that_fails_too_is_502_and_there_is_no_third(upstream, end):
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(request())
        upstream.script(end)
        upstream.script(end)
        answer = await client.ask(request())
    assert answer.status == 502
    assert b"connection_terminated" in (answer.field(b"proxy-status") or b"")
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_the_repeat_is_no_attempt_and_costs_no_other_favour(upstream, attempts):
    """A kept connection dies, the new one brings a 401, the renewed token goes over another kept one that dies."""

    def accepts_new(received: Received):
        return (
            (OK,)
            if received.field(b"authorization") == b"Bearer new"
            else (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",)
        )

    upstream.script(OK)
    upstream.script(CLOSE)
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    upstream.script(CLOSE)
    upstream.answer = accepts_new
    retry = replace(RETRY, max_attempts=attempts)
    gate = Gate(upstream.url, tokens=ScriptedTokens("old", "new"), route={"retry": retry})
    async with gate, gate.client() as client:
        await client.ask(request())
        assert (await client.ask(request())).status == (200 if attempts > 1 else 401)
    assert gate.live_route.stats.retries.get("connection") == (2 if attempts > 1 else 1)


@pytest.mark.parametrize(
    ("method", "fields", "route", "again"),
    [
        ("GET", (), {}, True),
        ("PUT", (), {}, True),
        ("POST", (), {}, False),
        ("PATCH", (), {}, False),
        ("POST", ("Idempotency-Key: 8e03978e",), {}, True),
        ("PATCH", ("idempotency-KEY:8e03978e",), {}, True),
        ("POST", ("Idempotency-Key:",), {}, False),
        ("POST", ("Idempotency-Key:  ",), {}, False),
        ("POST", ("X-Not-Idempotency-Key: 1",), {}, False),
        ("POST", ("Idempotency-Key: 1", "Connection: Idempotency-Key"), {}, False),
        ("POST", ("Idempotency-Key: 1",), {"headers": schema.HeaderEdits(remove=("Idempotency-Key",))}, False),
        ("GET", (), {"retry": replace(RETRY, on_connect_error=False)}, False),
        ("POST", ("Idempotency-Key: 1",), {"retry": replace(RETRY, on_connect_error=False)}, False),
        ("GET", (), {"retry": replace(RETRY, max_attempts=1)}, True),
    ],
)
@pytest.mark.parametrize("body", [b"", b"x" * 1000])
async def test_what_may_be_sent_again(upstream, method, fields, route, again, body):
    """Idempotent methods, and a key under which the upstream itself sees to it that nothing is done twice."""
    async with Gate(upstream.url, route=route) as gate, gate.client() as client:
        await client.ask(request())
        upstream.script(CLOSE)
        answer = await client.ask(request(method, "/crm/x", *fields, body=body))
    assert answer.status == (200 if again else 502)
    assert len(upstream.requests) == (3 if again else 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_body_too_large_to_be_kept_is_not_sent_again(upstream, method):
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(request())
        upstream.script(CLOSE)
        assert (await client.ask(request(method, "/crm", "Idempotency-Key: 1", body=bytes(200_000)))).status == 502


@pytest.mark.parametrize("on_connect_error", [True, False])
@pytest.mark.parametrize("end", [RESET, CLOSE])
async def test_a_post_is_not_sent_over_a_connection_that_is_seen_to_be_over(upstream, end, on_connect_error):
    """Nothing of it has been sent: to take another connection is no repeat."""
    upstream.script(OK, end)
    route = {"retry": replace(RETRY, on_connect_error=on_connect_error)}
    async with Gate(upstream.url, route=route) as gate, gate.client() as client:
        upstream.script(OK)
        await client.send(request())
        await upstream.received()
        for one in gate.pool.open:
            one.flow.shut(0x1000)
        await upstream.until(lambda: True if not upstream.open_connections else None)
        for one in list(gate.pool.open):
            one.data_received(OK)
            one.flow.shut(0x1000)  # the loop has not come round to its end yet
        assert (await client.answer()).body == b"ok"
        assert (await client.ask(request("POST", body=b"once"))).status == 200
    assert [one.line[:4] for one in upstream.requests] == [b"GET ", b"POST"]


async def test_an_app_that_hangs_up_while_its_repeat_waits_for_a_connection_leaves_nobody_waiting(upstream):
    async with Gate(upstream.url) as gate:
        async with gate.client() as client:
            await client.ask(request())
            upstream.script(CLOSE)
            await upstream.stop()
            await client.send(request())
            client.reset()
        async with asyncio.timeout(30):
            while gate.front.in_flight or gate.pool._dials:
                await asyncio.sleep(0.005)
        assert not gate.pool._wanting_new


class LeavingAtOnce:
    """Reads a whole request, answers, says nothing of an end, and ends the connection a moment later."""

    def __init__(self, *, reset: bool) -> None:
        self.reset = reset

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head:
                await reader.readuntil(b"0\r\n\r\n")
            else:
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
            writer.write(OK)
            await writer.drain()
        await asyncio.sleep(0.002)  # so that the answer has been read (a reset destroys what has not), and used
        if self.reset:
            handle = writer.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()


CHUNKS = b"30d40\r\n" + bytes(200_000) + b"\r\n0\r\n\r\n"
ONCE_ONLY = {
    "a post": request("POST", body=b"abc"),
    "a method that nobody knows": request("MOVE"),
    "a body too long to keep": request("PUT", body=bytes(200_000)),
    "chunks too many to keep": request("PUT", "/crm/x", "Transfer-Encoding: chunked")
    + b"30d40\r\n"
    + bytes(200_000)
    + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
@pytest.mark.parametrize("kind", ONCE_ONLY)
async def test_what_could_not_be_sent_again_goes_over_no_connection_that_may_be_ending(kind, reset):
    """Looking at a connection does not help where it ends while the request is on its way."""
    upstream = LeavingAtOnce(reset=reset)
    statuses: list[int] = []
    numbers = iter(range(400))

    async def ask(gate: Gate) -> None:
        async with gate.client() as client:
            while next(numbers, None) is not None:
                statuses.append((await client.ask(ONCE_ONLY[kind])).status)

    async with (
        await asyncio.start_server(upstream, "127.0.0.1", 0, backlog=500, limit=2**20) as server,
        Gate(f"http://localhost:{server.sockets[0].getsockname()[1]}") as gate,
        asyncio.timeout(60),
    ):
        assert (await gate.ask(ONCE_ONLY[kind])).status == 200
        while gate.pool.open:  # its end has been seen
            await asyncio.sleep(0.001)
        await asyncio.gather(*(ask(gate) for _ in range(20)))
    assert statuses == [200] * 400
