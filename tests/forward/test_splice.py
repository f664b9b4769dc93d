"""Long bodies go through one buffer, and what is in it for one connection is never sent on another."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import random
import socket

import pytest
from support.front import Gate, ScriptedTokens, request
from support.tls import Authority

from proxy.config import schema
from proxy.forward.splice import LARGEST, LONG, Splice, open_splice, pass_on

CHANCE = random.Random(57)
"""Bodies whose every octet says where it belongs."""


def body(size: int) -> bytes:
    return CHANCE.randbytes(size)


async def eventually(condition, *, seconds: float = 30.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Reader(asyncio.Protocol):
    """Keeps copies of what comes, and in which way it came."""

    def __init__(self):
        self.passed: list[bytes] = []
        self.rest = b""
        self.told: list[object] = []

    def body_came(self, view):
        self.passed.append(bytes(view))

    def data_received(self, data):
        self.rest += data

    def eof_received(self):
        self.told.append("end")
        return True

    def connection_lost(self, error):
        self.told.append(error)

    def pause_writing(self):
        self.told.append("full")

    def resume_writing(self):
        self.told.append("drained")


async def pair() -> tuple[asyncio.Transport, Reader, socket.socket]:
    """A connected transport, its protocol, and the other end, which nobody reads."""
    ours, theirs = socket.socketpair()
    transport, reader = await asyncio.get_running_loop().create_connection(Reader, sock=ours)
    return transport, reader, theirs


@pytest.fixture
async def source():
    transport, reader, far = await pair()
    with far:
        yield transport, reader, far
        transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def sink():
    transport, reader, far = await pair()
    with far:
        yield transport, reader, far
        transport.abort()
        await asyncio.sleep(0)


async def test_a_body_passes_and_what_comes_behind_it_does_not(source, sink):
    transport, reader, far = source
    octets = body(LONG + 1)
    open_splice(reader, transport, sink[0], len(octets))

    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(_loose(far), octets + b"next"))
    await eventually(lambda: reader.rest == b"next")
    await sending

    assert b"".join(reader.passed) == octets
    assert transport.get_protocol() is reader


async def test_a_short_body_and_an_encrypted_one_have_no_passage(source, sink, monkeypatch):
    transport, reader, _ = source
    open_splice(reader, transport, sink[0], LONG)
    assert transport.get_protocol() is reader
    for encrypted in (transport, sink[0]):
        with monkeypatch.context() as patched:
            patched.setitem(encrypted._extra, "ssl_object", object())
            open_splice(reader, transport, sink[0], LONG + 1)
            assert transport.get_protocol() is reader


async def test_there_is_one_passage_at_a_time(source, sink):
    transport, reader, _ = source
    open_splice(reader, transport, sink[0], LONG + 1)
    first = transport.get_protocol()
    open_splice(reader, transport, sink[0], LONG + 1)
    assert isinstance(first, Splice)
    assert transport.get_protocol() is first


async def test_the_owner_hears_all_that_it_would_have_heard_itself(source, sink):
    transport, reader, far = source
    open_splice(reader, transport, sink[0], LONG + 1)
    transport.write(bytes(10**6))
    far.shutdown(socket.SHUT_WR)
    await eventually(lambda: "end" in reader.told)
    loop, loose = asyncio.get_running_loop(), _loose(far)
    left = 10**6
    while left:
        left -= len(await loop.sock_recv(loose, 2**20))
    await eventually(lambda: "drained" in reader.told)
    transport.abort()
    await eventually(lambda: None in reader.told)
    assert reader.told == ["full", "end", "drained", None]


@pytest.fixture
async def stalled():
    """A transport over TCP, whose socket takes megabytes, and the other end, which nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    transport, _ = await asyncio.get_running_loop().create_connection(Reader, sock=ours)
    with far:
        yield transport, far
        transport.abort()
        await asyncio.sleep(0)


async def test_pieces_shrink_before_the_other_socket_is_full_and_grow_again(source, stalled):
    """Row 41: what must be copied for an app that stalls is little, however fast it was until then."""
    transport, reader, _ = source
    slow, far = stalled
    octets, passed = memoryview(bytes(LARGEST)), 0
    way = Splice(reader, transport, slow, 1000 * LARGEST)
    first = len(way.get_buffer(-1))
    while not slow.get_write_buffer_size():
        piece = len(way.get_buffer(-1))
        pass_on(slow, octets[:piece])
        way.buffer_updated(piece)
        passed += piece
    assert piece == LONG
    assert slow.get_write_buffer_size() <= LONG
    assert len(way.get_buffer(-1)) == LONG, "and so it stays until the app reads on"

    loop, loose = asyncio.get_running_loop(), _loose(far)
    while passed:
        passed -= len(await loop.sock_recv(loose, 2**20))

    def grown():
        way.buffer_updated(0)
        return len(way.get_buffer(-1)) >= first

    await eventually(grown)


async def test_where_a_system_does_not_tell_what_waits_the_send_buffer_alone_counts(source, stalled, monkeypatch):
    def refuses(*_):
        raise OSError(25, "Inappropriate ioctl for device")

    transport, reader, _ = source
    monkeypatch.setattr(fcntl, "ioctl", refuses)
    size = stalled[0].get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    way = Splice(reader, transport, stalled[0], 10 * LARGEST)
    assert len(way.get_buffer(-1)) == max(LONG, min(LARGEST, size // 2))


async def test_the_first_piece_is_no_larger_than_what_the_other_socket_takes(source, sink):
    """Row 41: an app far away, whose connection has shown nothing yet, costs no megabyte when it stalls."""
    transport, reader, _ = source
    sink[0].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    assert len(Splice(reader, transport, sink[0], LARGEST).get_buffer(-1)) == LONG


async def test_what_comes_for_a_side_that_is_gone_ends_nothing(source, sink):
    """Row 41: an upstream refuses a long upload and is left; the app that still sends must be able to read why."""
    transport, reader, far = source
    gone = sink[0]
    way = Splice(reader, transport, gone, 10 * LARGEST)
    way._size = 4096
    gone.abort()
    await asyncio.sleep(0.01)
    octets = body(4 * LONG)
    await asyncio.get_running_loop().sock_sendall(_loose(far), octets)
    await eventually(lambda: reader.told or b"".join(reader.passed) == octets)
    assert reader.told == []


@pytest.mark.parametrize("waiting", [0, 1, 300_000])
async def test_what_a_socket_does_not_take_is_copied_before_the_buffer_is_used_again(sink, waiting):
    transport, _, far = sink
    before, octets = bytes(waiting), body(LARGEST)
    shared = bytearray(octets)
    transport.write(before)
    pass_on(transport, memoryview(shared))
    shared[:] = bytes(len(shared))
    pass_on(transport, b"behind")

    whole = before + octets + b"behind"
    got = b""
    while len(got) < len(whole):
        got += await asyncio.get_running_loop().sock_recv(_loose(far), 2**20)
    assert hashlib.sha256(got).digest() == hashlib.sha256(whole).digest()


class Keeping(asyncio.Transport):
    """Keeps what it is given as it is, as those of Python 3.12 and later do."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def get_write_buffer_size(self):
        return 1

    def write(self, data):
        self.kept.append(data)


def test_no_transport_is_given_a_view_to_keep():
    transport, shared = Keeping(), bytearray(b"mine")
    pass_on(transport, memoryview(shared))
    shared[:] = b"next"
    assert transport.kept == [b"mine"]


async def test_octets_for_a_connection_that_broke_or_ended_go_nowhere_and_the_owner_is_told(sink):
    transport, reader, far = sink
    far.close()
    pass_on(transport, memoryview(body(LONG)))
    await eventually(lambda: reader.told)
    assert isinstance(reader.told[-1], BrokenPipeError)
    pass_on(transport, memoryview(body(LONG)))


@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix"])
async def test_bodies_of_many_connections_do_not_meet(upstream, tmp_path, address):
    """All share one buffer, some read slowly, all send and receive at once."""
    sizes = [LONG - 1, LONG, 3 * LONG + 7, LARGEST - 300, LARGEST, 5 * LARGEST + 1]
    bodies = {b"/%d" % number: body(size) for number, size in enumerate(sizes * 2)}
    upstream.answer = lambda received: (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(bodies[received.target]) + bodies[received.target],
    )
    address = f"unix:{tmp_path}/s" if address == "unix" else address
    async with Gate(upstream.url, address=address) as gate:

        async def visit(target: bytes, octets: bytes) -> None:
            slow = len(octets) % 2
            async with gate.client(limit=2**16 if slow else 2**24) as client:
                sending = asyncio.create_task(client.send(request("PUT", f"/crm{target.decode()}", body=octets[::-1])))
                if slow:
                    await asyncio.sleep(0.1)
                assert (await client.answer()).body == octets
                await sending
                assert (await client.ask(request("GET", f"/crm{target.decode()}"))).body == octets

        await asyncio.gather(*(visit(*one) for one in bodies.items()))
    got = {one.target: bytes(one.body) for one in upstream.requests if one.head.startswith(b"PUT ")}
    assert got == {target: octets[::-1] for target, octets in bodies.items()}


@pytest.mark.parametrize("tls", [False, True])
async def test_a_body_that_is_kept_for_a_second_attempt_is_kept_as_it_was(upstream, tls):
    """Row 47: the credential is refused only once a good part of the body has come."""
    octets, other = body(LARGEST), body(3 * LARGEST)
    route = {"retry": schema.Retry(buffer=schema.Size(2 * LARGEST))}
    authority = Authority()
    refusal, good = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    upstream.answer = lambda got: (refusal if got.target == b"/x" and b"Bearer old" in got.head else good,)
    async with Gate(
        upstream.url,
        tokens=ScriptedTokens("old", "new"),
        route=route,
        tls=authority.server_context() if tls else None,
    ) as gate:
        options = {"ssl": authority.client_context(), "server_hostname": "localhost"} if tls else {}
        async with gate.client(**options) as one, gate.client(**options) as two:
            await one.send(request("PUT", "/crm/x", body=octets))
            assert (await two.ask(request("PUT", "/crm/other", body=other))).status == 200
            assert (await one.answer()).status == 200
    sent = [bytes(one.body) for one in upstream.requests if one.target == b"/x"]
    assert sent == [octets, octets]
    assert [bytes(one.body) for one in upstream.requests if one.target == b"/other"] == [other]


def _loose(handle: socket.socket) -> socket.socket:
    handle.setblocking(False)  # noqa: FBT003 - socket's own
    return handle
