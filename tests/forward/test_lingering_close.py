from __future__ import annotations

import asyncio
import select
import time

import pytest

from proxy.forward.lingering_close import LingeringClose, reset


async def pair():
    accepted = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        accepted.set_result((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=2**14)
    far = await accepted
    server.close()
    return far, (reader, writer)


async def test_a_reset_is_no_orderly_end():
    """Row 30."""
    (_, ours), (reader, theirs) = await pair()
    ours.write(b"half of it")
    await ours.drain()
    reset(ours.transport)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    theirs.close()


async def test_what_waits_is_said_and_then_there_is_an_end():
    (_, ours), (reader, theirs) = await pair()
    ours.write(b"all of it")
    LingeringClose(ours.transport, time.monotonic, linger=False)
    assert await reader.read() == b"all of it"
    theirs.close()


async def test_while_lingering_the_other_side_may_still_send_until_time_is_up():
    """Row 38."""
    (heard, ours), (reader, theirs) = await pair()
    lingering = LingeringClose(ours.transport, time.monotonic, linger=True)
    assert await reader.read() == b""
    theirs.write(b"late")
    assert await heard.readexactly(4) == b"late"
    lingering.expire()
    assert ours.transport.is_closing()
    theirs.close()


async def test_who_still_reads_has_time_and_who_does_not_has_none(later):
    (_, ours), (reader, theirs) = await pair()
    ours.write(bytes(32 * 1024 * 1024))
    lingering = LingeringClose(ours.transport, later.monotonic, linger=True)
    first = lingering.due
    await reader.readexactly(16 * 1024 * 1024)
    lingering.expire()
    assert lingering.due > first
    theirs.transport.pause_reading()
    left = -1
    while left != (left := ours.transport.get_write_buffer_size()):
        await asyncio.sleep(0.05)
    lingering.expire()
    assert not ours.transport.is_closing()
    later(61)
    lingering.expire()
    assert ours.transport.is_closing()
    theirs.transport.resume_reading()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(32 * 1024 * 1024)
    theirs.close()


async def test_an_app_that_has_reset_the_connection_unnoticed_needs_no_farewell():
    """While it is not read from, nothing tells; and there is no half of such a connection to end."""
    (_, ours), (_, theirs) = await pair()
    ours.transport.pause_reading()
    reset(theirs.transport)
    await theirs.wait_closed()
    poller = select.poll()
    poller.register(ours.get_extra_info("socket").fileno(), 0)
    while not poller.poll(0):  # until it has arrived
        await asyncio.sleep(0.001)
    LingeringClose(ours.transport, time.monotonic, linger=True)
    assert ours.transport.is_closing()


async def test_an_end_that_would_look_whole_is_a_reset_a_while_after_all_was_taken(later):
    (_, ours), (reader, theirs) = await pair()
    theirs.transport.pause_reading()
    ours.write(bytes(32 * 1024 * 1024))
    lingering = LingeringClose(ours.transport, later.monotonic, linger=True, truncated=True)
    assert lingering.keeps_open
    lingering.expire()
    assert not ours.transport.is_closing()
    theirs.transport.resume_reading()
    assert len(await reader.readexactly(32 * 1024 * 1024)) == 32 * 1024 * 1024
    while lingering._unread:
        lingering.expire()
        await asyncio.sleep(0.001)
    lingering.expire()
    assert not ours.transport.is_closing(), "the app has it, and may have yet to read it"
    later(3)
    lingering.expire()
    assert ours.transport.is_closing()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    theirs.close()


async def test_who_takes_nothing_of_it_is_reset_all_the_same(later):
    (_, ours), (_, theirs) = await pair()
    theirs.transport.pause_reading()
    ours.write(bytes(32 * 1024 * 1024))
    lingering = LingeringClose(ours.transport, later.monotonic, linger=True, truncated=True)
    while not ours.transport.is_closing():
        lingering.expire()
        later(61)
        await asyncio.sleep(0.001)
    theirs.close()
