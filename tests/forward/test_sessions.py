from __future__ import annotations

import contextlib
import ctypes
import gc
import ssl

import pytest
from support.tls import Authority

from proxy.forward.sessions import Sessions

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Server:
    """One side of as many connections as a test wants, in memory."""

    def __init__(self, newest=ssl.TLSVersion.TLSv1_3, *, tickets=True) -> None:
        self.authority = Authority()
        self.context = self.authority.server_context()
        self.context.maximum_version = newest
        if not tickets:
            self.context.num_tickets = 0
            self.context.options |= ssl.OP_NO_TICKET

    def connect(self, context, session, *, quick=False):
        """A client's side, its handshake done; `quick`: before it has read what the server says behind that."""
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
        server = self.context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(2):
            for side in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        if not quick:
            with pytest.raises(ssl.SSLWantReadError):
                client.read(1)
        return client


def in_turn(server, sessions, count, *, quick=False, context=None, seconds=1.0):
    """Whether each of so many connections, one after the other, was resumed."""
    context = context or server.authority.client_context()
    resumed = []
    for number in range(count):
        client = server.connect(context, sessions.resumable(context, number * seconds), quick=quick)
        sessions.learn(client)
        resumed.append(client.session_reused)
    return resumed


@pytest.mark.parametrize("newest", VERSIONS)
def test_every_connection_but_the_first_is_resumed(newest):
    assert in_turn(Server(newest), Sessions(), 20) == [False] + [True] * 19


def test_another_context_begins_anew():
    server, sessions = Server(), Sessions()
    in_turn(server, sessions, 3)
    assert in_turn(server, sessions, 3) == [False, True, True]


def test_a_server_that_forgets_is_asked_for_another_session():
    server, sessions = Server(), Sessions()
    context = server.authority.client_context()
    assert in_turn(server, sessions, 3, context=context) == [False, True, True]
    forgetful = server.authority.server_context()
    server.context = forgetful
    assert in_turn(server, sessions, 3, context=context) == [False, True, True]


def test_a_session_that_comes_late_is_found_a_connection_later():
    server, sessions = Server(), Sessions()
    context = server.authority.client_context()
    assert in_turn(server, sessions, 2, quick=True, context=context) == [False, False]
    assert in_turn(server, sessions, 3, context=context) == [False, True, True]


@pytest.mark.parametrize("newest", VERSIONS)
def test_a_server_that_resumes_nothing_is_seldom_asked(newest):
    server, sessions = Server(newest, tickets=False), Sessions()
    context = server.authority.client_context()
    asked = []
    for number in range(1300):
        before = sessions._tries
        sessions.resumable(context, float(number))
        if sessions._tries != before:
            asked.append(number)
        if number in (0, 700):
            sessions.learn(server.connect(context, None))
    assert len(asked) <= 8 + 8 * 2


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc says how much memory is in use")
def test_hundreds_of_connections_leave_nothing_in_memory():
    class Told(ctypes.Structure):
        _fields_ = tuple((f"f{number}", ctypes.c_size_t) for number in range(10))

    def in_use():
        gc.collect()
        mallinfo = ctypes.CDLL(None).mallinfo2
        mallinfo.restype = Told
        return mallinfo().f7

    server, sessions = Server(), Sessions()
    context = server.authority.client_context()
    in_turn(server, sessions, 20, context=context)
    before = in_use()
    assert all(in_turn(server, sessions, 300, context=context))
    assert in_use() - before < 200 * 1024, "CPython loses 6 KiB for each session that is asked for"
