"""One connection to an API: what is read from it belongs to the exchange that asked, or to nobody."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import CLOSE, READ, RESET, RecordingUpstream
from support.tls import Authority

from proxy.clock import SystemClock
from proxy.config import schema
from proxy.forward import upstream as upstream_room
from proxy.forward.dial import Dialler, Origin
from proxy.forward.pool import Pool
from proxy.forward.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    "answer",
    [
        OK + EVIL,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + EVIL,
        b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL,
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n" + EVIL,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
    ],
)
async def test_octets_behind_an_answer_never_become_the_next_one(upstream, answer):
    """Row 54: more than was announced ends the connection."""
    upstream.script(answer)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request())).body in (b"ok", b"")
        assert (await client.ask(request())).body == b"ok"
    assert upstream.connections == 2


async def test_octets_that_come_later_on_an_idle_connection_end_it(upstream):
    """Row 45."""
    late = asyncio.Event()
    upstream.script(OK, late, EVIL)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request())).body == b"ok"
        late.set()
        await upstream.until(lambda: True if not upstream.open_connections else None)
        assert (await client.ask(request())).body == b"ok"
    assert upstream.connections == 2


async def test_a_second_answer_while_the_first_is_held_for_a_renewal_is_nobodys(upstream):
    late = asyncio.Event()
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\nno way", late, EVIL)
    tokens = ScriptedTokens("old", "new")
    tokens.gate.clear()
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        await client.send(request())
        async with asyncio.timeout(30):
            while not tokens.refused:
                await asyncio.sleep(0.005)
        late.set()
        await asyncio.sleep(0.05)
        tokens.gate.set()
        assert (await client.answer()).body == b"ok"
    assert [one.connection for one in upstream.requests] == [1, 2]


async def test_the_trailers_of_one_answer_never_end_another(upstream):
    """Row 1, toward the upstream."""
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-First: 1\r\n\r\n")
    upstream.script(b"HTTP/1.1 200 OK\r\n\r\nrest", CLOSE)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request())).raw.endswith(b"X-First: 1\r\n\r\n")
        second = await client.ask(request())
        assert second.body == b"rest"
        assert b"X-First" not in second.raw
    assert [one.connection for one in upstream.requests] == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ],
)
async def test_a_malformed_answer_is_502_and_ends_its_connection(upstream, answer):
    """Rows 26 and 54."""
    upstream.script(answer)
    async with Gate(upstream.url) as gate, gate.client() as client:
        got = await client.ask(request())
        assert got.status == 502
        assert got.field(b"proxy-status") == b"auth-sidecar; error=http_protocol_error"
        await upstream.until(lambda: True if not upstream.open_connections else None)
        assert (await client.ask(request())).body == b"ok"


async def test_an_answers_head_that_is_too_large_is_502(upstream):
    """Row 14."""
    upstream.script(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n")
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(request())
    assert answer.status == 502
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=http_response_header_section_size"


async def test_malformed_chunks_cut_the_answer(upstream):
    late = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", late, b"zz\r\n")
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"ok")
        late.set()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.reader.readexactly(100)


async def test_a_truncated_answer_until_close_is_a_reset_for_http_1_0_too(upstream):
    """Row 30: an orderly end would say that this was all."""
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", RESET)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"GET /crm HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await client.ended()


@pytest.mark.parametrize("orderly", [True, False])
async def test_over_tls_an_answer_until_close_is_whole_only_if_the_upstream_said_goodbye(orderly, tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it?")
        await writer.drain()
        if not orderly:
            writer.transport.abort()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_context()) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        gate = Gate(url, route={"tls": schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))})
        async with gate, gate.client() as client:
            if orderly:
                assert (await client.ask(request())).body == b"all of it?"
            else:
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await client.ask(request())


async def test_a_connection_that_the_upstream_wants_closed_is_not_used_again(upstream):
    upstream.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with Gate(upstream.url) as gate, gate.client() as client:
        for _ in range(3):
            answer = await client.ask(request())
            assert answer.field(b"connection") is None
    assert upstream.connections == 3


async def test_a_keep_alive_time_of_the_upstream_is_heeded(upstream):
    """Row 44."""
    upstream.answer = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=9\r\nContent-Length: 2\r\n\r\nok"
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request())).field(b"keep-alive") is None
        async with asyncio.timeout(30):
            await upstream.until(lambda: True if not upstream.open_connections else None)


async def test_a_connection_that_idled_is_looked_at_before_it_is_used(upstream):
    """Row 45: a 408 that nobody asked for answers no request."""
    late = asyncio.Event()
    upstream.script(OK, late, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", CLOSE)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(request())
        (idle,) = gate.pool._idle
        idle.idle_since -= 2.0
        idle.transport.pause_reading()  # as if the loop had not come round to it yet
        late.set()
        await asyncio.sleep(0.1)
        assert (await client.ask(request("POST", body=b"x"))).status == 200


async def test_an_answer_before_the_whole_request_was_taken_leaves_no_connection_behind(upstream):
    upstream.script(OK, READ)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        answer = await client.answer()
        assert answer.body == b"ok"
        assert answer.field(b"connection") == b"close"
        await upstream.until(lambda: True if not upstream.open_connections else None)


async def test_a_certificate_of_nobody_we_know_is_refused():
    authority = Authority()
    async with RecordingUpstream(tls=authority.server_context()) as upstream, Gate(upstream.url) as gate:
        answer = await gate.ask(request())
    assert answer.status == 502
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=tls_certificate_error"


async def test_an_upstream_that_speaks_no_tls_is_a_protocol_error():
    async def serve(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"https://127.0.0.1:{port}") as gate:
            answer = await gate.ask(request())
    assert answer.status == 502
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=tls_protocol_error"


async def test_an_upstream_that_answers_and_never_reads_the_rest_of_the_request_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(upstream_room, "_FAREWELL", 0.05)
    pool = Pool(Dialler(Origin("http", "localhost", 80, 1.0)), 32768, 200, SystemClock())
    ours, theirs = socket.socketpair()
    with theirs:
        _, connection = await asyncio.get_running_loop().create_connection(lambda: Upstream(pool), sock=ours)
        connection.transport.write(bytes(2**22))
        assert connection.full
        connection.release(0.0)
        assert pool.open == {connection}, "it may be reading still"
        async with asyncio.timeout(30):
            while pool.open:
                await asyncio.sleep(0.01)


INTERIM = b"HTTP/1.1 102 Processing\r\nX: 1\r\n\r\n"


async def test_a_server_that_works_for_long_may_say_so_a_hundred_times(upstream):
    upstream.script(INTERIM * 100 + OK)
    upstream.script(INTERIM * 100 + OK)
    async with Gate(upstream.url) as gate, gate.client() as client:
        for _ in range(2):
            await client.send(request())
            for _ in range(100):
                assert (await client.answer()).raw == INTERIM
            assert (await client.answer()).body == b"ok"
    assert upstream.connections == 1


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("interim", [INTERIM, b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_interim_answers_without_end_are_none_and_hold_up_nobody(interim, version):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(interim * 10_000)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        gate = Gate(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with gate, gate.client() as client, asyncio.timeout(30):
            await client.send(request().replace(b"1.1", version))
            came = [await client.answer()]
            while came[-1].status < 200:
                came.append(await client.answer())
    assert came[-1].status == 502
    assert came[-1].field(b"proxy-status") == b"auth-sidecar; error=http_protocol_error"
    assert len(came) <= 101


async def test_a_bad_chunk_before_anything_else_is_502(upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(request())).status == 502


@pytest.mark.parametrize("together", [True, False])
async def test_what_came_before_a_bad_chunk_is_delivered(upstream, together):
    late = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    if together:
        upstream.script(head + b"2\r\nok\r\n3\r\nabc\r\nzz\r\n")
    else:
        upstream.script(head, late, b"2\r\nok\r\n3\r\nabc\r\nzz\r\n")
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"\r\n\r\n")
        late.set()
        came = await client.ended()
    assert came in (b"5\r\nokabc\r\n", b"2\r\nok\r\n3\r\nabc\r\n"), "and no last chunk"
