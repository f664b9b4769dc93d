"""Who is accepted by the admin side's sockets, for how long, and who makes room for whom."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import socket
import ssl
import time

import pytest
from support.program import StandingProgram, admin_of, health_of, update_of
from support.tls import Authority

from proxy.admin import listener
from proxy.config.schema import Duration, Limits

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_PUSH = b"PUT /credentials/crm/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{"
PATIENCE = 0.4


def impatient(keep_alive: float = 60.0) -> StandingProgram:
    program = StandingProgram()
    program.limits = Limits(header_timeout=Duration(PATIENCE), keep_alive=Duration(keep_alive))
    return program


class Caller:
    """One connection, and what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def at(cls, port: int, said: bytes = b"") -> Caller:
        caller = cls(*await asyncio.open_connection("127.0.0.1", port))
        caller.writer.write(said)
        return caller

    async def head(self) -> bytes:
        """The next answer's head, its body read too."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self.reader.readexactly(int(length.split(b":")[1]))
        return head

    async def rest(self) -> bytes:
        """All until the end, however it comes."""
        octets = b""
        with contextlib.suppress(ConnectionError):  # what came before a reset counts
            async with asyncio.timeout(30):
                while some := await self.reader.read(4096):
                    octets += some
        return octets

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


async def close(*callers: Caller) -> None:
    for caller in callers:
        await caller.close()


async def settled(served, number):
    async with asyncio.timeout(30):
        while len(served.listener) != number:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("made", [admin_of, health_of, update_of])
async def test_whoever_was_silent_longest_makes_room_and_nobody_is_turned_away(made, monkeypatch):
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 5)
    async with made(StandingProgram()) as served:
        silent = []
        for _ in range(9):
            silent.append(await Caller.at(served.port))
            await settled(served, min(5, len(silent)))
        ended = [await caller.rest() for caller in silent[:4]]
        asking = [await Caller.at(served.port, ASK) for _ in range(20)]
        answered = [await caller.head() for caller in asking[-5:]]
        await close(*silent, *asking)

    assert ended == [b""] * 4
    assert all(head.startswith(b"HTTP/1.1 ") for head in answered)


async def test_who_has_just_asked_stays_longer_than_who_came_later_and_said_nothing(monkeypatch):
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 3)
    async with health_of(StandingProgram()) as served:
        asking = await Caller.at(served.port)
        silent = [await Caller.at(served.port) for _ in range(2)]
        await settled(served, 3)
        asking.writer.write(ASK)
        assert b" 200 " in await asking.head()
        later = [await Caller.at(served.port) for _ in range(2)]
        assert [await caller.rest() for caller in silent] == [b"", b""]
        asking.writer.write(ASK)
        assert b" 200 " in await asking.head()
        await close(asking, *silent, *later)


async def test_a_request_that_is_served_is_not_ended_for_others_that_say_nothing(monkeypatch):
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 3)
    async with admin_of(StandingProgram()) as served:
        push = await Caller.at(served.port, HALF_A_PUSH)
        silent = [await Caller.at(served.port) for _ in range(20)]
        push.writer.write(b"}")
        assert b" 401 " in await push.head()
        await close(push, *silent)


async def test_a_probe_finds_room_though_every_place_is_taken_by_bodies_that_do_not_come(monkeypatch):
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 3)
    async with admin_of(StandingProgram()) as served:
        holding = [await Caller.at(served.port, HALF_A_PUSH) for _ in range(8)]
        probe = await Caller.at(served.port, ASK)
        assert b" 200 " in await probe.head()
        await close(probe, *holding)


async def test_a_silent_caller_is_ended_when_the_time_for_a_head_is_over_and_not_before():
    async with health_of(impatient()) as served:
        began = time.monotonic()
        caller = await Caller.at(served.port)
        assert await caller.rest() == b""
        assert time.monotonic() - began >= PATIENCE
        await settled(served, 0)
        await caller.close()


async def _drip(caller: Caller, octets: bytes) -> float:
    """One octet at a time, until it ends; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        for octet in octets:
            if caller.reader.at_eof() or caller.writer.is_closing():
                break
            caller.writer.write(bytes([octet]))
            await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("made", [admin_of, health_of, update_of])
@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 500, b"\r\n" * 250])
async def test_a_head_that_drips_is_ended_with_408(made, head):
    async with made(impatient()) as served:
        caller = await Caller.at(served.port)
        dripping = asyncio.create_task(_drip(caller, head))
        answer = await caller.rest()
        assert await dripping < 500 * 0.05
        await settled(served, 0)
        await caller.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"Server: auth-sidecar" in answer


async def test_the_next_head_has_its_time_too_and_a_connection_that_idles_has_more():
    async with health_of(impatient()) as served:
        caller = await Caller.at(served.port, ASK)
        assert b" 200 " in await caller.head()
        await asyncio.sleep(2 * PATIENCE)  # idle: no head is due
        caller.writer.write(ASK)
        assert b" 200 " in await caller.head()
        dripping = asyncio.create_task(_drip(caller, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 500))
        assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")
        assert await dripping < 500 * 0.05
        await caller.close()


@pytest.mark.parametrize(
    "said",
    [
        ASK + b"GET /hea",
        ASK * 3 + b"\r\nG",
        HALF_A_PUSH + b"}" + b"GET /hea",
        HALF_A_PUSH.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")[:-1] + b"0\r\n\r\nGET /hea",
    ],
)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_head_that_begins_behind_another_request_has_its_time_too(said, pieces):
    async with admin_of(impatient()) as served:
        began = time.monotonic()
        caller = await Caller.at(served.port)
        for start in range(0, len(said), -(-len(said) // pieces)):
            caller.writer.write(said[start : start + -(-len(said) // pieces)])
            await caller.writer.drain()
            await asyncio.sleep(0)
        answers = await caller.rest()
        await caller.close()

    assert answers.startswith(b"HTTP/1.1 ")
    assert PATIENCE <= time.monotonic() - began < 30


@pytest.mark.parametrize("pieces", [[ASK], [ASK * 5], [ASK[:-1], ASK[-1:]], [ASK[:-3], ASK[-3:] + ASK]])
async def test_a_connection_that_idles_behind_whole_requests_owes_no_head(pieces):
    async with admin_of(impatient()) as served:
        caller = await Caller.at(served.port)
        for piece in pieces:
            caller.writer.write(piece)
            await caller.writer.drain()
            await asyncio.sleep(0.01)
        for _ in range(b"".join(pieces).count(ASK)):
            assert b" 200 " in await caller.head()
        await asyncio.sleep(3 * PATIENCE)
        caller.writer.write(ASK)
        assert b" 200 " in await caller.head()
        await caller.close()


async def test_a_connection_that_idles_is_ended_after_keep_alive():
    async with health_of(impatient(keep_alive=0.2)) as served:
        caller = await Caller.at(served.port, ASK)
        assert b" 200 " in await caller.head()
        assert await caller.rest() == b""
        await caller.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
async def test_the_body_of_a_push_that_drips_is_ended_with_408(framing):
    head = b"PUT /credentials/crm/token HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n"
    async with update_of(impatient()) as served:
        caller = await Caller.at(served.port, head)
        body = b"1f4\r\n" + b" " * 500 if b"chunked" in framing else b" " * 499
        dripping = asyncio.create_task(_drip(caller, body))
        answer = await caller.rest()
        assert await dripping < 499 * 0.05
        await settled(served, 0)
        await caller.close()

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_tls_handshake_that_does_not_come_is_ended_in_the_same_time(said, authority, caplog):
    async with update_of(impatient(), tls=authority.server_context()) as served:
        caller = await Caller.at(served.port, said)
        await settled(served, 1)
        assert await caller.rest() == b""
        await settled(served, 0)
        await caller.close()

    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 99, b"\0" * 300])
async def test_what_is_no_tls_is_ended_without_a_trace(said, authority, caplog):
    async with update_of(StandingProgram(), tls=authority.server_context()) as served:
        caller = await Caller.at(served.port, said)
        await caller.rest()
        await settled(served, 0)
        await caller.close()

    assert caplog.text == ""


async def test_handshakes_that_do_not_come_make_room_for_those_that_do(authority, monkeypatch, caplog):
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 3)
    async with update_of(StandingProgram(), tls=authority.server_context()) as served:
        silent = [await Caller.at(served.port) for _ in range(12)]
        context = authority.client_context()
        caller = Caller(*await asyncio.open_connection("127.0.0.1", served.port, ssl=context))
        assert len(served.listener) == 3
        caller.writer.write(HALF_A_PUSH + b"}")
        assert b" 401 " in await caller.head()
        await close(caller, *silent)

    assert caplog.text == ""


async def test_a_head_that_drips_within_tls_is_ended_with_408(authority):
    async with update_of(impatient(), tls=authority.server_context()) as served:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", served.port, ssl=authority.client_context()))
        caller.writer.write(b"PUT /crede")
        answer = await caller.rest()
        await caller.close()
        await settled(served, 0)

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_whoever_says_nothing_for_very_long_is_ended_even_while_it_is_served(monkeypatch):
    monkeypatch.setattr(listener, "_LONGEST", 0.3)
    program = StandingProgram()
    async with admin_of(program) as served:
        caller = await Caller.at(served.port, HALF_A_PUSH)
        assert await caller.rest() == b""
        await settled(served, 0)
        await caller.close()


@pytest.fixture
def no_descriptors():
    """Lets a test use up all of the process's descriptors but those that it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def take() -> None:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 50, before[1]))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))

    yield take
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_probes_are_answered_though_no_descriptor_is_left(no_descriptors, caplog):
    """From the reserve, and then in the place of whoever was silent longest."""
    loop = asyncio.get_running_loop()
    async with health_of(StandingProgram()) as served:
        callers = [socket.socket() for _ in range(30)]
        no_descriptors()
        try:
            for caller in callers:
                caller.settimeout(0)
                await loop.sock_connect(caller, ("127.0.0.1", served.port))
                await loop.sock_sendall(caller, ASK)
                async with asyncio.timeout(30):
                    assert (await loop.sock_recv(caller, 4096)).startswith(b"HTTP/1.1 200 ")
        finally:
            for caller in callers:
                caller.close()

    assert caplog.text.count("no file descriptors are left") == 1
    assert "Traceback" not in caplog.text


async def test_connections_that_end_fill_the_reserve_up_again(no_descriptors):
    loop = asyncio.get_running_loop()
    async with health_of(StandingProgram()) as served:
        rounds = [[socket.socket() for _ in range(listener._RESERVE)] for _ in range(3)]
        no_descriptors()
        for callers in rounds:
            for caller in callers:
                caller.settimeout(0)
                await loop.sock_connect(caller, ("127.0.0.1", served.port))
                await loop.sock_sendall(caller, ASK)
            for caller in callers:  # all of them at once have their answers
                async with asyncio.timeout(30):
                    assert (await loop.sock_recv(caller, 4096)).startswith(b"HTTP/1.1 200 ")
                caller.shutdown(socket.SHUT_RDWR)  # its own descriptor stays taken
            await settled(served, 0)
        for caller in itertools.chain(*rounds):
            caller.close()
