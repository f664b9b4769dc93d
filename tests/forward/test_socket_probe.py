from __future__ import annotations

import asyncio
import select
import socket
import struct

import pytest

from proxy.forward import socket_probe
from proxy.forward.socket_probe import before_the_reset, ended_in_order, hung_up, silent


class Transport(asyncio.Transport):
    """What a transport tells of its socket."""

    def __init__(self, handle: socket.socket | None, session: object = None) -> None:
        super().__init__({"socket": handle, "ssl_object": session})


def test_a_socket_is_silent_until_something_or_its_end_comes():
    """Row 45."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert silent(Transport(ours))
        theirs.send(b"x")
        assert not silent(Transport(ours))
        ours.recv(1)
        assert silent(Transport(ours))
        theirs.close()
        assert not silent(Transport(ours))
    assert silent(Transport(None))


def test_a_socket_that_is_closed_already_tells_nothing():
    """The protocol of a TLS connection hears of its end a turn late: deadlines may be looked at meanwhile."""
    ours, theirs = tcp()
    ours.close()
    theirs.close()
    assert silent(Transport(ours))
    assert not hung_up(Transport(ours), 1)


def test_what_came_before_the_reset_is_still_read():
    """Row 37."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        theirs.send(b"413 too large")
        theirs.close()
        assert b"".join(before_the_reset(Transport(ours))) == b"413 too large"
    assert list(before_the_reset(Transport(None))) == []


def test_octets_of_tls_are_not_read_as_plain_ones():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"ciphertext")
        assert list(before_the_reset(Transport(ours, session=object()))) == []
        assert not silent(Transport(ours))


def test_a_plain_connection_that_ended_ended_in_order():
    assert ended_in_order(Transport(None))


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        return server.accept()[0], theirs


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="the system tells no end before it is read")
@pytest.mark.parametrize("connect", [tcp, socket.socketpair])
def test_an_app_that_ended_before_it_sent_all_is_gone_and_one_that_sent_all_is_not(connect):
    """Row 57."""
    ours, theirs = connect()
    with ours, theirs:
        theirs.send(b"twelve octets"[:12])
        assert not hung_up(Transport(ours), 13)
        theirs.shutdown(socket.SHUT_WR)
        assert hung_up(Transport(ours), 13)
        assert not hung_up(Transport(ours), 12)
        assert not hung_up(Transport(ours, session=object()), 13)
    assert not hung_up(Transport(None), 13)


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="the system tells no end before it is read")
def test_an_app_that_reset_its_connection_is_gone_whatever_it_sent_before():
    """Row 57."""
    ours, theirs = tcp()
    with ours, theirs:
        theirs.send(b"all of it")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        assert hung_up(Transport(ours), 0)
        assert hung_up(Transport(ours, session=object()), 0)


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="the system tells no end before it is read")
def test_a_unix_socket_that_is_closed_altogether_is_gone():
    """Row 57."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.send(b"all of it")
        theirs.close()
        assert hung_up(Transport(ours), 0)


def test_without_a_sign_of_its_own_no_end_is_guessed(monkeypatch):
    """Elsewhere a half-closed connection looks like a lost one."""
    monkeypatch.setattr(socket_probe, "_ENDED", None)
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert not hung_up(Transport(ours), 13)
