from __future__ import annotations

import asyncio
import socket

from proxy.forward.last_words import before_the_reset, ended_in_order, silent


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
