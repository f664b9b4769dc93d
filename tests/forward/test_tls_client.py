"""TLS towards an upstream, beside OpenSSL's own server side: in memory, record by record, and on sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.front import Gate, request
from support.recording_upstream import RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.forward.socket_probe import ended_in_order
from proxy.forward.tls_client import TlsClient

AUTHORITY = Authority()
SERVER, CLIENT = AUTHORITY.server_context(), AUTHORITY.client_context()
MEBIBYTE = 2**20


class Wire(asyncio.Transport):
    """The inner transport: keeps what is written to it. `limits`, `held`: as an event loop's transport has them."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 443)})
        self.written: list[bytes] = []
        self.did: list[str] = []
        self.limits = (0, 0)

    def write(self, data) -> None:
        self.written.append(bytes(data))

    def take(self) -> bytes:
        octets, self.written = b"".join(self.written), []
        return octets

    def close(self) -> None:
        self.did.append("close")

    def abort(self) -> None:
        self.did.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.did or "abort" in self.did

    def pause_reading(self) -> None:
        self.did.append("pause")

    def resume_reading(self) -> None:
        self.did.append("resume")

    def is_reading(self) -> bool:
        return self.did[-1:] != ["pause"]

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.written))

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.limits

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        self.limits = (low, high)


class Listener(asyncio.Protocol):
    """Writes down what it is told; an end that was not in order is `cut`."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.data = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.heard.append(transport)

    def data_received(self, data) -> None:
        assert data
        self.data += data
        self.heard.append("data")

    def eof_received(self) -> None:
        self.heard.append("end" if ended_in_order(self.transport) else "cut")

    def connection_lost(self, error) -> None:
        self.heard.append(error)

    def pause_writing(self) -> None:
        self.heard.append("full")

    def resume_writing(self) -> None:
        self.heard.append("drained")


class Pair:
    """A client under test, and a server of OpenSSL's. `tell`: how many octets of a flight go into one read."""

    def __init__(self, *, client: ssl.SSLContext = CLIENT, server: ssl.SSLContext = SERVER) -> None:
        self.listener = Listener()
        self.wire = Wire()
        self.client = TlsClient(self.listener, client, "localhost", None)
        self._to_server, self._from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(self._to_server, self._from_server, server_side=True)

    def shake(self) -> None:
        """The handshake, and the server's session tickets."""
        self.client.connection_made(self.wire)
        for _ in range(3):
            self._to_server.write(self.wire.take())
            with contextlib.suppress(ssl.SSLWantReadError):
                self.server.do_handshake()
            self.tell(self.said())
        assert self.listener.heard[:1] == [self.client]
        self.client.ready.result()
        self.listener.heard.clear()

    def said(self, *pieces: bytes, end: bool = False) -> bytes:
        """Records of the server, one for each piece; `end`: and its close_notify."""
        for piece in pieces:
            self.server.write(piece)
        if end:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.server.unwrap()
        return self._from_server.read()

    def tell(self, octets: bytes, size: int = 2**20) -> None:
        """Let the client read them."""
        while octets:
            self.client.data_received(octets[:size])
            octets = octets[size:]

    def heard(self) -> bytes:
        """What the server can read; ends with `END` where the client said goodbye."""
        self._to_server.write(self.wire.take())
        plain = b""
        try:
            while piece := self.server.read(2**16):
                plain += piece
        except ssl.SSLWantReadError:
            return plain
        except ssl.SSLZeroReturnError:  # both sides have said goodbye
            pass
        return plain + END


END = b"<close_notify>"


@pytest.fixture
async def pair() -> Pair:
    pair = Pair()
    pair.shake()
    return pair


def version(newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = AUTHORITY.server_context()
    context.maximum_version = newest
    return context


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@settings(max_examples=60)
@given(
    messages=st.lists(st.lists(st.integers(1, 16384), min_size=1, max_size=4), min_size=1, max_size=4),
    size=st.sampled_from([1, 2, 5, 7, 100, 1000, 16401, 16406, 30000, 2**20]),
    end=st.booleans(),
)
def test_however_records_are_cut_each_message_is_delivered_as_soon_as_it_is_there(newest, messages, size, end):
    async def run() -> None:
        pair = Pair(server=version(newest))
        pair.shake()
        for number, sizes in enumerate(messages):
            pieces = [bytes([number]) * octets for octets in sizes]
            last = end and number == len(messages) - 1
            pair.listener.data = b""
            pair.tell(pair.said(*pieces, end=last), max(size, sum(sizes) // 200))
            assert pair.listener.data == b"".join(pieces)
        assert pair.listener.heard.count("end") == end
        assert pair.wire.did == (["close"] if end else [])

    asyncio.run(run())


async def test_records_that_come_in_one_read_are_delivered_in_one_piece(pair):
    pair.tell(pair.said(b"a" * 16384, b"b" * 16384, b"c"))
    assert pair.listener.heard == ["data"]
    assert len(pair.listener.data) == 2 * 16384 + 1


@pytest.mark.parametrize("end", [False, True])
async def test_what_was_said_before_a_reset_is_heard(pair, end):
    """An upstream refuses an upload, closes, and resets what still comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pair.wire._extra["socket"] = ours
        theirs.sendall(pair.said(b"too large", b"go away", end=end))
        theirs.close()
        pair.client.connection_lost(BrokenPipeError())
    assert pair.listener.data == b"too largego away"
    assert [type(one) for one in pair.listener.heard if one not in {"data", "end"}] == [BrokenPipeError]
    assert pair.listener.heard.count("end") == end


async def test_who_ended_it_hears_no_more_of_a_connection_that_is_reset(pair):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pair.wire._extra["socket"] = ours
        theirs.sendall(pair.said(b"too late"))
        theirs.close()
        pair.client.abort()
        pair.client.connection_lost(BrokenPipeError())
    assert pair.listener.data == b""


async def test_the_last_octets_and_the_goodbye_in_one_read_are_both_told_and_the_goodbye_is_returned(pair):
    pair.tell(pair.said(b"last words", end=True))
    assert pair.listener.data == b"last words"
    assert pair.listener.heard == ["data", "end"]
    assert pair.heard() == END
    assert pair.wire.did == ["close"]
    pair.client.eof_received()
    pair.client.connection_lost(None)
    assert pair.listener.heard == ["data", "end", None], "the end is told once"


async def test_an_end_that_tls_knows_nothing_of_is_told_from_one_in_order(pair):
    pair.tell(pair.said(b"half of it"))
    assert pair.client.eof_received() is False
    assert pair.listener.heard == ["data", "cut"]


async def test_who_closes_while_it_is_told_the_last_octets_is_not_told_the_end(pair):
    pair.listener.data_received = lambda _data: pair.client.close()
    pair.tell(pair.said(b"last words", end=True))
    assert pair.listener.heard == []
    assert pair.wire.did == ["close"]


@pytest.mark.parametrize("good", [b"", b"good before it"])
async def test_a_record_that_was_tampered_with_ends_the_connection_behind_what_was_good(pair, good):
    whole = pair.said(good) if good else b""
    bad = bytearray(pair.said(b"never to be seen"))
    bad[-1] ^= 1
    pair.tell(whole + bytes(bad))
    assert pair.listener.data == good
    assert pair.wire.did == ["abort"]
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):  # our alert has told the server why
        pair.heard()
    pair.client.connection_lost(None)
    error = pair.listener.heard[-1]
    assert isinstance(error, ssl.SSLError)
    pair.client.write(b"too late")
    assert pair.wire.written == []


async def test_what_is_written_is_handed_on_at_once_and_in_one_piece(pair):
    body = bytes(range(256)) * 1000
    for data in (b"short", memoryview(body), bytearray(body)):
        pair.client.write(data)
        assert len(pair.wire.written) == 1
        assert pair.client.get_write_buffer_size() > len(data)
        assert pair.heard() == bytes(data)
    pair.client.write(b"")
    assert pair.wire.written == []


async def test_what_is_encrypted_piece_by_piece_is_handed_on_whole():
    class Piecemeal(ssl.SSLObject):
        def write(self, data):
            return super().write(memoryview(data)[:1000])

    context = AUTHORITY.client_context()
    context.sslobject_class = Piecemeal
    pair = Pair(client=context)
    pair.shake()
    pair.client.write(bytes(range(256)) * 100)
    assert len(pair.wire.written) == 1
    assert pair.heard() == bytes(range(256)) * 100


async def test_closing_says_goodbye_behind_what_was_written_and_aborting_says_nothing(pair):
    pair.client.write(b"last")
    assert not pair.client.is_closing()
    pair.client.close()
    pair.client.close()
    pair.client.write(b"too late")
    assert pair.heard() == b"last" + END
    assert pair.wire.did == ["close"]
    assert pair.client.is_closing()
    other = Pair()
    other.shake()
    other.client.abort()
    assert other.wire.written == []
    assert other.wire.did == ["abort"]
    assert other.client.is_closing()


async def test_the_inner_transport_is_the_one_that_pauses_and_measures(pair):
    client = pair.client
    client.set_write_buffer_limits(high=5, low=3)
    assert client.get_write_buffer_limits() == (3, 5)
    client.pause_reading()
    assert not client.is_reading()
    client.resume_reading()
    assert client.is_reading()
    assert pair.wire.did == ["pause", "resume"]
    client.pause_writing()
    client.resume_writing()
    assert pair.listener.heard == ["full", "drained"]
    assert client.get_extra_info("ssl_object") is client.tls
    assert client.get_extra_info("peername") == ("192.0.2.1", 443)
    assert client.get_extra_info("nothing", 1) == 1
    assert not client.can_write_eof()


async def test_another_protocol_may_take_over(pair):
    other = Listener()
    pair.client.set_protocol(other)
    assert pair.client.get_protocol() is other
    pair.tell(pair.said(b"x"))
    pair.client.connection_lost(None)
    assert (other.heard, pair.listener.heard) == (["data", None], [])


async def test_a_handshake_that_fails_is_told_to_who_waits_and_to_the_server():
    pair = Pair(client=Authority().client_context())
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        pair.shake()
    with pytest.raises(ssl.SSLCertVerificationError):
        await pair.client.ready
    assert pair.wire.did[0] == "abort"
    assert pair.listener.heard == []


async def test_what_cannot_be_encrypted_ends_the_connection():
    pair = Pair()
    pair.client.connection_made(pair.wire)
    pair.client.write(b"too early")
    assert pair.wire.did == ["abort"]


@pytest.mark.parametrize("client", [CLIENT, Authority().client_context()])
async def test_who_no_longer_waits_for_the_handshake_is_not_told_of_its_outcome(client):
    pair = Pair(client=client)
    pair.client.ready.cancel()
    with contextlib.suppress(ssl.SSLError, asyncio.CancelledError):
        pair.shake()
    assert pair.client.ready.cancelled()


@pytest.mark.parametrize("given_up", [False, True])
async def test_an_end_in_the_handshake_is_told_to_who_waits(given_up):
    pair = Pair()
    pair.client.connection_made(pair.wire)
    pair.client.pause_writing()
    pair.client.resume_writing()
    if given_up:
        pair.client.ready.cancel()
    assert pair.client.eof_received() is False
    pair.client.connection_lost(None)
    if not given_up:
        with pytest.raises(ConnectionResetError):
            await pair.client.ready
    assert pair.listener.heard == []


# ---- on sockets ------------------------------------------------------------------------------------------------------


@pytest.mark.peer("openssl")
@pytest.mark.parametrize(("command", "newest"), [(b"K\n", "-tls1_3"), (b"k\n", "-tls1_3"), (b"R\n", "-tls1_2")])
async def test_new_keys_are_taken_in_the_middle_of_a_connection_and_new_negotiations_are_not(tmp_path, command, newest):
    """RFC 8446 §4.6.3. `K` asks for a new key of ours, too; `R` asks to negotiate anew (RFC 5246 §7.4.1.1)."""
    certificate, key = AUTHORITY.server().write(tmp_path, "server")
    server = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-cert", str(certificate), "-key", str(key), newest, "-accept", "127.0.0.1:0"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        await server.stdout.readuntil(b"ACCEPT 127.0.0.1:")
        port = int(await server.stdout.readline())
        context = AUTHORITY.client_context()
        context.options |= ssl.OP_NO_RENEGOTIATION
        listener = Listener()
        client = TlsClient(listener, context, "localhost", None)
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
        await client.ready
        client.write(b"before\n")
        await server.stdout.readuntil(b"before\n")
        server.stdin.write(command)
        if newest == "-tls1_3":
            while b"from the server\n" not in listener.data:
                server.stdin.write(b"from the server\n")  # what it reads along with a command is lost
                await asyncio.sleep(0.05)
            client.write(b"after\n")
            await server.stdout.readuntil(b"after\n")
        else:
            await server.stdout.readuntil(b"no renegotiation")
        client.close()
    finally:
        server.kill()
        await server.wait()


@pytest.fixture
async def tls(tmp_path):
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate)
    return schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))


async def test_ten_mebibytes_pass_in_either_direction(tls):
    body = bytes(range(256)) * 4 * 10 * 1024
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with RecordingUpstream(tls=SERVER, answer=head + body) as upstream:
        async with Gate(upstream.url, route={"tls": tls}) as gate, gate.client() as client:
            for _ in range(2):
                assert (await client.ask(request("PUT", body=body))).body == body
        assert [one.body for one in upstream.requests] == [body, body]
        assert upstream.connections == 1


async def test_an_app_that_does_not_read_stops_the_upstream(tls):
    """Row 15 and following: bounded memory, whatever the other side sends."""
    sent = 0

    async def pour(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MEBIBYTE))
        for _ in range(64):
            writer.write(bytes(MEBIBYTE))
            await writer.drain()
            sent += 1
        writer.close()

    async with await asyncio.start_server(pour, "127.0.0.1", 0, ssl=SERVER) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with Gate(url, route={"tls": tls}) as gate, gate.client(limit=2**16) as client:
            await client.send(request())
            await client.reader.readuntil(b"\r\n\r\n")
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.2)
            assert sent < 32
            for _ in range(64):
                await client.reader.readexactly(MEBIBYTE)
            assert sent == 64


async def test_an_upstream_that_does_not_read_stops_the_app(tls):
    go_on, count = asyncio.Event(), 0

    async def slow(reader, writer):
        nonlocal count
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        while count < 64 * MEBIBYTE:
            count += len(await reader.read(2**18))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(slow, "127.0.0.1", 0, ssl=SERVER) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with Gate(url, route={"tls": tls}) as gate, gate.client() as client:
            await client.send(request("PUT", "/crm/x", f"Content-Length: {64 * MEBIBYTE}"))
            written = 0

            async def upload():
                nonlocal written
                for _ in range(64):
                    await client.send(bytes(MEBIBYTE))
                    written += 1

            task = asyncio.create_task(upload())
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.2)
            assert written < 32
            go_on.set()
            await task
            assert (await client.answer()).body == b"ok"
            assert count == 64 * MEBIBYTE


@pytest.mark.parametrize("upgrade", [False, True])
async def test_the_buffers_of_a_connection_go_with_it_and_do_not_wait_for_the_collector(tls, upgrade):
    """They may be large, and the collector of cycles does not know."""
    fields = ("Connection: Upgrade", "Upgrade: websocket") if upgrade else ()
    gc.collect()
    others = [one for one in gc.get_objects() if isinstance(one, TlsClient)]  # of failures that are yet to be reported
    gc.disable()
    try:
        async with RecordingUpstream(tls=SERVER) as upstream, Gate(upstream.url, route={"tls": tls}) as gate:
            if upgrade:
                upstream.script(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            async with gate.client() as client:
                await client.send(request("GET", "/crm", *fields))
                assert (await client.answer(head_only=upgrade)).status == (101 if upgrade else 200)
                (used,) = gate.pool.open
                used.transport.abort()
                del used
                async with asyncio.timeout(30):
                    while any(isinstance(one, TlsClient) and one not in others for one in gc.get_objects()):
                        await asyncio.sleep(0.01)
    finally:
        gc.enable()
