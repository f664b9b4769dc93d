"""How much may wait for a slow side, and in what pieces."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from typing import Any

import pytest
from support.tls import Authority

from proxy.forward.buffers import keep_little, piece_for, prepare_tls, read_at_most
from proxy.forward.malloc_tuning import read_size
from proxy.forward.write_batcher import TLS_PIECE, BatchingLoop, batched


class Accepting(asyncio.Protocol):
    """Tells of its first connection and of its pauses."""

    def __init__(self) -> None:
        self.made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        self.paused = False

    def connection_made(self, transport):
        self.made.set_result(transport)

    def pause_writing(self):
        self.paused = True


async def accepted(tls: Authority | None) -> tuple[Any, Accepting, asyncio.StreamWriter]:
    """A connection as it is accepted, and the app's end of it, which reads nothing."""
    loop, accepting = asyncio.get_running_loop(), Accepting()
    server = await loop.create_server(
        lambda: accepting, "127.0.0.1", 0, ssl=tls.server_context() if tls is not None else None
    )
    trusting = ssl.create_default_context(cadata=tls.certificate.decode()) if tls is not None else None
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], ssl=trusting, limit=1)
    transport = await accepting.made
    server.close()
    return transport, accepting, writer


@pytest.fixture(scope="module")
def authority():
    return Authority()


async def test_a_plain_connection_is_read_in_large_pieces_and_sent_such():
    transport, _, writer = await accepted(None)
    keep_little(transport)
    assert transport.max_size == piece_for(transport) == read_size()
    writer.close()
    transport.abort()


async def test_little_waits_in_the_layers_of_tls(authority):
    """What the system takes is not counted: it differs from one to the other."""
    prepare_tls()
    transport, accepting, writer = await accepted(authority)
    keep_little(transport)
    assert piece_for(transport) == TLS_PIECE
    below = transport._ssl_protocol._transport  # asyncio shows it to nobody, nor promises that it is there
    sent = 0
    while not accepting.paused and sent < 64 * 1024 * 1024:
        transport.write(bytes(TLS_PIECE))
        sent += TLS_PIECE
        await asyncio.sleep(0)
    assert accepting.paused
    assert below.get_write_buffer_size() + transport.get_write_buffer_size() <= 3 * TLS_PIECE
    assert len(transport._ssl_protocol._ssl_buffer) <= TLS_PIECE
    writer.close()
    transport.abort()
    await asyncio.sleep(0)


def test_a_long_piece_is_encrypted_in_slices_and_the_size_of_reads_is_passed_on(authority):
    async def run():
        transport, _, writer = await accepted(authority)
        outer: Any = batched(transport)
        sizes: list[int] = []
        transport.write = lambda data: sizes.append(len(data))
        outer.write(bytes(2 * TLS_PIECE + 5))
        assert sizes == [TLS_PIECE, TLS_PIECE, 5]
        read_at_most(outer, 7)  # nobody below has such a size
        assert not hasattr(outer, "max_size")
        writer.close()
        transport.abort()
        plain, _, other = await accepted(None)
        outer = batched(plain)
        read_at_most(outer, 7)
        assert plain.max_size == outer.max_size == 7
        other.close()
        plain.abort()
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=BatchingLoop) as runner:
        runner.run(run())


def test_asyncios_tls_has_the_size_that_is_set():
    prepare_tls()
    assert sslproto.SSLProtocol.max_size <= TLS_PIECE
